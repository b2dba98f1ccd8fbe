/* qaffe-bench: trains and runs the nets of models.c on made-up data, in float and quantised, and
 * compares the time with that of the bare kernels, in the same run: the contenders alternate, the
 * best of each counts. Peak memory is that of a process for each contender. */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of this program since it was started, in MiB. getrusage() would tell the parent's if that is
 * more. */
static double peak_mib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    double kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lf", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib / 1024;
}

/* ---- the table of steps ---- */

static qf_status open_bare(bench *b, qf_net *nets[2])
{
    QF_TRY(qf_net_create(b->context, b->files.path[FLOAT_TRAIN], QF_TRAIN, 0, NULL, 0, &nets[0]));
    QF_TRY(qf_net_create(b->context, b->files.path[FLOAT_DEPLOY], QF_TEST, 0, NULL, 0, &nets[1]));
    QF_TRY(bare_create(nets[0], BARE_TRAINING, &b->bare[BARE_TRAINING]));
    QF_TRY(bare_create(nets[1], BARE_FLOAT_INFERENCE, &b->bare[BARE_FLOAT_INFERENCE]));
    return bare_create(nets[1], BARE_INT8_INFERENCE, &b->bare[BARE_INT8_INFERENCE]);
}

static qf_status run_rounds(bench *b)
{
    for (int round = 0; round <= b->rounds; round++) { /* the first one warms up */
        for (int i = 0; i < CONTENDERS; i++)
            if (b->only[i])
                QF_TRY(contender_turn(&b->contenders[i], round > 0));
        for (int kind = 0; kind < 3 && b->with_bare; kind++)
            QF_TRY(bare_run(&b->bare[kind]));
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r%s: round %d of %d%s", b->model->name, round, b->rounds,
                    round == b->rounds ? "\n" : "");
    }
    return QF_OK;
}

/* A child that runs one contender for a round; its peak memory comes back through a file. */
static qf_status child_peak(bench *b, int contender, double *mib)
{
    char report[512], batch[16], threads[16];
    snprintf(report, sizeof report, "%s/peak.json", b->folder ? b->folder : b->files.folder);
    snprintf(batch, sizeof batch, "%d", b->batch);
    snprintf(threads, sizeof threads, "%d", b->threads);
    const char *const arguments[] = {"qaffe-bench",
                                     "--model",
                                     b->model->name,
                                     "--batch",
                                     batch,
                                     "--threads",
                                     threads,
                                     "--files",
                                     b->files.folder,
                                     "--only",
                                     contender_types[contender].name,
                                     "--rounds",
                                     "1",
                                     "--no-memory",
                                     "--json",
                                     report,
                                     NULL};
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout))
            execv("/proc/self/exe", (char *const *)arguments);
        _exit(127);
    }
    int state;
    while (child > 0 && waitpid(child, &state, 0) < 0 && errno == EINTR)
        ;
    if (child < 0 || !WIFEXITED(state) || WEXITSTATUS(state) != 0)
        return qf_fail(b->context, QF_E_IO, "the process that measures the memory of %s failed",
                       contender_types[contender].name);
    json_t *root = json_load_file(report, 0, NULL);
    *mib = json_number_value(
        json_object_get(json_object_get(root, b->model->name), "process_peak_mib"));
    json_decref(root);
    unlink(report);
    return *mib > 0 ? QF_OK : qf_fail(b->context, QF_E_IO, "%s has no peak", report);
}

static qf_status measure_steps(bench *b)
{
    qf_net *bare_nets[2] = {NULL, NULL};
    qf_status status = QF_OK;
    for (int i = 0; i < CONTENDERS && status == QF_OK; i++)
        if (b->only[i])
            status = contender_open(b->context, &contender_types[i], &b->files, &b->contenders[i]);
    if (status == QF_OK && b->with_bare)
        status = open_bare(b, bare_nets);
    if (status == QF_OK)
        status = run_rounds(b);
    if (status == QF_OK) {
        if (b->layers)
            report_layers(b);
        report_steps(b);
    }
    for (int i = 0; i < CONTENDERS; i++)
        contender_close(&b->contenders[i]);
    for (int kind = 0; kind < 3; kind++)
        bare_destroy(&b->bare[kind]);
    qf_net_destroy(bare_nets[0]);
    qf_net_destroy(bare_nets[1]);
    return status;
}

/* ---- one model ---- */

typedef struct choices {
    const char *model, *measure, *only, *json, *print;
    int batch, rounds, threads;
    bool layers, memory, deploy;
    const char *folder;
} choices;

static qf_status run_model(const choices *o, bench *b)
{
    char folder[] = "/tmp/qaffe-bench-XXXXXX";
    if (!o->folder && !mkdtemp(folder))
        return qf_fail(b->context, QF_E_IO, "cannot make a folder in /tmp");
    files_name(o->folder ? o->folder : folder, &b->files);
    qf_status status = files_make(b->context, b->model, b->batch, 0, &b->files);
    const bool steps = strcmp(o->measure, "steps") == 0 || strcmp(o->measure, "all") == 0;
    for (int i = 0; i < CONTENDERS && steps && o->memory && status == QF_OK; i++)
        if (b->only[i])
            status = child_peak(b, i, &b->peak_mib[i]);
    if (status == QF_OK && steps)
        status = measure_steps(b);
    for (const bench_measure *m = bench_measures; m->name && status == QF_OK; m++)
        if (strcmp(o->measure, m->name) == 0 || (strcmp(o->measure, "all") == 0 && !m->alone))
            status = m->run(b);
    files_release(&b->files, !o->folder);
    json_object_set_new(b->json, "process_peak_mib", json_real(peak_mib()));
    return status;
}

/* "float,qat" → flags; none chosen: all, with the bare kernels. */
static bool choose(const char *list, bool only[CONTENDERS], bool *bare)
{
    char copy[256], *rest = copy;
    for (int i = 0; i < CONTENDERS; i++)
        only[i] = !list && contender_available(&contender_types[i]);
    *bare = !list;
    snprintf(copy, sizeof copy, "%s", list ? list : "");
    for (char *name; list && (name = strsep(&rest, ","));) {
        int i = 0;
        while (i < CONTENDERS && strcmp(contender_types[i].name, name) != 0)
            i++;
        if (i < CONTENDERS && contender_available(&contender_types[i]))
            only[i] = true;
        else if (strcmp(name, "bare") == 0)
            *bare = true;
        else
            return false;
    }
    return true;
}

static bool measure_exists(const char *name)
{
    for (const bench_measure *m = bench_measures; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return true;
    return strcmp(name, "steps") == 0 || strcmp(name, "all") == 0;
}

static void print_usage(FILE *to)
{
    fputs("Usage: qaffe-bench [options]\n\n"
          "Runs nets on made-up data, in float and quantised, and compares the times, also with "
          "those\nof the bare oneDNN kernels for the same shapes in the same run. A step is a "
          "whole iteration of\na solver: gradients cleared, forward, backward, update.\n\n"
          "  --model NAME        all, or one of:",
          to);
    for (const bench_model *m = bench_models; m->name; m++)
        fprintf(to, " %s", m->name);
    fputs(" (resnet50)\n"
          "  --batch N           images in a batch (the model's usual number)\n"
          "  --rounds N          rounds; the best iteration counts (5)\n"
          "  --threads N         threads; 0 means all cores (0)\n"
          "  --only LIST         contenders, separated by commas:",
          to);
    for (int i = 0; i < CONTENDERS; i++)
        fprintf(to, " %s", contender_types[i].name);
    fputs(" bare\n"
          "  --measure NAME      steps (the default), all, or one of:\n",
          to);
    for (const bench_measure *m = bench_measures; m->name; m++)
        fprintf(to, "                        %-12s %s\n", m->name, m->help);
    fputs(
        "  --layers            also a line for each layer\n"
        "  --no-memory         do not measure peak memory (a process for each contender)\n"
        "  --processor-time    count that of all threads, not what a clock on the wall says: for a "
        "busy\n                      machine, with --threads 1\n"
        "  --json FILE         write the figures to FILE as well\n"
        "  --files FOLDER      keep the models' files in FOLDER, which exists; use those that are "
        "there\n"
        "  --print-model NAME  write the net as prototxt and stop\n"
        "  --phase PHASE       of the printed net: train (the default) or deploy\n",
        to);
}

static bool read_options(int argc, char **argv, choices *o)
{
    static const struct option options[] = {{"model", required_argument, NULL, 'm'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"measure", required_argument, NULL, 'w'},
                                            {"layers", no_argument, NULL, 'l'},
                                            {"no-memory", no_argument, NULL, 'M'},
                                            {"processor-time", no_argument, NULL, 'c'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"files", required_argument, NULL, 'f'},
                                            {"print-model", required_argument, NULL, 'p'},
                                            {"phase", required_argument, NULL, 'P'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *phase = "train";
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (option) {
        case 'm':
            o->model = optarg;
            break;
        case 'b':
            o->batch = atoi(optarg);
            break;
        case 'r':
            o->rounds = atoi(optarg);
            break;
        case 't':
            o->threads = atoi(optarg);
            break;
        case 'o':
            o->only = optarg;
            break;
        case 'w':
            o->measure = optarg;
            break;
        case 'l':
            o->layers = true;
            break;
        case 'M':
            o->memory = false;
            break;
        case 'c':
            clock_of_processor();
            break;
        case 'j':
            o->json = optarg;
            break;
        case 'f':
            o->folder = optarg;
            break;
        case 'p':
            o->print = optarg;
            break;
        case 'P':
            phase = optarg;
            break;
        case 'h':
            print_usage(stdout);
            exit(0);
        default:
            return false;
        }
    o->deploy = strcmp(phase, "deploy") == 0;
    return (o->deploy || strcmp(phase, "train") == 0) && o->batch >= 0 && o->rounds > 0 &&
           o->threads >= 0 && optind == argc && measure_exists(o->measure) &&
           (!o->print || model_find(o->print)) &&
           (strcmp(o->model, "all") == 0 || model_find(o->model));
}

static int print_model(const choices *o)
{
    const bench_model *model = model_find(o->print);
    qf_buffer text = {0};
    model_print(model, o->deploy, o->batch ? o->batch : model->batch, &text);
    const bool done = !text.failed && fputs(qf_buffer_text(&text), stdout) >= 0;
    qf_buffer_release(&text);
    return done && fflush(stdout) == 0 ? 0 : 1;
}

static qf_status run_all(const choices *o, qf_context *context, json_t *results)
{
    bool only[CONTENDERS], bare;
    if (!choose(o->only, only, &bare))
        return qf_fail(context, QF_E_ARGUMENT, "--only knows no '%s'; see --help", o->only);
    for (const bench_model *model = bench_models; model->name; model++) {
        if (strcmp(o->model, "all") != 0 && strcmp(o->model, model->name) != 0)
            continue;
        bench b = {.context = context,
                   .folder = o->folder,
                   .model = model,
                   .batch = o->batch ? o->batch : model->batch,
                   .rounds = o->rounds,
                   .threads = o->threads,
                   .with_bare = bare,
                   .layers = o->layers,
                   .json = json_pack("{s:s, s:i, s:i, s:i, s:{}, s:{}, s:{}, s:{}}", "net",
                                     model->title, "batch", o->batch ? o->batch : model->batch,
                                     "rounds", o->rounds, "threads", o->threads, "ms",
                                     "ms_without_update", "peak_mib", "ratios")};
        memcpy(b.only, only, sizeof only);
        json_object_set_new(results, model->name, b.json);
        QF_TRY(qf_within(context, run_model(o, &b), "%s", model->name));
    }
    return QF_OK;
}

int main(int argc, char **argv)
{
    choices o = {.model = "resnet50", .measure = "steps", .rounds = 5, .memory = true};
    qf_context *context;
    if (!read_options(argc, argv, &o)) {
        print_usage(stderr);
        return 2;
    }
    if (o.print)
        return print_model(&o);
    if (o.threads == 0)
        o.threads = omp_get_num_procs();
    if (qf_context_create(&context) != QF_OK)
        return 1;
    qf_context_set_threads(context, o.threads);
    qf_context_set_seed(context, 1);
    json_t *results = json_object();
    qf_status status = run_all(&o, context, results);
    if (status == QF_OK && o.json && json_dump_file(results, o.json, JSON_INDENT(2)) != 0)
        status = qf_fail(context, QF_E_IO, "cannot write %s", o.json);
    if (status != QF_OK)
        fprintf(stderr, "qaffe-bench: %s\n", qf_error_text(context));
    json_decref(results);
    qf_context_destroy(context);
    return status == QF_OK ? 0 : 1;
}
