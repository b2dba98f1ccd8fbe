/* qaffe sensitivity: what each layer costs when it alone is quantised, or alone stays float. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/quant_options.h"
#include "cli/report_files.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <math.h>
#include <string.h>

static const option options[] = {
    REPORT_MODELS,
    DATA_OPTION("What the nets run on:"),
    FILE_OPTION("test-data", "SOURCE",
                "Labelled images in place of --data, for a model with Input; without labels, the "
                "net's outputs are compared."),
    DATA_DETAILS,
    INTEGER_OPTION("batches", "N", "10", 1, 1e6, "Batches of each trial."),
    MAX_LOSS_OPTION(
        "What the net may lose: layers are named to be skipped until it should lose no more. "
        "Percentage points of an accuracy, per cent of anything else."),
    FLAG("alone-only", "Do not try each layer float in the quantised net: half of the time."),
    FILE_OPTION("skip-layers-out", "FILE",
                "Write the layers to be skipped: a simplified configuration, for "
                "--config-definition; JSON if the name ends in .json."),
    UNTIL_OPTION,
};

static const char *points(double loss)
{
    return isnan(loss) ? "-" : cell("%+.3f", fabs(loss) < 5e-4 ? 0.0 : loss);
}

static const char *bar(double loss, double most)
{
    enum { WIDTH = 20 };
    char text[WIDTH + 1];
    const int full = most > 0 && loss > 0 ? (int)lround(WIDTH * loss / most) : 0;
    memset(text, '.', WIDTH);
    memset(text, '#', (size_t)(full < WIDTH ? full : WIDTH));
    text[WIDTH] = '\0';
    return cell("%s", text);
}

static void show(const qf_sensitivity_result *r, const arguments *a)
{
    const double most = r->layers ? r->layer[0]->alone_loss : 0;
    const char *unit =
        r->better > 0 && strcmp(r->score_name, "noise of outputs") != 0 ? "points" : "%";
    table table = {.left = 1u << 1 | 1u << 3 | 1u << 5, .optional = 1u << 1};
    table_row(&table, 6, "layer", "type", "quantised alone", "loss", "float alone", "");
    for (size_t i = 0; i < r->layers; i++) {
        const qf_sensitive_layer *layer = r->layer[i];
        table_row(&table, 6, layer->name, layer->type, points(layer->alone_loss),
                  bar(layer->alone_loss, most), points(layer->float_gain),
                  layer->skip ? "skip" : "");
    }
    table_print(&table);
    table_release(&table);
    printf("(%s: what %s loses when only this layer is quantised, and what the quantised net gains "
           "when only this layer stays float; over %d batch%s)\n\n%s: float %.4f, quantised %.4f\n",
           unit, r->score_name, r->batches, r->batches == 1 ? "" : "es", r->score_name,
           r->float_score, r->quantised_score);
    if (!r->skipped) {
        printf("No layer has to be skipped: the net loses %.3f %s, at most %g may be lost.\n",
               r->quantised_loss, unit, argument_number(a, "max-loss"));
        return;
    }
    printf("To skip: --skip-layers ");
    for (size_t i = 0, shown = 0; i < r->layers; i++)
        if (r->layer[i]->skip)
            printf("%s%s", shown++ ? "," : "", r->layer[i]->name);
    putchar('\n');
}

qf_status find_sensitivity(session *session, const arguments *a, const qf_data_options *data,
                           qf_sensitivity_result **out)
{
    qf_sensitivity_options wanted = {.size = sizeof wanted};
    qf_sensitivity_set_defaults(&wanted);
    wanted.model = argument_text(a, "model");
    wanted.weights = argument_text(a, "weights");
    wanted.retrained = argument_text(a, "retrained");
    wanted.prefix = argument_text(a, "prefix");
    wanted.data = data;
    wanted.test_data = argument_text(a, "test-data");
    wanted.batches = argument_integer(a, "batches");
    if (option_find(a->command, "max-loss", &(size_t){0})) {
        wanted.max_loss = argument_number(a, "max-loss");
        wanted.alone_only = argument_flag(a, "alone-only");
    }
    return qf_measure_sensitivity(session->context, &wanted, requested_action, show_progress,
                                  session, out);
}

static qf_status measure(session *session, const arguments *a)
{
    const qf_data_options data = chosen_data(a);
    const char *file = argument_text(a, "skip-layers-out");
    qf_sensitivity_result *result;
    signals_install("stop", "none");
    qf_status status = find_sensitivity(session, a, &data, &result);
    if (status == QF_OK && file)
        status = qf_sensitivity_write_skip_layers(session->context, result, file);
    if (status == QF_OK)
        show(result, a);
    qf_sensitivity_result_destroy(result);
    return status;
}

static int run(const arguments *a)
{
    return session_run(a, QF_WARNING, measure);
}

const command command_sensitivity = {
    .name = "sensitivity",
    .summary = "Say what each layer of a quantised net costs, and which to leave float.",
    .details =
        "Runs the whole net with only one layer quantised, for each layer in turn, and with only "
        "one layer float; judges by the accuracy, else the loss, else the noise of the outputs. "
        "What lies before a layer is not computed again, but the time grows with the square of "
        "the number of layers: --batches says how much of it to spend.",
    .example = "qaffe sensitivity --model train_val.prototxt --weights m.caffemodel \\\n"
               "    --prefix ptq_results/model --batches 10 --skip-layers-out skip.cfg\n"
               "qaffe ptq run --model train_val.prototxt --weights m.caffemodel \\\n"
               "    --config-definition skip.cfg",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
