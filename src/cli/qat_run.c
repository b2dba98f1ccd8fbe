/* qaffe qat run: the whole flow in one command. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/session.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const option options[] = {
    REQUIRED_FILE(
        "model", "FILE",
        "The float net (.prototxt): one to train, with Data layers, or one to deploy, with Input; "
        "the latter gets data, loss and accuracy."),
    REQUIRED_FILE("weights", "FILE", "Its trained weights (.caffemodel)."),
    FILE_OPTION("train-data", "SOURCE",
                "Images to train on: an LMDB or LevelDB, a folder whose folders are the labels, or "
                "a list; without it, those that the model names."),
    FILE_OPTION("test-data", "SOURCE",
                "Images to test on, as for --train-data; without it, those that the model names."),
    INTEGER_OPTION("iterations", "N", "1000", 1, 1e9, "Iterations of training."),
    {.name = "out",
     .kind = OPTION_FILE,
     .value = "PREFIX",
     .standard = "qat_results/model",
     .help = "Folder and beginning of the names of all files."},
    FILE_OPTION("config-definition", "FILE",
                "A simplified configuration (.cfg) instead of the defaults."),
    {.name = "base-lr",
     .kind = OPTION_NUMBER,
     .value = "RATE",
     .standard = "0.0001",
     .lowest = 1e-12,
     .highest = 100,
     .help =
         "Learning rate; about a hundredth of what the float training began with. It falls to a "
         "tenth after two thirds."},
    INTEGER_OPTION("batch-size", "N", "0", 0, 1e6,
                   "Training batch; 0 means the model's own, or 32."),
    INTEGER_OPTION("test-iterations", "N", "0", 0, 1e9,
                   "Batches of each test; 0 means the whole test set once."),
    SCALE_OPTION,
    MEAN_FILE_OPTION,
    MEAN_VALUE_OPTION,
    BATCH_NORM_OPTION,
    FROM_PTQ_OPTION,
    INTEGER_OPTION(
        "freeze-bn-after", "N", "-1", -1, 1e9,
        "Iteration from which BatchNorm keeps its statistics; -1 leaves it to the model."),
    DIVERGENCE_OPTION,
};

static const char *noise(double decibels)
{
    return isnan(decibels) ? "-" : isinf(decibels) ? "exact" : cell("%.1f", decibels);
}

/* What stands between the prefix and the end of a name, as AMCT has it. */
static const char *joint_of(const char *prefix)
{
    const size_t length = strlen(prefix);
    return length && prefix[length - 1] == '/' ? "" : "_";
}

/* "12.3 KiB" */
static const char *size_text(size_t bytes)
{
    return cell("%.1f KiB", (double)bytes / 1024);
}

static const char *score_text(double score)
{
    return isnan(score) ? "-" : cell(fabs(score) < 1000 ? "%.4f" : "%.6g", score);
}

/* The models of the result: where their values stand. */
static const struct {
    const char *name;
    size_t score, bytes; /* offsets; bytes 0: no file of its own */
} models[] = {
    {"float", offsetof(qf_qat_score, float_score), offsetof(qf_qat_result, float_bytes)},
    {"calibrated", offsetof(qf_qat_score, calibrated_score), 0},
    {"fake-quant", offsetof(qf_qat_score, fake_quant_score),
     offsetof(qf_qat_result, fake_quant_bytes)},
    {"deploy", offsetof(qf_qat_score, deploy_score), offsetof(qf_qat_result, deploy_bytes)},
};
enum { MODELS = COUNT(models) };

static double score_of(const qf_qat_score *score, int model)
{
    return *(const double *)((const char *)score + models[model].score);
}

static const char *size_of(const qf_qat_result *result, int model)
{
    const size_t at = models[model].bytes;
    return at ? size_text(*(const size_t *)((const char *)result + at)) : "-";
}

/* A row for each model, as long as the outputs have room beside one another. */
static void print_models_in_rows(const qf_qat_result *r, int outputs)
{
    table table = {0};
    table_start_row(&table, "model");
    for (int i = 0; i < outputs; i++)
        table_add(&table, r->score[i]->name);
    table_add(&table, "weights file");
    for (int model = 0; model < MODELS; model++) {
        table_start_row(&table, models[model].name);
        for (int i = 0; i < outputs; i++)
            table_add(&table, score_text(score_of(r->score[i], model)));
        table_add(&table, size_of(r, model));
    }
    table_print(&table);
    table_release(&table);
}

/* A row for each output: as many as there are. */
static void print_models_in_columns(const qf_qat_result *r)
{
    table table = {0};
    table_start_row(&table, "output");
    for (int model = 0; model < MODELS; model++)
        table_add(&table, models[model].name);
    for (int i = 0; i < r->scores; i++) {
        table_start_row(&table, r->score[i]->name);
        for (int model = 0; model < MODELS; model++)
            table_add(&table, score_text(score_of(r->score[i], model)));
    }
    table_start_row(&table, "weights file");
    for (int model = 0; model < MODELS; model++)
        table_add(&table, size_of(r, model));
    table_print(&table);
    table_release(&table);
}

static void print_models(const qf_qat_result *r)
{
    enum { OTHER_COLUMNS = 26, LEAST = 8, SCREEN = 79 }; /* model and weights file; a number */
    int width = OTHER_COLUMNS;
    for (int i = 0; i < r->scores; i++) {
        const int name = (int)strlen(r->score[i]->name);
        width += 2 + (name > LEAST ? name : LEAST);
    }
    if (width <= SCREEN && r->scores + 2 <= TABLE_COLUMNS)
        print_models_in_rows(r, r->scores);
    else
        print_models_in_columns(r);
    if (r->test_items)
        printf("(each tested on the whole test set: %llu item%s, each once)\n",
               (unsigned long long)r->test_items, r->test_items == 1 ? "" : "s");
    else
        printf("(each tested on the same %d batch%s)\n", r->test_batches,
               r->test_batches == 1 ? "" : "es");
    puts("(calibrated: with fake quantisation, before retraining)");
    if (*r->remark)
        printf("\n%s\n", r->remark);
}

static void print_layers(const qf_qat_result *r)
{
    table table = {.optional = 1u << 1};
    table_row(&table, 7, "layer", "type", "scale_d", "offset_d", "shift N", "weights dB",
              "input dB");
    for (int i = 0; i < r->rows; i++) {
        const qf_qat_row *row = r->row[i];
        const char *shift = row->shift_max == 0 ? "-"
                            : row->shift_min == row->shift_max
                                ? cell("%d", row->shift_min)
                                : cell("%d-%d", row->shift_min, row->shift_max);
        table_row(&table, 7, row->name, row->type, cell("%.6g", (double)row->scale_d),
                  cell("%d", row->offset_d), shift, noise(row->weight_sqnr),
                  noise(row->activation_sqnr));
    }
    table_print(&table);
    table_release(&table);
}

/* ---- before training ---- */

enum { PLAN_ROWS = 24 }; /* longer plans are summed up on the screen */

static bool is_alike(const qf_plan_row *a, const qf_plan_row *b)
{
    return strcmp(a->type, b->type) == 0 && strcmp(a->treatment, b->treatment) == 0;
}

/* Layers of one type and treatment, with the reason of the first. */
static void print_short_plan(const qf_plan *plan)
{
    table table = {.left = ALL_COLUMNS};
    table_row(&table, 4, "layers", "type", "treatment", "how, or why (the first of them)");
    for (size_t i = 0; i < plan->rows; i++) {
        int alike = 0;
        bool seen = false;
        for (size_t k = 0; k < plan->rows; k++) {
            alike += is_alike(plan->row[k], plan->row[i]);
            seen |= k < i && is_alike(plan->row[k], plan->row[i]);
        }
        if (!seen)
            table_row(&table, 4, cell("%d", alike), plan->row[i]->type, plan->row[i]->treatment,
                      plan->row[i]->detail);
    }
    table_print(&table);
    table_release(&table);
    putchar('\n');
}

/* The work begins: the log, and the plan in it and on the screen. */
static void show_plan(void *user, const qf_plan *plan)
{
    session *session = user;
    for (size_t i = 0; i < plan->rows; i++)
        say(session, "Plan: %s (%s) %s: %s", plan->row[i]->layer, plan->row[i]->type,
            plan->row[i]->treatment, plan->row[i]->detail);
    session_begin_log(session);
    if (plan->rows > PLAN_ROWS)
        print_short_plan(plan);
    else
        print_plan(plan);
    fflush(stdout); /* the rest, until the result, comes on another stream */
    fprintf(stderr, "Log: %s\n\n", session->run_log.path);
}

/* ---- after it ---- */

static void print_next(const char *prefix)
{
    const char *joint = joint_of(prefix);
    printf("For the device:  %s%sdeploy_model.prototxt\n"
           "                 %s%sdeploy_weights.caffemodel\n"
           "The same in float arithmetic, on int8 values:\n"
           "                 %s%sfake_quant_model.prototxt\n"
           "                 %s%sfake_quant_weights.caffemodel\n"
           "Next:            qaffe verify --model %s --iterations 100\n",
           prefix, joint, prefix, joint, prefix, joint, prefix, joint, prefix);
}

static void print_result(const qf_qat_result *result, const char *prefix)
{
    print_layers(result);
    puts("(dB: signal to quantisation noise; input: over one test batch)\n");
    print_models(result);
    putchar('\n');
    print_verification(result->verification);
    putchar('\n');
    print_next(prefix);
}

static void read_options(const arguments *a, qf_qat_options *o)
{
    *o = (qf_qat_options){.size = sizeof *o};
    qf_qat_set_defaults(o);
    o->model = argument_text(a, "model");
    o->weights = argument_text(a, "weights");
    o->train_data = argument_text(a, "train-data");
    o->test_data = argument_text(a, "test-data");
    o->config_definition = argument_text(a, "config-definition");
    o->save_path = argument_text(a, "out");
    o->iterations = argument_integer(a, "iterations");
    o->batch_size = argument_integer(a, "batch-size");
    o->test_iterations = argument_integer(a, "test-iterations");
    o->base_lr = argument_number(a, "base-lr");
    o->scale = argument_number(a, "scale");
    o->mean_values = argument_text(a, "mean-value");
    o->mean_file = argument_text(a, "mean-file");
    o->batch_norm = chosen_batch_norm(a);
    o->freeze_batch_norm_after = argument_integer(a, "freeze-bn-after");
    o->on_divergence = chosen_divergence(a);
    o->show_plan = show_plan;
    o->calibrated_record = argument_text(a, "from-ptq");
}

static int run(const arguments *a)
{
    session session;
    qf_qat_options wanted;
    qf_qat_result *result = NULL;
    char log[4096];
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    read_options(a, &wanted);
    snprintf(log, sizeof log, "%s%srun.log", wanted.save_path, joint_of(wanted.save_path));
    session_keep_log(&session, log);
    signals_install("stop", "snapshot");
    qf_status status = qf_context_open_amct_log(session.context);
    if (status == QF_OK)
        status = qf_qat_run(session.context, &wanted, requested_action, show_progress, &session,
                            &result);
    const bool logged = session.run_log.begun;
    int code = session_close(&session, status);
    if (status == QF_OK)
        print_result(result, wanted.save_path);
    else if (logged)
        fprintf(stderr, "(the log is in %s)\n", log);
    qf_qat_result_destroy(result);
    return code;
}

const command command_qat_run = {
    .name = "qat run",
    .summary = "Quantise a trained net: configure, prepare, train, export, test.",
    .details =
        "Takes a float Caffe net with its weights and gives the fake-quant and deploy models, "
        "trained to live with int8. Everything that AMCT's steps write is kept beside them, so "
        "each step can be repeated by hand with `qaffe qat config`, `prepare`, `qaffe train`, "
        "`qaffe qat export`.\n\n"
        "The screen shows the plan, the progress and the result; the whole log, in the form of "
        "Caffe's, goes to PREFIX_run.log (--log-level info shows it, too; --verbose also says "
        "which kernels were chosen). All models are tested on the same batches: the whole "
        "test set, each image once, whether or not the batch divides it.",
    .example =
        "qaffe qat run --model lenet_train_test.prototxt --weights lenet_iter_10000.caffemodel \\\n"
        "    --iterations 1000 --out results/lenet",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
