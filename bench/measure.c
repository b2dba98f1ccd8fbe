/* The measurements besides the table of steps: growth with the batch, threads, start-up,
 * iterations on request. */
#include "bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

static bool chosen(const bench *b, int contender)
{
    return b->only[contender];
}

static void record(bench *b, const char *name, int at, const char *contender, double value)
{
    char key[32];
    snprintf(key, sizeof key, "%d", at);
    json_t *table = json_object_get(b->json, name);
    if (!table)
        json_object_set_new(b->json, name, table = json_object());
    json_t *row = json_object_get(table, key);
    if (!row)
        json_object_set_new(table, key, row = json_object());
    json_object_set_new(row, contender, json_real(value));
}

/* Best seconds of one contender at a batch size of its own; files in a folder of their own. */
static qf_status time_alone(bench *b, int type, int batch, double *best)
{
    char folder[] = "/tmp/qaffe-bench-XXXXXX";
    bench_files files;
    contender c = {0};
    *best = 0;
    if (!mkdtemp(folder))
        return qf_fail(b->context, QF_E_IO, "cannot make a folder in /tmp");
    files_name(folder, &files);
    qf_status status = files_make(b->context, b->model, batch, 0, &files);
    if (status == QF_OK)
        status = contender_open(b->context, &contender_types[type], &files, &c);
    for (int round = 0; round <= b->rounds && status == QF_OK; round++)
        status = contender_turn(&c, round > 0);
    *best = c.best;
    contender_close(&c);
    files_release(&files, true);
    return status;
}

static qf_status measure_growth(bench *b)
{
    static const int batches[] = {1, 2, 4, 8, 16, 32};
    printf("%s, %d threads: images/s by batch size, best of %d rounds\n\n%8s", b->model->title,
           b->threads, b->rounds, "batch");
    for (int i = 0; i < CONTENDERS; i++)
        if (chosen(b, i))
            printf(" %16s", contender_types[i].name);
    putchar('\n');
    for (size_t k = 0; k < sizeof batches / sizeof *batches; k++) {
        printf("%8d", batches[k]);
        for (int i = 0; i < CONTENDERS; i++) {
            double best;
            if (!chosen(b, i))
                continue;
            QF_TRY(time_alone(b, i, batches[k], &best));
            printf(" %16.1f", batches[k] / best);
            fflush(stdout);
            record(b, "images_per_second_by_batch", batches[k], contender_types[i].name,
                   batches[k] / best);
        }
        putchar('\n');
    }
    putchar('\n');
    return QF_OK;
}

static qf_status measure_threads(bench *b)
{
    printf("%s, batch %d: ms by number of threads, alternated, best of %d rounds\n\n%-24s %10s "
           "%10s %8s\n",
           b->model->title, b->batch, b->rounds, "", "1", "2", "ratio");
    for (int i = 0; i < CONTENDERS; i++) {
        contender c[2] = {{0}, {0}};
        if (!chosen(b, i))
            continue;
        qf_status status = QF_OK;
        for (int k = 0; k < 2 && status == QF_OK; k++) {
            qf_context_set_threads(b->context, k + 1);
            status = contender_open(b->context, &contender_types[i], &b->files, &c[k]);
        }
        for (int round = 0; round <= b->rounds; round++)
            for (int k = 0; k < 2 && status == QF_OK; k++) {
                qf_context_set_threads(b->context, k + 1);
                status = contender_turn(&c[k], round > 0);
            }
        if (status == QF_OK) {
            printf("%-24s %10.2f %10.2f %8.3f\n", contender_types[i].title, 1e3 * c[0].best,
                   1e3 * c[1].best, c[0].best / c[1].best);
            record(b, "ms_by_threads", 1, contender_types[i].name, 1e3 * c[0].best);
            record(b, "ms_by_threads", 2, contender_types[i].name, 1e3 * c[1].best);
        }
        contender_close(&c[0]);
        contender_close(&c[1]);
        QF_TRY(status);
    }
    qf_context_set_threads(b->context, b->threads);
    putchar('\n');
    return QF_OK;
}

/* ---- start-up ---- */

static qf_status read_file(qf_context *context, const char *path, double *seconds)
{
    qf_buffer bytes = {0};
    const double start = seconds_now();
    qf_status status = qf_file_read(context, path, &bytes);
    *seconds = seconds_now() - start;
    qf_buffer_release(&bytes);
    return status;
}

/* Reading the file into memory against loading it into a net; both with the file in the cache. */
static qf_status measure_startup(bench *b)
{
    const char *weights = b->files.path[FLOAT_WEIGHTS];
    qf_net *net;
    double best_read = 1e30, best_load = 1e30;
    QF_TRY(qf_net_create(b->context, b->files.path[FLOAT_DEPLOY], QF_TEST, 0, NULL, 0, &net));
    qf_status status = QF_OK;
    for (int round = 0; round <= b->rounds && status == QF_OK; round++) {
        double read = 0;
        status = read_file(b->context, weights, &read);
        const double start = seconds_now();
        if (status == QF_OK)
            status = qf_net_load_weights(net, weights);
        const double load = seconds_now() - start;
        if (round == 0)
            continue;
        best_read = read < best_read ? read : best_read;
        best_load = load < best_load ? load : best_load;
    }
    qf_net_destroy(net);
    QF_TRY(status);
    printf("%s: start-up, ms, best of %d rounds\n\n"
           "reading the .caffemodel          %10.2f\n"
           "loading it into the net          %10.2f\n\n"
           "load / read                      %10.3f\n\n",
           b->model->title, b->rounds, 1e3 * best_read, 1e3 * best_load, best_load / best_read);
    json_object_set_new(
        b->json, "startup",
        json_pack("{s:f, s:f}", "read_ms", 1e3 * best_read, "load_ms", 1e3 * best_load));
    return QF_OK;
}

/* ---- one iteration a line (versus.py) ---- */

/* Answers each line of stdin with the ms of one iteration, so that two builds can take turns. */
static qf_status measure_on_request(bench *b)
{
    int type = 0;
    while (type < CONTENDERS && !chosen(b, type))
        type++;
    contender c = {0};
    if (type == CONTENDERS)
        return qf_fail(b->context, QF_E_ARGUMENT, "--measure on-request needs --only CONTENDER");
    qf_status status = contender_open(b->context, &contender_types[type], &b->files, &c);
    for (char line[16]; status == QF_OK && fgets(line, sizeof line, stdin);) {
        const double start = seconds_now();
        status = contender_turn(&c, false);
        if (status == QF_OK &&
            (printf("%.4f\n", 1e3 * (seconds_now() - start)) < 0 || fflush(stdout)))
            status = qf_fail(b->context, QF_E_IO, "cannot write to stdout");
    }
    contender_close(&c);
    return status;
}

const bench_measure bench_measures[] = {
    {"growth", "images/s for batches of 1 to 32", measure_growth, false},
    {"threads", "1 thread against 2", measure_threads, false},
    {"calibration", "testing that searches shifts and ranges against plain testing",
     bench_calibration, false},
    {"ptq", "calibration without retraining against running the float net", bench_ptq, false},
    {"run", "qat run that keeps the best state and finds its rate, against plain training",
     bench_run, true},
    {"startup", "loading a .caffemodel against reading the file", measure_startup, false},
    {"on-request", "one iteration of one contender for each line on stdin (versus.py)",
     measure_on_request, true},
    {0},
};
