/* qaffe qat bits: bits of weights and activations by layer, chosen by what they cost. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const option options[] = {
    MODEL_OPTION("The float net (.prototxt), as for `qaffe qat run`."),
    WEIGHTS_OPTION,
    FILE_OPTION("train-data", "SOURCE",
                "Images whose first batch sets the ranges of activations: an LMDB or LevelDB, a "
                "folder whose folders are the labels, or a list; without it, the model's."),
    FILE_OPTION("test-data", "SOURCE",
                "Labelled images to judge by, as for --train-data; without it, the model's."),
    TEXT_OPTION("budget", "LIMITS",
                "What the net may lose against float before it is retrained (0.5: percentage "
                "points of an accuracy, per cent of anything else), what all weights may take "
                "(600K, 2M, or 60%: of what they take with 8 bits), or both: 0.5,60%. The smallest "
                "choice within it is taken, of a size alone the one that loses least."),
    {.name = "max-loss",
     .kind = OPTION_NUMBER,
     .value = "POINTS",
     .standard = "1",
     .lowest = 0,
     .highest = 1e6,
     .help = "The same by itself: what may be lost. With --max-size alone it may be anything."},
    {.name = "max-size",
     .kind = OPTION_NUMBER,
     .value = "KIB",
     .standard = "0",
     .lowest = 0,
     .highest = 1e12,
     .help = "The same by itself: what all weights may take; 0: as little as --max-loss allows."},
    CHOICE("activation-bits", "N", "auto|4|6|8|16", "auto",
           "Bits of the layers' inputs. auto: where a loss is allowed, chosen by layer when the "
           "weights' are, from what they leave of it; else 8. A number: of all but the first and "
           "the last layer's, which have 8."),
    INTEGER_OPTION("batches", "N", "10", 0, 1e6,
                   "Batches of each trial; 0 means the whole test set."),
    INTEGER_OPTION("batch-size", "N", "0", 0, 1e6, "Of a net with Input; 0 means 32."),
    FILE_OPTION("out", "FILE",
                "The choice: a simplified configuration (.cfg), for --config-definition of `qaffe "
                "qat run` and `qat config`."),
    FILE_OPTION("json", "FILE", "All that was measured, as JSON."),
    FILE_OPTION("plot", "FILE.svg", "Size against loss, as a picture."),
    SCALE_OPTION,
    MEAN_FILE_OPTION,
    MEAN_VALUE_OPTION,
    AP_VERSION_OPTION,
};

static qf_qat_options net_of(const arguments *a)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_set_defaults(&o);
    o.model = argument_text(a, "model");
    o.weights = argument_text(a, "weights");
    o.train_data = argument_text(a, "train-data");
    o.test_data = argument_text(a, "test-data");
    o.batch_size = argument_integer(a, "batch-size");
    o.scale = argument_number(a, "scale");
    o.mean_values = argument_text(a, "mean-value");
    o.mean_file = argument_text(a, "mean-file");
    return o;
}

/* ---- what is shown ---- */

static const char *cost(double value)
{
    return isfinite(value) ? cell("%+.4f", fabs(value) < 5e-5 ? 0.0 : value) : "-";
}

static const char *costs(double six, double four)
{
    char text[64];
    snprintf(text, sizeof text, "%s", cost(six));
    return cell("%s  %7s", text, cost(four));
}

static void show_layers(const qf_bits_result *r)
{
    table table = {.left = 1u << 1, .optional = 1u << 1};
    table_row(&table, 8, "layer", "type", "weights", "cost of 6, 4", "bits", "input",
              "cost of 6, 4", "bits");
    for (size_t i = 0; i < r->layers; i++) {
        const qf_bits_layer *layer = r->layer[i];
        table_row(&table, 8, layer->name, layer->type, grouped(layer->weights),
                  costs(layer->cost6, layer->cost4), cell("%d", layer->bits),
                  grouped(layer->input_values),
                  isnan(layer->activation_cost4)
                      ? "-"
                      : costs(layer->activation_cost6, layer->activation_cost4),
                  cell("%d", layer->activation_bits));
    }
    table_print(&table);
    table_release(&table);
    puts("(weights, input: how many values; cost: what the loss, else the score, gets worse by "
         "when only this has so few bits)\n");
}

static const char *bar(double value, double least, double most)
{
    enum { WIDTH = 24 };
    char text[WIDTH + 1];
    const double part = most > least && isfinite(value) ? (value - least) / (most - least) : 0;
    const int full = (int)lround(WIDTH * part);
    memset(text, '.', WIDTH);
    memset(text, '#', (size_t)(full < 0 ? 0 : full < WIDTH ? full : WIDTH));
    text[WIDTH] = '\0';
    return cell("%s", text);
}

static const char *kib(uint64_t bytes)
{
    return cell("%.1f", (double)bytes / 1024);
}

static void show_limits(const qf_bits_result *r)
{
    const char *of = r->better > 0 ? "points" : "per cent";
    if (r->max_loss >= 0)
        printf("Limit: a loss of %g %s", r->max_loss, of);
    if (r->max_bytes)
        printf("%s %.1f KiB", r->max_loss >= 0 ? " and" : "Limit:", (double)r->max_bytes / 1024);
    puts(r->max_loss < 0 && !r->activation_bits
             ? ". Inputs keep 8 bits: fewer make no file smaller; --budget LOSS,SIZE chooses them, "
               "too."
             : ".");
}

static void show_rows(const qf_bits_result *r)
{
    double least = 0, most = 0;
    for (size_t i = 0; i < r->rows; i++) {
        least = fmin(least, r->row[i]->loss);
        most = fmax(most, r->row[i]->loss);
    }
    table table = {.left = 1u << 5 | 1u << 6 | 1u << 7};
    table_row(&table, 8, "KiB", "of 8 bits", "inputs", r->score_name, "loss", "", "step to", "");
    for (size_t i = 0; i < r->rows; i++) {
        const qf_bits_row *row = r->row[i];
        table_row(&table, 8, kib(row->bytes),
                  cell("%.1f%%", 100 * (double)row->bytes / (double)r->row[0]->bytes),
                  kib(row->input_bytes), cell("%.4f", row->score), cell("%+.3f", row->loss),
                  bar(row->loss, least, most), *row->change ? row->change : "8 everywhere",
                  row->chosen   ? "<- chosen"
                  : row->pareto ? "*"
                                : "");
    }
    table_print(&table);
    table_release(&table);
    printf("(KiB of weights, and of the quantised inputs of one image; *: no other is as small and "
           "loses less; float: %.4f, %.1f KiB of weights; before retraining%s)\n",
           r->float_score, (double)r->float_bytes / 1024,
           r->batches ? cell("; over %d batch%s", r->batches, r->batches == 1 ? "" : "es") : "");
    show_limits(r);
}

/* ---- the command ---- */

static qf_status write_files(session *session, const arguments *a, const qf_bits_result *found)
{
    static const char *const names[] = {"json", "plot", "out"};
    qf_status status = QF_OK;
    for (size_t i = 0; i < COUNT(names) && status == QF_OK; i++)
        if (argument_text(a, names[i]))
            status = qf_bits_write(session->context, found, argument_text(a, names[i]));
    return status;
}

static qf_status choose(session *session, const arguments *a)
{
    const qf_qat_options net = net_of(a);
    const double size = argument_number(a, "max-size") * 1024;
    qf_bits_options wanted = {.size = sizeof wanted};
    qf_bits_result *found;
    qf_bits_set_defaults(&wanted);
    wanted.net = &net;
    wanted.batches = argument_integer(a, "batches");
    wanted.budget = argument_text(a, "budget");
    wanted.activation_bits = atoi(argument_text(a, "activation-bits")); /* auto: 0 */
    wanted.max_bytes = (uint64_t)size;
    wanted.max_loss =
        size > 0 && !argument_given(a, "max-loss") ? -1 : argument_number(a, "max-loss");
    signals_install("stop", "none");
    qf_status status =
        qf_choose_bits(session->context, &wanted, requested_action, show_progress, session, &found);
    if (found) {
        show_layers(found);
        show_rows(found);
        if (status == QF_OK)
            status = write_files(session, a, found);
    }
    if (status == QF_OK && argument_text(a, "out"))
        printf("\nNext: qaffe qat run --model %s --weights %s --config-definition %s\n", net.model,
               net.weights, argument_text(a, "out"));
    qf_bits_result_destroy(found);
    return status;
}

static int run(const arguments *a)
{
    if (argument_given(a, "budget") &&
        (argument_given(a, "max-loss") || argument_given(a, "max-size")))
        return usage_error(a->command, "--budget says what --max-loss and --max-size would; give "
                                       "it or them");
    return session_run(a, QF_WARNING, choose);
}

const command command_qat_bits = {
    .name = "qat bits",
    .summary = "Choose the bits of each layer's weights and input: 8, 6 or 4, within a budget.",
    .details =
        "Tests the net with 6 and with 4 bits in one layer's weights at a time, then shares out "
        "bits step by step where a byte saved costs least, and tests the steps: the table is the "
        "trade-off of size and accuracy, of which the budget chooses a row. Then the same is done "
        "for what the layers read, with the weights that were chosen, as far as the budget's loss "
        "goes. All is measured before retraining, which wins back most of it. Twice as many trials "
        "as layers have to be run, and as many again, for weights and for inputs.",
    .example = "qaffe qat bits --model net.prototxt --weights net.caffemodel --budget 2 \\\n"
               "    --plot bits.svg --out bits.cfg\n"
               "qaffe qat run --model net.prototxt --weights net.caffemodel \\\n"
               "    --config-definition bits.cfg",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
