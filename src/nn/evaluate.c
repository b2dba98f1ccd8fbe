/* Testing a net: what `caffe test` does. */
#include "base/clock.h"
#include "base/memory.h"
#include "nn/solver.h"

#include <string.h>
#include <time.h>

struct qf_scores {
    int count; /* of output values: a blob with several has several */
    char **names;
    double *sums;
    float *weights;
    double loss;
    int main; /* index of the value that matters most; −1: none */
    int batches;
};

void qf_scores_destroy(qf_scores *scores)
{
    if (!scores)
        return;
    for (int i = 0; i < scores->count; i++)
        qf_free(scores->names[i]);
    qf_free(scores->names);
    qf_free(scores->sums);
    qf_free(scores->weights);
    qf_free(scores);
}

int qf_scores_count(const qf_scores *scores)
{
    return scores->count;
}

const char *qf_scores_name(const qf_scores *scores, int index)
{
    return index >= 0 && index < scores->count ? scores->names[index] : NULL;
}

double qf_scores_value(const qf_scores *scores, int index)
{
    return index >= 0 && index < scores->count && scores->batches
               ? scores->sums[index] / scores->batches
               : 0;
}

double qf_scores_main(const qf_scores *scores, const char **name)
{
    if (name)
        *name = qf_scores_name(scores, scores->main);
    return qf_scores_value(scores, scores->main);
}

double qf_scores_loss(const qf_scores *scores)
{
    return scores->batches ? scores->loss / scores->batches : 0;
}

/* Is the blob a top-1 accuracy? */
static bool is_accuracy(const qf_net *net, const qf_blob *blob)
{
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        const Caffe__AccuracyParameter *p = layer->param->accuracy_param;
        if (strcmp(layer->type->name, "Accuracy") == 0 && layer->top[0] == blob)
            return !p || p->top_k == 1;
    }
    return false;
}

static qf_status make_scores(qf_net *net, qf_scores **out)
{
    qf_scores *scores = qf_alloc(1, sizeof *scores);
    *out = scores;
    size_t count = 0;
    for (int i = 0; i < net->output_count; i++)
        count += qf_blob_count(net->blobs[net->outputs[i]]);
    if (scores) {
        scores->names = qf_alloc(count, sizeof *scores->names);
        scores->sums = qf_alloc(count, sizeof *scores->sums);
        scores->weights = qf_alloc(count, sizeof *scores->weights);
    }
    if (!scores || !scores->names || !scores->sums || !scores->weights)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for the scores");
    scores->main = -1;
    for (int i = 0; i < net->output_count; i++) {
        const qf_blob *blob = net->blobs[net->outputs[i]];
        if (scores->main < 0 && is_accuracy(net, blob))
            scores->main = scores->count;
        for (size_t k = 0; k < qf_blob_count(blob); k++) {
            scores->weights[scores->count] = net->blob_loss_weight[net->outputs[i]];
            scores->names[scores->count] = qf_strdup(blob->name);
            if (!scores->names[scores->count++])
                return qf_fail(net->context, QF_E_MEMORY, "no memory for the scores");
        }
    }
    if (scores->main < 0 && scores->count)
        scores->main = 0;
    return QF_OK;
}

static qf_status add_batch(qf_net *net, int batch, qf_scores *scores)
{
    int at = 0;
    for (int i = 0; i < net->output_count; i++) {
        qf_blob *blob = net->blobs[net->outputs[i]];
        const float *values;
        QF_TRY(qf_read(net->context, blob->data, QF_PLAIN, &values));
        for (size_t k = 0; k < qf_blob_count(blob) && at < scores->count; k++, at++) {
            scores->sums[at] += (double)values[k];
            qf_info(net->context, "Batch %d, %s = %g", batch, blob->name, (double)values[k]);
        }
    }
    scores->batches++;
    return QF_OK;
}

static void log_means(qf_net *net, const qf_scores *scores)
{
    qf_info(net->context, "Loss: %g", qf_scores_loss(scores));
    for (int i = 0; i < scores->count; i++) {
        double mean = qf_scores_value(scores, i), weight = (double)scores->weights[i];
        if (weight != 0)
            qf_info(net->context, "%s = %g (* %g = %g loss)", scores->names[i], mean, weight,
                    weight * mean);
        else
            qf_info(net->context, "%s = %g", scores->names[i], mean);
    }
}

static void report(const qf_net *net, double start, int done, int total,
                   qf_progress_function progress, void *user)
{
    double wait, items, lapse = qf_seconds() - start;
    if (!progress)
        return;
    qf_net_data_statistics(net, &wait, &items);
    const qf_progress now = {.testing = true,
                             .iteration = done,
                             .total = total,
                             .items_per_second = lapse > 0 ? items / lapse : 0,
                             .data_wait = lapse > 0 ? wait / lapse : 0};
    progress(user, &now);
}

qf_status qf_net_test(qf_net *net, int iterations, qf_action_function action,
                      qf_progress_function progress, void *user, qf_scores **out)
{
    double start = qf_seconds();
    *out = NULL;
    if (iterations < 1)
        return qf_fail(net->context, QF_E_ARGUMENT, "iterations is %d, expected 1 or more",
                       iterations);
    qf_info(net->context, "Running for %d iterations.", iterations);
    qf_status status = QF_OK;
    for (int i = 0; i < iterations && status == QF_OK; i++) {
        float loss = 0;
        status = qf_net_forward(net, &loss);
        if (status == QF_OK && !*out)
            status = make_scores(net, out);
        if (status == QF_OK) {
            (*out)->loss += (double)loss;
            status = add_batch(net, i, *out);
        }
        report(net, start, i + 1, iterations, progress, user);
        if (status == QF_OK && action && action(user) == QF_STOP)
            status = qf_fail(net->context, QF_E_STOPPED, "stopped after %d of %d batches", i + 1,
                             iterations);
    }
    if (status == QF_OK)
        log_means(net, *out);
    return status;
}
