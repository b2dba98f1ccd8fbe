/* What states of training are worth on items that are not trained on. */
#include "model/until.h"
#include "toolkit/run/keep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char stage_measuring[] = "measuring the state of training";

const char qf_run_training_loss[] = "training loss";

/* Not the run's random numbers: each net that is measured draws the same. */
enum { SEED = 1 };

/* What the training net has now. Nothing may be shared with it: a pass of phase TRAIN moves
 * statistics. */
static qf_status copy_parameters(const qf_net *from, qf_net *to)
{
    for (int l = 0; l < to->layer_count; l++) {
        qf_layer *layer = to->layers[l];
        const qf_layer *trained = qf_net_find_layer(from, layer->name);
        for (int i = 0; trained && i < layer->param_count && i < trained->param_count; i++)
            QF_TRY(qf_tensor_copy(to->context, layer->params[i].blob->data,
                                  trained->params[i].blob->data));
    }
    return QF_OK;
}

/* Nobody goes backward in it, so its maxima need no places. */
static qf_status measure_only(qf_context *context, Caffe__NetParameter *param)
{
    for (size_t i = 0; i < param->n_layer; i++) {
        Caffe__LayerParameter *layer = param->layer[i];
        protobuf_c_boolean no = false;
        if (!layer->pooling_param || layer->n_bottom != 1 || layer->n_propagate_down)
            continue;
        QF_TRY(
            qf_append(context, &layer->n_propagate_down, &layer->propagate_down, &no, sizeof no));
    }
    return QF_OK;
}

static qf_status open_net(qf_run_training *t, Caffe__NetParameter *param, const char *weights,
                          qf_net *share, qf_run_validation *out)
{
    qf_context *context = t->flow->context;
    const qf_random random = context->random;
    qf_status status = QF_OK;
    *out = (qf_run_validation){0};
    qf_random_seed(&context->random, SEED);
    if (param)
        status = qf_net_param_set_state(context, param, t->by_training_loss ? QF_TRAIN : QF_TEST, 0,
                                        NULL, 0);
    if (status == QF_OK && param && !t->by_training_loss)
        status = measure_only(context, param);
    if (status == QF_OK && param)
        status =
            qf_run_create_in_batches(context, param, t->by_training_loss ? NULL : share, &out->net);
    out->trained = share;
    out->copied = share && t->by_training_loss;
    if (status == QF_OK && out->net && t->by_training_loss && !share) /* what TEST nets lack */
        status = qf_net_load_weights_file(out->net, t->weights);
    if (status == QF_OK && out->net && weights)
        status = qf_net_load_weights_file(out->net, weights);
    if (status == QF_OK && out->net)
        status = qf_feed_take(out->net, &out->feed);
    if (status == QF_OK && out->net)
        qf_net_keep_blobs(out->net, false);
    context->random = random;
    if (status != QF_OK)
        qf_run_validation_close(out);
    return status;
}

qf_status qf_run_validation_open(qf_run_training *t, const char *model, const char *weights,
                                 qf_net *share, qf_run_validation *out)
{
    Caffe__NetParameter *param;
    *out = (qf_run_validation){0};
    QF_TRY(qf_run_validation_param(t, model, &param));
    const qf_status status = open_net(t, param, weights, share, out);
    qf_message_free(param);
    return status;
}

qf_status qf_run_validation_open_param(qf_run_training *t, Caffe__NetParameter *param,
                                       const char *weights, qf_run_validation *out)
{
    const qf_status status = open_net(t, param, weights, NULL, out);
    qf_message_free(param);
    return status;
}

void qf_run_validation_close(qf_run_validation *validation)
{
    qf_feed_release(&validation->feed);
    qf_net_destroy(validation->net);
    *validation = (qf_run_validation){0};
}

static bool has_loss(const qf_net *net)
{
    for (int i = 0; i < net->blob_count; i++)
        if (net->blob_loss_weight[i] != 0)
            return true;
    return false;
}

/* The main output, if one knows which way it is better; else the loss. */
static void choose_measure(const qf_net *net, const qf_scores *scores, qf_run_progress *p)
{
    static const char loss[] = "loss in all";
    const char *main;
    qf_scores_main(scores, &main);
    p->better = 0;
    for (int i = 0; main && net->phase == QF_TEST && p->better == 0 && i < qf_scores_count(scores);
         i++)
        if (strcmp(qf_scores_name(scores, i), main) == 0)
            p->better = qf_scores_better(scores, i);
    if (p->better) {
        snprintf(p->measure, sizeof p->measure, "%s", main);
    } else if (has_loss(net)) {
        p->better = -1;
        snprintf(p->measure, sizeof p->measure, "%s",
                 net->phase == QF_TEST ? loss : qf_run_training_loss);
    } else {
        snprintf(p->reason, sizeof p->reason, "the net puts out neither an accuracy nor a loss");
    }
    p->items = qf_scores_items(scores);
}

static double score_of(const qf_scores *scores, const qf_run_progress *p)
{
    const char *main;
    const double value = qf_scores_main(scores, &main);
    return main && strcmp(main, p->measure) == 0 ? value : qf_scores_loss(scores);
}

/* What is measured shares these ranges, but has seen other valid ones: so training mends them
 * first. */
qf_status qf_run_settle_ranges(const qf_net *trained)
{
    for (int l = 0; trained && l < trained->layer_count; l++) {
        qf_layer *layer = trained->layers[l];
        if (strcmp(layer->type->name, "ActivationQAT") == 0)
            QF_TRY(qf_within(layer->context, layer->type->prepare(layer), "layer %s", layer->name));
    }
    return QF_OK;
}

qf_status qf_run_measure_net(qf_run_training *t, qf_run_validation *v, qf_run_measure *out)
{
    qf_context *context = v->net->context;
    qf_run_progress *p = &t->progress;
    const char *stage = t->flow->stage;
    const qf_random random = context->random;
    const qf_run_callbacks callbacks = qf_flow_callbacks(t->flow);
    qf_scores *scores = NULL;
    t->flow->stage = stage_measuring;
    qf_status status = qf_run_settle_ranges(v->trained);
    if (status == QF_OK)
        status = qf_feed_give(v->net, &v->feed);
    if (status == QF_OK && v->copied)
        status = copy_parameters(v->trained, v->net);
    if (status == QF_OK)
        status =
            qf_net_test(v->net, 0, callbacks.action, callbacks.progress, callbacks.user, &scores);
    if (status == QF_OK && !*p->measure)
        choose_measure(v->net, scores, p);
    if (status == QF_OK) {
        out->score = *p->measure ? score_of(scores, p) : (double)NAN;
        out->loss = has_loss(v->net) ? qf_scores_loss(scores) : (double)NAN;
        out->losses = (qf_run_losses){0};
        if (has_loss(v->net))
            qf_run_losses_take(scores, &out->losses);
    }
    qf_scores_destroy(scores);
    context->random = random;
    t->flow->stage = stage;
    return status;
}
