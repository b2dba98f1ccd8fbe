/* Testing a net: what `caffe test` does, or the whole test set as if it were one batch. */
#include "base/clock.h"
#include "base/memory.h"
#include "train/average_precision.h"
#include "train/scores.h"
#include "train/solver.h"
#include "train/test_set.h"

#include <string.h>
#include <time.h>

struct qf_scores {
    int count; /* of output values: a blob with several has several */
    char **names;
    double *sums, *shares; /* of values times their weight, and of the weights */
    float *weights;        /* of losses, in the net's loss */
    int *better;           /* qf_scores_better() */
    qf_detections *found;  /* of a DetectionEvaluate layer, whose one value is made of them */
    bool *is_detections;
    double other_losses; /* the same as sums, of what no output shows */
    double batch_shares;
    qf_batch_loss *batch; /* of each, `batches` of them */
    int batches;
    int main; /* index of the value that matters most; −1: none */
    uint64_t items;
};

/* How a test goes. */
typedef struct test {
    qf_net *net;
    int batches;
    qf_test_set set; /* items 0: that many batches, all of one weight */
    double start;
} test;

void qf_scores_destroy(qf_scores *scores)
{
    if (!scores)
        return;
    for (int i = 0; i < scores->count; i++) {
        qf_free(scores->names[i]);
        qf_detections_release(&scores->found[i]);
    }
    qf_free(scores->batch);
    qf_free(scores->found);
    qf_free(scores->is_detections);
    qf_free(scores->names);
    qf_free(scores->sums);
    qf_free(scores->shares);
    qf_free(scores->weights);
    qf_free(scores->better);
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
    return index >= 0 && index < scores->count && scores->shares[index] > 0
               ? scores->sums[index] / scores->shares[index]
               : 0;
}

double qf_scores_main(const qf_scores *scores, const char **name)
{
    if (name)
        *name = qf_scores_name(scores, scores->main);
    return qf_scores_value(scores, scores->main);
}

int qf_scores_better(const qf_scores *scores, int index)
{
    return index >= 0 && index < scores->count ? scores->better[index] : 0;
}

double qf_scores_loss(const qf_scores *scores)
{
    double loss = scores->batch_shares > 0 ? scores->other_losses / scores->batch_shares : 0;
    for (int i = 0; i < scores->count; i++)
        if (scores->weights[i] != 0)
            loss += (double)scores->weights[i] * qf_scores_value(scores, i);
    return loss;
}

uint64_t qf_scores_items(const qf_scores *scores)
{
    return scores->items;
}

const qf_batch_loss *qf_scores_batches(const qf_scores *scores, int *count)
{
    *count = scores->batches;
    return scores->batch;
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

/* The top of a layer that a blob is; NULL: it is an input. */
static const qf_layer *maker_of(const qf_net *net, const qf_blob *blob, int *top)
{
    for (int l = net->layer_count - 1; l >= 0; l--)
        for (*top = 0; *top < net->layers[l]->top_count; (*top)++)
            if (net->layers[l]->top[*top] == blob)
                return net->layers[l];
    return NULL;
}

/* Training makes a weighted sum of losses small; a loss without weight is still one. */
static int better_of(const qf_net *net, int blob)
{
    const float weight = net->blob_loss_weight[blob];
    int top;
    const qf_layer *maker = maker_of(net, net->blobs[blob], &top);
    if (weight != 0)
        return weight > 0 ? -1 : 1;
    return !maker                                                ? 0
           : strcmp(maker->type->name, "Accuracy") == 0          ? 1
           : strcmp(maker->type->name, "DetectionEvaluate") == 0 ? 1
           : maker->type->loss && top == 0                       ? -1
                                                                 : 0;
}

/* Rows of detections make one value. */
static size_t values_of(const qf_net *net, const qf_blob *blob)
{
    return qf_net_evaluates_detections(net, blob) ? 1 : qf_blob_count(blob);
}

static qf_status make_scores(qf_net *net, int batches, qf_scores **out)
{
    qf_scores *scores = qf_alloc(1, sizeof *scores);
    *out = scores;
    size_t count = 0;
    for (int i = 0; i < net->output_count; i++)
        count += values_of(net, net->blobs[net->outputs[i]]);
    if (scores) {
        scores->batch = qf_alloc((size_t)batches, sizeof *scores->batch);
        scores->names = qf_alloc(count, sizeof *scores->names);
        scores->sums = qf_alloc(count, sizeof *scores->sums);
        scores->shares = qf_alloc(count, sizeof *scores->shares);
        scores->weights = qf_alloc(count, sizeof *scores->weights);
        scores->better = qf_alloc(count, sizeof *scores->better);
        scores->found = qf_alloc(count, sizeof *scores->found);
        scores->is_detections = qf_alloc(count, sizeof *scores->is_detections);
    }
    if (!scores || !scores->batch || !scores->names || !scores->sums || !scores->shares ||
        !scores->weights || !scores->better || !scores->found || !scores->is_detections)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for the scores");
    scores->main = -1;
    for (int i = 0; i < net->output_count; i++) {
        const qf_blob *blob = net->blobs[net->outputs[i]];
        const bool detections = qf_net_evaluates_detections(net, blob);
        if (scores->main < 0 && (detections || is_accuracy(net, blob)))
            scores->main = scores->count;
        for (size_t k = 0; k < values_of(net, blob); k++) {
            scores->is_detections[scores->count] = detections;
            scores->weights[scores->count] = net->blob_loss_weight[net->outputs[i]];
            scores->better[scores->count] = better_of(net, net->outputs[i]);
            scores->names[scores->count] = qf_strdup(blob->name);
            if (!scores->names[scores->count++])
                return qf_fail(net->context, QF_E_MEMORY, "no memory for the scores");
        }
    }
    if (scores->main < 0 && scores->count)
        scores->main = 0;
    return QF_OK;
}

/* What a value counts in the mean of a whole test set, and how much of a mean that is: so that the
 * result is that of one batch with all items, and sums over a batch become sums over a whole one.
 */
typedef struct value_weight {
    double factor, share;
} value_weight;

static value_weight weight_of(const test *t, double items, const qf_layer *maker, int top,
                              size_t index)
{
    if (t->set.items == 0)
        return (value_weight){1, 1};
    const double over = maker && maker->type->mean_over ? maker->type->mean_over(maker, top, index)
                                                        : QF_MEAN_OF_BATCH;
    return over == QF_SUM_OF_BATCH    ? (value_weight){t->set.batch, items}
           : over == QF_MEAN_OF_BATCH ? (value_weight){items, items}
                                      : (value_weight){over, over};
}

/* A small last batch may have fewer values: those of its items are counted where they stand in the
 * first batch. */
static qf_status add_batch(const test *t, int batch, double loss, qf_scores *scores)
{
    const bool last = batch + 1 == t->batches;
    const double items = last && t->set.items ? t->set.rest : t->set.batch;
    qf_net *net = t->net;
    scores->batch[scores->batches++] = (qf_batch_loss){loss, t->set.items ? items : 1};
    for (int i = 0, at = 0; i < net->output_count; i++) {
        qf_blob *blob = net->blobs[net->outputs[i]];
        const float *values;
        int top = 0;
        const int first = at;
        const qf_layer *maker = maker_of(net, blob, &top);
        QF_TRY(qf_read(net->context, blob->data, QF_PLAIN, &values));
        if (at < scores->count && scores->is_detections[at]) {
            QF_TRY(qf_detections_add(net->context, blob, values, &scores->found[at++]));
            continue;
        }
        for (; at < scores->count && strcmp(scores->names[at], blob->name) == 0; at++) {
            const size_t k = (size_t)(at - first);
            if (k >= qf_blob_count(blob))
                continue;
            const value_weight weight = weight_of(t, items, maker, top, k);
            scores->sums[at] += weight.factor * (double)values[k];
            scores->shares[at] += weight.share;
            loss -= (double)(scores->weights[at] * values[k]);
            qf_info(net->context, "Batch %d, %s = %g", batch, blob->name, (double)values[k]);
        }
    }
    const value_weight weight = weight_of(t, items, NULL, 0, 0);
    scores->other_losses += weight.factor * loss;
    scores->batch_shares += weight.share;
    if (t->set.items)
        scores->items += (uint64_t)items;
    return QF_OK;
}

static void conclude_detections(qf_net *net, qf_scores *scores)
{
    for (int i = 0; i < scores->count; i++)
        if (scores->is_detections[i]) {
            scores->sums[i] = qf_detections_mean(net->context, &scores->found[i],
                                                 (qf_ap_version)net->context->ap_version, true);
            scores->shares[i] = 1;
        }
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

static void report(const test *t, int done, qf_progress_function progress, void *user)
{
    double wait, items, lapse = qf_seconds() - t->start;
    if (!progress)
        return;
    qf_net_data_statistics(t->net, &wait, &items);
    const qf_progress now = {.testing = true,
                             .iteration = done,
                             .total = t->batches,
                             .items_per_second = lapse > 0 ? items / lapse : 0,
                             .data_wait = lapse > 0 ? wait / lapse : 0,
                             .what = "testing"};
    progress(user, &now);
}

static qf_status begin(qf_net *net, int iterations, test *t)
{
    *t = (test){.net = net, .batches = iterations};
    if (iterations < 0)
        return qf_fail(net->context, QF_E_ARGUMENT, "iterations is %d, expected 0 or more",
                       iterations);
    if (iterations == 0) {
        QF_TRY(qf_test_set_find(net, &t->set));
        if (t->set.items == 0)
            return qf_fail(net->context, QF_E_UNSUPPORTED,
                           "no data layer of the net%s%s knows how many items it has; say how many "
                           "batches (iterations) to test",
                           *qf_net_name(net) ? " " : "", qf_net_name(net));
        QF_TRY(qf_test_set_begin(net));
        t->batches = t->set.batches;
        qf_info(net->context, "Testing all %llu items in %d batch%s.",
                (unsigned long long)t->set.items, t->batches, t->batches == 1 ? "" : "es");
    } else {
        qf_info(net->context, "Running for %d iterations.", iterations); /* as Caffe */
    }
    t->start = qf_seconds();
    return QF_OK;
}

static qf_status run_batch(const test *t, int batch, qf_scores **scores)
{
    float loss = 0;
    const bool small = t->set.items && batch + 1 == t->batches && t->set.rest < t->set.batch;
    if (small)
        qf_test_set_cut(t->net, &t->set);
    qf_status status = qf_net_forward(t->net, &loss);
    if (small && batch > 0 && status == QF_E_SHAPE) {
        qf_warning(
            t->net->context,
            "The last %d of %llu items are left out, since the net takes whole batches of %d "
            "only (%s); a batch_size that divides their number brings them in",
            t->set.rest, (unsigned long long)t->set.items, t->set.batch,
            qf_error_text(t->net->context));
        return QF_OK;
    }
    QF_TRY(status);
    if (!*scores)
        QF_TRY(make_scores(t->net, t->batches, scores));
    return add_batch(t, batch, (double)loss, *scores);
}

qf_status qf_net_test(qf_net *net, int iterations, qf_action_function action,
                      qf_progress_function progress, void *user, qf_scores **out)
{
    test t;
    *out = NULL;
    QF_TRY(begin(net, iterations, &t));
    for (int i = 0; i < t.batches; i++) {
        QF_TRY(run_batch(&t, i, out));
        report(&t, i + 1, progress, user);
        if (action && action(user) == QF_STOP)
            return qf_fail(net->context, QF_E_STOPPED, "stopped after %d of %d batches", i + 1,
                           t.batches);
    }
    conclude_detections(net, *out);
    log_means(net, *out);
    return QF_OK;
}
