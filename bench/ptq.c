/* What calibration without retraining adds to running the float net: so many passes of a new
 * calibration model, from the first to the one that completes its record, against as many of the
 * float net, in time and in memory at the peak. */
#include "bench.h"

#include <jansson.h>
#include <string.h>

enum { FLOAT, CALIBRATED, BOTH };
static const int batch_nums[] = {1, 8, 32};
enum { ROWS = sizeof batch_nums / sizeof *batch_nums };

typedef struct cost {
    double seconds, mib;
} cost;

typedef struct paths {
    char config[300], model[300], weights[300], record[300];
} paths;

static void name_paths(const bench *b, paths *p)
{
    snprintf(p->config, sizeof p->config, "%s/ptq.json", b->files.folder);
    snprintf(p->model, sizeof p->model, "%s/ptq.prototxt", b->files.folder);
    snprintf(p->weights, sizeof p->weights, "%s/ptq.caffemodel", b->files.folder);
    snprintf(p->record, sizeof p->record, "%s/ptq.txt", b->files.folder);
}

static qf_status make_model(const bench *b, int batch_num, const paths *p)
{
    qf_quant_options options = {.size = sizeof options};
    qf_quant_graph *graph;
    qf_quant_set_defaults(&options);
    options.batch_num = batch_num;
    QF_TRY(qf_create_quant_config(b->context, p->config, b->files.path[FLOAT_DEPLOY],
                                  b->files.path[FLOAT_WEIGHTS], &options));
    QF_TRY(qf_quant_init(b->context, p->config, b->files.path[FLOAT_DEPLOY],
                         b->files.path[FLOAT_WEIGHTS], p->record, &graph));
    const qf_status status = qf_quantize_model(b->context, graph, p->model, p->weights);
    qf_quant_graph_destroy(graph);
    return status;
}

/* Both nets see the same images, made before the clock runs. */
static qf_status set_images(qf_net *net)
{
    qf_blob *images = net->layers[0]->top[0];
    qf_random random;
    float *values;
    qf_random_seed(&random, 1);
    QF_TRY(qf_blob_mutable_data(images, &values));
    for (size_t i = 0; i < qf_blob_count(images); i++)
        values[i] = qf_random_gaussian(&random, 0, 1);
    return QF_OK;
}

static qf_status run(bench *b, const char *model, const char *weights, int passes, cost *best)
{
    qf_net *net;
    QF_TRY(qf_net_create(b->context, model, QF_TEST, 0, NULL, 0, &net));
    qf_net_keep_blobs(net, false);
    qf_memory_peak_reset();
    qf_pool_peak_reset(b->context);
    qf_status status = qf_net_load_weights(net, weights);
    if (status == QF_OK)
        status = set_images(net);
    const double start = seconds_now();
    for (int i = 0; i < passes && status == QF_OK; i++)
        status = qf_net_forward(net, NULL);
    const double seconds = seconds_now() - start;
    best->seconds = seconds < best->seconds ? seconds : best->seconds;
    best->mib = (double)(qf_memory_peak() + qf_pool_peak(b->context)) / (1 << 20);
    qf_net_destroy(net);
    return status;
}

/* The two take turns. */
static qf_status measure_row(bench *b, int batch_num, const paths *p, cost best[BOTH])
{
    best[FLOAT].seconds = best[CALIBRATED].seconds = 1e30;
    QF_TRY(make_model(b, batch_num, p));
    for (int round = 0; round < b->rounds; round++) {
        QF_TRY(run(b, b->files.path[FLOAT_DEPLOY], b->files.path[FLOAT_WEIGHTS], batch_num,
                   &best[FLOAT]));
        QF_TRY(run(b, p->model, p->weights, batch_num, &best[CALIBRATED]));
    }
    return QF_OK;
}

static void print_row(int batch_num, const cost best[BOTH])
{
    printf("%9d %10.1f %12.1f %7.3f %10.1f %12.1f %7.3f\n", batch_num, 1e3 * best[FLOAT].seconds,
           1e3 * best[CALIBRATED].seconds, best[CALIBRATED].seconds / best[FLOAT].seconds,
           best[FLOAT].mib, best[CALIBRATED].mib, best[CALIBRATED].mib / best[FLOAT].mib);
    fflush(stdout);
}

qf_status bench_ptq(bench *b)
{
    paths p;
    json_t *rows = json_array();
    qf_status status = files_make(b->context, b->model, b->batch, 0, &b->files);
    name_paths(b, &p);
    printf("%s, batch %d, %d threads: all passes of a calibration, best of %d rounds\n\n"
           "%9s %10s %12s %7s %10s %12s %7s\n",
           b->model->title, b->batch, b->threads, b->rounds, "batch_num", "float, ms",
           "calibration", "ratio", "peak, MiB", "calibration", "ratio");
    for (int i = 0; i < ROWS && status == QF_OK; i++) {
        cost best[BOTH];
        status = measure_row(b, batch_nums[i], &p, best);
        if (status != QF_OK)
            break;
        print_row(batch_nums[i], best);
        json_array_append_new(rows,
                              json_pack("{s:i, s:f, s:f, s:f, s:f}", "batch_num", batch_nums[i],
                                        "float_ms", 1e3 * best[FLOAT].seconds, "calibration_ms",
                                        1e3 * best[CALIBRATED].seconds, "float_mib",
                                        best[FLOAT].mib, "calibration_mib", best[CALIBRATED].mib));
    }
    puts("");
    json_object_set_new(b->json, "ptq", rows);
    return status;
}
