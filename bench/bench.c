/* qaffe-bench: trains ResNet-50 on made-up data, in float and with fake quantisation, and compares
 * the time with that of the bare kernels, in the same run: rounds of all three alternate, the best
 * of each counts. */
#include "bench.h"

#include "base/memory.h"
#include "nn/solver.h"

#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef struct contender {
    qf_net *net;
    double *forward, *backward; /* best seconds of each layer */
    double best;                /* of a whole iteration */
} contender;

typedef struct bench {
    qf_context *context;
    char folder[64], *file[6];
    contender plain, quantised;
    bare_kernels bare;
    int batch, rounds;
} bench;

enum { MODEL, WEIGHTS, CONFIG, QAT_MODEL, QAT_WEIGHTS, RECORD };

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static qf_status open_contender(bench *b, const char *model, const char *weights, contender *out)
{
    QF_TRY(qf_net_create(b->context, model, QF_TRAIN, 0, NULL, 0, &out->net));
    if (weights)
        QF_TRY(qf_net_load_weights(out->net, weights));
    out->net->timing = true;
    qf_net_keep_blobs(out->net, false);
    out->forward = qf_alloc((size_t)out->net->layer_count, sizeof(double));
    out->backward = qf_alloc((size_t)out->net->layer_count, sizeof(double));
    out->best = 1e30;
    return out->forward && out->backward ? QF_OK : qf_fail(b->context, QF_E_MEMORY, "no memory");
}

static void close_contender(contender *c)
{
    qf_net_destroy(c->net);
    qf_free(c->forward);
    qf_free(c->backward);
}

/* Files as a user would have them: the net, its weights, and both prepared for training in int8. */
static qf_status make_files(bench *b)
{
    static const char *const names[] = {"float.prototxt", "float.caffemodel", "config.json",
                                        "qat.prototxt",   "qat.caffemodel",   "record.txt"};
    qf_buffer text = {0};
    snprintf(b->folder, sizeof b->folder, "/tmp/qaffe-bench-XXXXXX");
    if (!mkdtemp(b->folder))
        return qf_fail(b->context, QF_E_IO, "cannot make a folder in /tmp");
    for (int i = 0; i < 6; i++) {
        qf_buffer path = {0};
        qf_buffer_print(&path, "%s/%s", b->folder, names[i]);
        b->file[i] = qf_strdup(qf_buffer_text(&path));
        qf_buffer_release(&path);
    }
    resnet50(&text, b->batch);
    qf_status status = qf_file_write(b->context, b->file[MODEL], text.data, text.size, 0600);
    qf_buffer_release(&text);
    return status;
}

static qf_status open_all(bench *b)
{
    QF_TRY(make_files(b));
    QF_TRY(open_contender(b, b->file[MODEL], NULL, &b->plain));
    QF_TRY(qf_net_save_weights(b->plain.net, b->file[WEIGHTS]));
    QF_TRY(qf_create_quant_retrain_config(b->context, b->file[CONFIG], b->file[MODEL],
                                          b->file[WEIGHTS], NULL));
    QF_TRY(qf_create_quant_retrain_model(b->context, b->file[MODEL], b->file[WEIGHTS],
                                         b->file[CONFIG], b->file[QAT_MODEL], b->file[QAT_WEIGHTS],
                                         b->file[RECORD]));
    QF_TRY(open_contender(b, b->file[QAT_MODEL], b->file[QAT_WEIGHTS], &b->quantised));
    return bare_create(b->plain.net, &b->bare);
}

static void close_all(bench *b)
{
    for (int i = 0; i < 6; i++) {
        if (b->file[i])
            unlink(b->file[i]);
        qf_free(b->file[i]);
    }
    rmdir(b->folder);
    close_contender(&b->plain);
    close_contender(&b->quantised);
    bare_destroy(&b->bare);
}

/* One iteration of training but for the update: gradients cleared, forward, backward. */
static qf_status iterate(contender *c, bool counts)
{
    for (int l = 0; l < c->net->layer_count; l++)
        c->net->layers[l]->forward_seconds = c->net->layers[l]->backward_seconds = 0;
    const double start = seconds_now();
    qf_net_clear_param_diffs(c->net);
    QF_TRY(qf_net_forward(c->net, NULL));
    QF_TRY(qf_net_backward(c->net));
    const double taken = seconds_now() - start;
    if (!counts)
        return QF_OK;
    if (taken < c->best) { /* the layers of the best iteration, so that they add up */
        c->best = taken;
        for (int l = 0; l < c->net->layer_count; l++) {
            c->forward[l] = c->net->layers[l]->forward_seconds;
            c->backward[l] = c->net->layers[l]->backward_seconds;
        }
    }
    return QF_OK;
}

static qf_status run_rounds(bench *b)
{
    for (int round = 0; round <= b->rounds; round++) { /* the first one warms up */
        QF_TRY(iterate(&b->plain, round > 0));
        QF_TRY(bare_run(&b->bare));
        QF_TRY(iterate(&b->quantised, round > 0));
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\rround %d of %d", round, b->rounds);
    }
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    return QF_OK;
}

/* Seconds of all layers of one type. */
static double type_sum(const contender *c, const char *type)
{
    double sum = 0;
    for (int l = 0; l < c->net->layer_count; l++)
        if (strcmp(c->net->layers[l]->type->name, type) == 0)
            sum += c->forward[l] + c->backward[l];
    return sum;
}

static double bare_type_sum(const bench *b, const char *type)
{
    double sum = 0;
    for (int l = 0; l < b->plain.net->layer_count; l++)
        if (strcmp(b->plain.net->layers[l]->type->name, type) == 0)
            sum += bare_sum(&b->bare, b->plain.net->layers[l]->name);
    return sum;
}

static bool first_of_type(const qf_net *net, int index)
{
    for (int l = 0; l < index; l++)
        if (strcmp(net->layers[l]->type->name, net->layers[index]->type->name) == 0)
            return false;
    return true;
}

static void print_layers(const bench *b)
{
    const qf_net *net = b->plain.net;
    printf("%-22s %-14s %9s %9s %9s\n", "layer", "type", "forward", "backward", "bare");
    for (int l = 0; l < net->layer_count; l++)
        printf("%-22s %-14s %9.3f %9.3f %9.3f\n", net->layers[l]->name, net->layers[l]->type->name,
               1e3 * b->plain.forward[l], 1e3 * b->plain.backward[l],
               1e3 * bare_sum(&b->bare, net->layers[l]->name));
    putchar('\n');
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void print_summary(const bench *b)
{
    const qf_net *net = b->quantised.net;
    const double bare = bare_sum(&b->bare, NULL);
    printf("ResNet-50, batch %d, one iteration (forward and backward), ms; best of %d rounds\n\n",
           b->batch, b->rounds);
    printf("%-16s %10s %10s %10s\n", "layers of type", "float", "QAT", "bare");
    for (int l = 0; l < net->layer_count; l++) {
        const char *type = net->layers[l]->type->name;
        if (first_of_type(net, l))
            printf("%-16s %10.2f %10.2f %10.2f\n", type, 1e3 * type_sum(&b->plain, type),
                   1e3 * type_sum(&b->quantised, type), 1e3 * bare_type_sum(b, type));
    }
    printf("%-16s %10.2f %10.2f %10.2f\n\n", "total", 1e3 * b->plain.best, 1e3 * b->quantised.best,
           1e3 * bare);
    printf("float / bare kernels   %.3f\nQAT / float            %.3f\npeak memory            %.0f "
           "MiB (all three)\n",
           b->plain.best / bare, b->quantised.best / b->plain.best, peak_mib());
}

static bool write_json(const bench *b, const char *path)
{
    const qf_net *net = b->plain.net;
    const double bare = bare_sum(&b->bare, NULL);
    json_t *layers = json_array();
    for (int l = 0; l < net->layer_count; l++)
        json_array_append_new(
            layers, json_pack("{s:s, s:s, s:f, s:f, s:f}", "name", net->layers[l]->name, "type",
                              net->layers[l]->type->name, "forward_ms", 1e3 * b->plain.forward[l],
                              "backward_ms", 1e3 * b->plain.backward[l], "bare_ms",
                              1e3 * bare_sum(&b->bare, net->layers[l]->name)));
    json_t *root = json_pack(
        "{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "net", "ResNet-50", "batch", b->batch,
        "rounds", b->rounds, "float_ms", 1e3 * b->plain.best, "qat_ms", 1e3 * b->quantised.best,
        "bare_ms", 1e3 * bare, "float_over_bare", b->plain.best / bare, "qat_over_float",
        b->quantised.best / b->plain.best, "peak_mib", peak_mib(), "layers", layers);
    const bool done = root && json_dump_file(root, path, JSON_INDENT(2)) == 0;
    json_decref(root);
    return done;
}

static const char usage[] =
    "Usage: qaffe-bench [--batch N] [--rounds N] [--threads N] [--layers] [--json FILE]\n\n"
    "Trains ResNet-50 on made-up data, in float and with fake quantisation, and compares the time "
    "with\n"
    "that of the bare oneDNN kernels for the same shapes in the same run.\n\n"
    "  --batch N    images in a batch (8)\n"
    "  --rounds N   rounds; the best iteration counts (5)\n"
    "  --threads N  threads; 0 means all cores (0)\n"
    "  --layers     also a line for each layer of the float net\n"
    "  --json FILE  write the figures to FILE as well\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"batch", required_argument, NULL, 'b'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"layers", no_argument, NULL, 'l'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bench b = {.batch = 8, .rounds = 5};
    int threads = 0, option;
    bool layers = false;
    const char *json = NULL;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'b':
            b.batch = atoi(optarg);
            break;
        case 'r':
            b.rounds = atoi(optarg);
            break;
        case 't':
            threads = atoi(optarg);
            break;
        case 'l':
            layers = true;
            break;
        case 'j':
            json = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    if (b.batch < 1 || b.rounds < 1 || threads < 0 || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (qf_context_create(&b.context) != QF_OK)
        return 1;
    qf_context_set_threads(b.context, threads);
    qf_context_set_seed(b.context, 1);
    qf_status status = open_all(&b);
    if (status == QF_OK)
        status = run_rounds(&b);
    if (status == QF_OK) {
        if (layers)
            print_layers(&b);
        print_summary(&b);
        if (json && !write_json(&b, json)) {
            fprintf(stderr, "qaffe-bench: cannot write %s\n", json);
            status = QF_E_IO;
        }
    } else {
        fprintf(stderr, "qaffe-bench: %s\n", qf_error_text(b.context));
    }
    close_all(&b);
    qf_context_destroy(b.context);
    return status == QF_OK ? 0 : 1;
}
