/* qaffe decompose: AMCT's auto_decomposition, and what it saves. */
#include "cli/commands.h"
#include "cli/qat.h"
#include "cli/session.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <string.h>

static const option options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("out-model", "FILE", "The net with decomposed layers (.prototxt)."),
    REQUIRED_FILE("out-weights", "FILE", "Its weights (.caffemodel)."),
    TEXT_OPTION("shape", "NAME=SIZES",
                "The shape of a blob that the net begins with, as data=1x3x224x224, to count "
                "multiply-adds of a net whose data is not there."),
};

/* Multiply-adds of the layers that have one of the names; all layers: NULL. */
static uint64_t multiply_adds(const qf_inspection *net, const char *const *names, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; net && i < net->layers; i++) {
        bool meant = !names;
        for (size_t k = 0; k < count && !meant; k++)
            meant = strcmp(net->layer[i]->name, names[k]) == 0;
        sum += meant ? net->layer[i]->multiply_adds : 0;
    }
    return sum;
}

static const char *shape(const int *kernel)
{
    return cell("%dx%dx%dx%d", kernel[0], kernel[1], kernel[2], kernel[3]);
}

static void print_layer(table *table, const qf_decomposed_layer *row, const qf_inspection *before,
                        const qf_inspection *after)
{
    char first[160], last[160];
    const char *one[] = {row->name}, *two[] = {first, last};
    snprintf(first, sizeof first, "%s_0", row->name);
    snprintf(last, sizeof last, "%s_1", row->name);
    table_start_row(table, row->name);
    table_add(table, shape(row->kernel));
    table_add(table, cell("%s + %s", shape(row->first), shape(row->last)));
    table_add(table, cell("%d", row->rank));
    table_add(table, cell("%.2f %%", 100 * row->error));
    table_add(table, grouped(multiply_adds(before, one, 1)));
    table_add(table, grouped(multiply_adds(after, two, 2)));
}

static void print(const qf_decomposition *found, const qf_inspection *before,
                  const qf_inspection *after)
{
    const uint64_t whole = multiply_adds(before, NULL, 0), less = multiply_adds(after, NULL, 0);
    table table = {.left = 1u << 1 | 1u << 2, .optional = 1u << 1};
    if (!found->layers) {
        puts("No tensor meets decomposition conditions.");
        return;
    }
    table_row(&table, 7, "layer", "kernel", "becomes", "rank", "lost", "multiply-adds", "then");
    for (size_t i = 0; i < found->layers; i++)
        print_layer(&table, found->layer[i], before, after);
    table_print(&table);
    table_release(&table);
    puts("(kernels: outputs x inputs x height x width; lost: of the norm of the weights)");
    if (whole && after)
        printf("\nMultiply-adds of the net: %s, then %s (%.1f %%)\n", grouped(whole), grouped(less),
               100 * (double)less / (double)whole);
    else
        puts("\nMultiply-adds are not counted, since the net's data is not there; give its shape, "
             "for example --shape data=1x3x224x224");
    puts("Next: fine-tune the new net (qaffe train), then quantise it.");
}

/* Nothing where the net cannot be built, as without its data. */
static qf_status inspect(qf_context *context, const arguments *a, const char *model,
                         qf_inspection **net)
{
    const qf_status status = qf_inspect(context, argument_text(a, model), NULL,
                                        argument_text(a, "shape"), QF_TEST, 0, NULL, 0, net);
    if (status == QF_OK || status == QF_E_MEMORY)
        return status;
    qf_inspection_destroy(*net);
    *net = NULL;
    return QF_OK;
}

static qf_status decompose(session *session, const arguments *a)
{
    qf_decomposition *found = NULL;
    qf_inspection *before = NULL, *after = NULL;
    qf_status status = qf_context_open_amct_log(session->context);
    if (status == QF_OK)
        status = qf_auto_decomposition(session->context, argument_text(a, "model"),
                                       argument_text(a, "weights"), argument_text(a, "out-model"),
                                       argument_text(a, "out-weights"), requested_action,
                                       show_progress, session, &found);
    if (status == QF_OK)
        status = inspect(session->context, a, "model", &before);
    if (status == QF_OK)
        status = inspect(session->context, a, "out-model", &after);
    if (status == QF_OK)
        print(found, before, after);
    qf_inspection_destroy(before);
    qf_inspection_destroy(after);
    qf_decomposition_destroy(found);
    return status;
}

static int run(const arguments *a)
{
    signals_install("stop", "stop");
    return session_run(a, QF_WARNING, decompose);
}

const command command_decompose = {
    .name = "decompose",
    .summary = "Make two thin convolutions of each large one.",
    .details =
        "AMCT's auto_decomposition: a kernel of height and width becomes one of height and one of "
        "width, with as many channels between them as its singular values ask for. That saves "
        "half to two thirds of the arithmetic of such layers and loses accuracy, which "
        "fine-tuning brings back; quantise afterwards.\n\n"
        "Convolutions with groups or dilation, with kernels below 3 x 3, a stride above 2, or, "
        "below 7 x 7, fewer than 64 channels on either side, stay as they are. Large layers take "
        "their time: a second for 256 channels, a quarter of a minute for 512.",
    .example = "qaffe decompose --model resnet50.prototxt --weights resnet50.caffemodel \\\n"
               "    --out-model resnet50_thin.prototxt --out-weights resnet50_thin.caffemodel",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
