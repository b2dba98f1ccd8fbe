/* The prepared net in tests beside training: at its calibrated start, and after it. */
#include "toolkit/prepare/graph.h"
#include "toolkit/run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No shifts are searched, no factors noted. */
void qf_run_leave_record(Caffe__NetParameter *net)
{
    for (int i = (int)net->n_layer - 1; i >= 0; i--) {
        Caffe__RetrainDataQuantParameter *quantiser = net->layer[i]->retrain_data_quant_param;
        if (quantiser) {
            free(quantiser->record_file_path);
            quantiser->record_file_path = NULL;
        }
        if (qf_layer_is(net->layer[i], "SearchN"))
            qf_graph_remove(net, i);
    }
}

qf_status qf_run_read_without_record(qf_context *context, const char *model,
                                     Caffe__NetParameter **out)
{
    *out = NULL;
    QF_TRY(qf_net_param_read(context, model, out));
    qf_run_leave_record(*out);
    return QF_OK;
}

static qf_status make_net(qf_context *context, const char *model, qf_phase phase,
                          const char *weights, qf_net **out)
{
    Caffe__NetParameter *param;
    *out = NULL;
    QF_TRY(qf_run_read_without_record(context, model, &param));
    qf_status status = qf_net_param_set_state(context, param, phase, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    if (status == QF_OK)
        status = qf_net_load_weights(*out, weights);
    qf_message_free(param);
    return qf_within(context, status, "%s", model);
}

/* Only the ranges: a training pass also moves the statistics of BatchNorm. */
static qf_status copy_ranges(const qf_net *from, qf_net *to)
{
    for (int l = 0; l < to->layer_count; l++) {
        qf_layer *layer = to->layers[l];
        const qf_layer *measured = qf_net_find_layer(from, layer->name);
        if (!measured || strcmp(layer->type->name, "ActivationQAT") != 0)
            continue;
        for (int i = 0; i < layer->param_count; i++)
            QF_TRY(qf_tensor_copy(to->context, layer->params[i].blob->data,
                                  measured->params[i].blob->data));
    }
    return QF_OK;
}

static qf_status calibrate(const char *model, const char *weights, qf_net *net)
{
    qf_context *context = net->context;
    qf_net *training;
    qf_status status = make_net(context, model, QF_TRAIN, weights, &training);
    if (status == QF_OK)
        status = qf_net_forward(training, NULL);
    if (status == QF_OK)
        status = copy_ranges(training, net);
    qf_net_destroy(training);
    return status;
}

qf_status qf_run_fake_net(qf_context *context, const char *model, const char *weights,
                          bool calibrated, qf_net **out)
{
    const qf_random random = context->random; /* is that of the training to come */
    qf_status status = make_net(context, model, QF_TEST, weights, out);
    context->random = random;
    if (status == QF_OK && calibrated)
        status = calibrate(model, weights, *out);
    context->random = random;
    if (status != QF_OK) {
        qf_net_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* By more than a ten-thousandth, which is not worth a word. What is not a number is worse. */
static bool is_worse(const qf_qat_score *score, double after)
{
    const double gain = (after - score->calibrated_score) * score->better;
    return !(gain >= -1e-4 * fabs(score->calibrated_score));
}

const qf_qat_score *qf_run_worse(const qf_qat_result *result)
{
    for (int i = 0; i < result->scores; i++) {
        const qf_qat_score *score = result->score[i];
        if (score->better && isfinite(score->calibrated_score)) /* the main one comes first */
            return is_worse(score, score->fake_quant_score) ? score : NULL;
    }
    return NULL;
}

void qf_run_remark(const qf_qat_score *score, const qf_qat_result *retrained,
                   const qf_qat_options *options, qf_qat_result *out)
{
    const char *which = score->better < 0 ? " (lower is better)" : "";
    const bool measured = options->keep == QF_KEEP_BEST && *out->validation_name;
    double after = (double)NAN;
    for (int i = 0; i < retrained->scores; i++)
        if (strcmp(retrained->score[i]->name, score->name) == 0)
            after = retrained->score[i]->calibrated_score;
    if (is_worse(score, after) && measured)
        snprintf(out->remark, sizeof out->remark,
                 "Retraining ended below its calibrated start: %.100s %.4g, before it %.4g%s; on "
                 "the %llu items that it was measured on it was better. Try --validation-data with "
                 "more of what the test set shows, or --base-lr %g.",
                 score->name, after, score->calibrated_score, which,
                 (unsigned long long)out->validation_items, out->base_lr / 10);
    else if (is_worse(score, after))
        snprintf(out->remark, sizeof out->remark,
                 "Retraining ended below its calibrated start: %.100s %.4g, before it %.4g%s. Try "
                 "--base-lr %g or more --iterations, or --keep best, which exports the start where "
                 "nothing is better on data to measure on.",
                 score->name, after, score->calibrated_score, which, out->base_lr / 10);
    else
        snprintf(out->remark, sizeof out->remark,
                 "The fake-quant model is below the calibrated start: %.100s %.4g against %.4g%s; "
                 "%s was not (%.4g), so the rest is due to the shifts N and to integer "
                 "biases: a larger batch_num in --config-definition finds better shifts.",
                 score->name, score->fake_quant_score, score->calibrated_score, which,
                 out->kept_iteration ? "retraining" : "what was kept", after);
}
