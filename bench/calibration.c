/* What finding ranges and shifts adds to testing: SearchN and IFMR against a plain TEST phase. */
#include "bench.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>

enum { PHASE = 10 }; /* batches of a TEST phase */

/* The three test nets of one prepared model. */
enum { PLAIN, GATHERING, SEARCHING, NETS };
static const int batch_nums[NETS] = {
    [PLAIN] = 0,           /* without SearchN */
    [GATHERING] = INT_MAX, /* SearchN gather in every pass and never finish */
    [SEARCHING] = 1,       /* and finish in the first pass, as `qaffe qat` sets them up */
};

static void set_batch_num(Caffe__NetParameter *param, int batch_num)
{
    size_t kept = 0;
    for (size_t l = 0; l < param->n_layer; l++) {
        Caffe__LayerParameter *layer = param->layer[l];
        if (layer->search_n_param && batch_num == 0) {
            qf_message_free(layer);
            continue;
        }
        if (layer->search_n_param)
            layer->search_n_param->batch_num = (uint32_t)batch_num;
        param->layer[kept++] = layer;
    }
    param->n_layer = kept;
}

static qf_status open_net(const bench *b, int batch_num, qf_net **out)
{
    Caffe__NetParameter *param;
    *out = NULL;
    QF_TRY(qf_net_param_read(b->context, b->files.path[CALIBRATION], &param));
    set_batch_num(param, batch_num);
    qf_status status = QF_OK;
    if (!param->state)
        status = qf_message_new(b->context, &caffe__net_state__descriptor, &param->state);
    if (status == QF_OK) {
        param->state->has_phase = true;
        param->state->phase = CAFFE__PHASE__TEST;
        status = qf_net_create_from_param(b->context, param, NULL, out);
    }
    qf_message_free(param);
    QF_TRY(status);
    qf_net_keep_blobs(*out, false); /* as the commands do */
    return qf_net_load_weights(*out, b->files.path[CALIBRATION_WEIGHTS]);
}

static qf_status timed_passes(qf_net *net, int passes, double *seconds)
{
    const double start = seconds_now();
    for (int i = 0; i < passes; i++)
        QF_TRY(qf_net_forward(net, NULL));
    *seconds = seconds_now() - start;
    return QF_OK;
}

/* As an update of the solver would: every weight is another version. */
static qf_status touch_weights(qf_net *net)
{
    for (int i = 0; i < net->learnable_count; i++) {
        float *values;
        QF_TRY(qf_blob_mutable_data(net->learnables[i].blob, &values));
    }
    return QF_OK;
}

/* Seconds of the first pass and of the phase that it begins. A new net's ranges are found if the
 * weights' file has none. */
static qf_status first_phase(qf_net *net, double *first, double *phase)
{
    double others;
    QF_TRY(timed_passes(net, 1, first));
    QF_TRY(timed_passes(net, PHASE - 1, &others));
    *phase = *first + others;
    return QF_OK;
}

static void keep_best(double *best, double seconds)
{
    *best = seconds < *best ? seconds : *best;
}

typedef struct timings {
    double first[NETS], first_phase[NETS]; /* of a new net */
    double pass[NETS];
    double phase[NETS]; /* after the weights changed */
    double search;      /* a pass' seconds in SearchN layers that run by themselves */
} timings;

static double seconds_in_search(const qf_net *net)
{
    double sum = 0;
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->type->name, "SearchN") == 0)
            sum += net->layers[l]->forward_cost.seconds;
    return sum;
}

static qf_status round_of(qf_net *const *net, timings *best)
{
    double seconds;
    for (int k = PLAIN; k <= GATHERING; k++) {
        for (int l = 0; l < net[k]->layer_count; l++)
            net[k]->layers[l]->forward_cost.seconds = 0;
        QF_TRY(timed_passes(net[k], 1, &seconds));
        keep_best(&best->pass[k], seconds);
    }
    keep_best(&best->search, seconds_in_search(net[GATHERING]));
    for (int k = 0; k < NETS; k++)
        if (k != GATHERING) {
            QF_TRY(touch_weights(net[k]));
            QF_TRY(timed_passes(net[k], PHASE, &seconds));
            keep_best(&best->phase[k], seconds);
        }
    return QF_OK;
}

/* Weights with ranges come from a net of their own, which also warms the machine up. */
static qf_status measure(bench *b, qf_net **net, timings *best)
{
    qf_net *first;
    QF_TRY(open_net(b, batch_nums[SEARCHING], &net[SEARCHING]));
    QF_TRY(open_net(b, batch_nums[SEARCHING], &first));
    qf_status status = qf_net_forward(first, NULL);
    if (status == QF_OK)
        status = qf_net_save_weights(first, b->files.path[CALIBRATION_WEIGHTS]);
    qf_net_destroy(first);
    QF_TRY(status);
    for (int k = 0; k < NETS; k++) {
        if (!net[k])
            QF_TRY(open_net(b, batch_nums[k], &net[k]));
        net[k]->timing = true;
        QF_TRY(first_phase(net[k], &best->first[k], &best->first_phase[k]));
    }
    for (int round = 0; round < b->rounds; round++)
        QF_TRY(round_of(net, best));
    return QF_OK;
}

static void print_row(const char *what, const double *seconds, int other)
{
    printf("%-44s %10.2f %10.2f %8.3f\n", what, 1e3 * seconds[PLAIN], 1e3 * seconds[other],
           seconds[other] / seconds[PLAIN]);
}

static void report(const bench *b, const timings *best)
{
    printf("%s, batch %d, %d threads: calibration, ms, best of %d rounds\n\n%-44s %10s %10s %8s\n",
           b->model->title, b->batch, b->threads, b->rounds, "", "plain", "with it", "ratio");
    print_row("TEST pass while all SearchN gather", best->pass, GATHERING);
    print_row("TEST phase of 10, SearchN in the first", best->phase, SEARCHING);
    print_row("first pass of a net, IFMR and SearchN", best->first, SEARCHING);
    print_row("first phase of 10, IFMR and SearchN", best->first_phase, SEARCHING);
    printf("\nof the gathering pass, SearchN alone: %.2f\n\n", 1e3 * best->search);
    json_object_set_new(
        b->json, "calibration",
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "plain_ms", 1e3 * best->pass[PLAIN],
                  "search_n_ms", 1e3 * best->pass[GATHERING], "plain_phase_ms",
                  1e3 * best->phase[PLAIN], "search_n_phase_ms", 1e3 * best->phase[SEARCHING],
                  "plain_first_ms", 1e3 * best->first[PLAIN], "first_ms",
                  1e3 * best->first[SEARCHING], "plain_first_phase_ms",
                  1e3 * best->first_phase[PLAIN], "first_phase_ms",
                  1e3 * best->first_phase[SEARCHING]));
}

qf_status bench_calibration(bench *b)
{
    qf_net *net[NETS] = {NULL};
    timings best = {.search = 1e30};
    for (int k = 0; k < NETS; k++)
        best.pass[k] = best.phase[k] = 1e30;
    qf_status status = files_make(b->context, b->model, b->batch, 1, &b->files);
    if (status == QF_OK)
        status = measure(b, net, &best);
    if (status == QF_OK)
        report(b, &best);
    for (int k = 0; k < NETS; k++)
        qf_net_destroy(net[k]);
    return status;
}
