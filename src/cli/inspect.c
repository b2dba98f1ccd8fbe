/* qaffe inspect: a model as a table, as JSON, or as a graph for Graphviz. */
#include "cli/check_files.h"
#include "cli/commands.h"
#include "cli/net_options.h"
#include "cli/table.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const option options[] = {
    FILE_OPTION("model", "FILE", "The net (.prototxt); needed without --check."),
    FILE_OPTION("weights", "FILE",
                "Its weights (.caffemodel, .caffemodel.h5), to see that they fit."),
    TEXT_OPTION(
        "shape", "NAME=SIZES",
        "The shape of a blob that the net begins with, as data=1x3x224x224, in place of the "
        "model's; several are separated by commas. A data layer that makes the blob is not "
        "opened, so its source need not be there."),
    CHOICE("phase", NULL, "TRAIN|TEST", "TEST", "The phase to build the net for."),
    NET_STATE_OPTIONS,
    UNTIL_OPTION,
    FLAG("check",
         "Look at all numbers of the files that are named beside the options: weights, solvers' "
         "states (.h5, too), records, means; and at the checksum of any file that has one. What "
         "is not in order is named, and the exit code is 1."),
    FLAG("json", "Print JSON instead of a table."),
    FLAG("dot", "Print a graph for Graphviz (dot) instead of a table."),
};

/* Sums over layers. */
typedef struct totals {
    uint64_t parameters, multiply_adds, activation_bytes;
    uint64_t quantised_parameters, quantised_multiply_adds;
    int quantised, computing; /* layers; computing: with multiply-adds */
} totals;

static bool is_quantised(const qf_inspected_layer *layer)
{
    return strcmp(layer->treatment, "quantised") == 0;
}

static totals sum_up(const qf_inspection *net)
{
    totals sum = {0};
    for (size_t i = 0; i < net->layers; i++) {
        const qf_inspected_layer *layer = net->layer[i];
        sum.parameters += layer->parameters;
        sum.multiply_adds += layer->multiply_adds;
        sum.activation_bytes += layer->activation_bytes;
        sum.computing += layer->multiply_adds > 0;
        if (is_quantised(layer)) {
            sum.quantised++;
            sum.quantised_parameters += layer->parameters;
            sum.quantised_multiply_adds += layer->multiply_adds;
        }
    }
    return sum;
}

static const char *bytes(uint64_t count)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)count;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < COUNT(units))
        value /= 1024, unit++;
    return count ? cell(unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]) : "";
}

static const char *treatment(const qf_inspected_layer *layer)
{
    return layer->activation_bits                    ? layer->detail
           : is_quantised(layer)                     ? "int8"
           : !*layer->treatment                      ? ""
           : strcmp(layer->treatment, "folded") == 0 ? cell("folded %s", layer->detail)
                                                     : cell("float: %s", layer->detail);
}

static bool print_table(const qf_inspection *net)
{
    table table = {.left = 1u << 1 | 1u << 2 | 1u << 6, .optional = 1u << 1 | 1u << 5};
    table_row(&table, 7, "layer", "type", "output", "parameters", "multiply-adds", "memory",
              "quantised");
    for (size_t i = 0; i < net->layers; i++) {
        const qf_inspected_layer *layer = net->layer[i];
        table_row(&table, 7, layer->name, layer->type, layer->shape, grouped(layer->parameters),
                  grouped(layer->multiply_adds), bytes(layer->activation_bytes), treatment(layer));
    }
    table_print(&table);
    table_release(&table);
    const totals sum = sum_up(net);
    printf("\nParameters     %s: %s as float", sum.parameters ? grouped(sum.parameters) : "0",
           sum.parameters ? bytes(4 * sum.parameters) : "nothing");
    if (sum.quantised_parameters)
        printf(", %s with what can be in int8",
               bytes(4 * (sum.parameters - sum.quantised_parameters) + sum.quantised_parameters));
    printf("\nMultiply-adds  %s in a forward pass",
           sum.multiply_adds ? grouped(sum.multiply_adds) : "0");
    if (sum.multiply_adds)
        printf(", %.1f %% of them in int8",
               100 * (double)sum.quantised_multiply_adds / (double)sum.multiply_adds);
    printf("\nActivations    %s for one batch\n",
           sum.activation_bytes ? bytes(sum.activation_bytes) : "0 B");
    return true; /* table_print() says what it lacks */
}

static json_t *layer_json(const qf_inspected_layer *layer)
{
    return json_pack("{ss ss ss sI sI sI ss ss si si}", "name", layer->name, "type", layer->type,
                     "output", layer->shape, "parameters", (json_int_t)layer->parameters,
                     "multiply_adds", (json_int_t)layer->multiply_adds, "activation_bytes",
                     (json_int_t)layer->activation_bytes, "treatment", layer->treatment, "detail",
                     layer->detail, "weight_bits", layer->weight_bits, "activation_bits",
                     layer->activation_bits);
}

static bool print_json(const qf_inspection *net)
{
    const totals sum = sum_up(net);
    bool whole = true; /* adding what there was no memory for fails */
    json_t *layers = json_array(), *edges = json_array();
    for (size_t i = 0; i < net->layers; i++)
        whole = json_array_append_new(layers, layer_json(net->layer[i])) == 0 && whole;
    for (size_t i = 0; i < net->edges; i++) {
        const qf_inspected_edge *edge = net->edge[i];
        json_t *described =
            json_pack("{ss ss ss ss}", "from", net->layer[edge->from]->name, "to",
                      net->layer[edge->to]->name, "blob", edge->blob, "shape", edge->shape);
        whole = json_array_append_new(edges, described) == 0 && whole;
    }
    json_t *all = json_pack("{ss so so s{sI sI sI sI sI}}", "name", net->name, "layers", layers,
                            "edges", edges, "totals", "parameters", (json_int_t)sum.parameters,
                            "multiply_adds", (json_int_t)sum.multiply_adds, "activation_bytes",
                            (json_int_t)sum.activation_bytes, "quantised_parameters",
                            (json_int_t)sum.quantised_parameters, "quantised_multiply_adds",
                            (json_int_t)sum.quantised_multiply_adds);
    char *text = whole ? json_dumps(all, JSON_INDENT(2)) : NULL;
    if (text)
        puts(text);
    free(text);
    json_decref(all);
    return text;
}

/* A string for dot: quotes and backslashes escaped. */
static void put_quoted(const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
}

static const char *colour(const qf_inspected_layer *layer)
{
    return is_quantised(layer)                       ? "#cfe8cf"
           : !*layer->treatment                      ? "#ffffff"
           : strcmp(layer->treatment, "folded") == 0 ? "#f3ecc8"
                                                     : "#e4e4e4";
}

static void put_node(size_t index, const qf_inspected_layer *layer)
{
    printf("  n%zu [fillcolor=\"%s\" label=\"", index, colour(layer));
    put_quoted(layer->name);
    fputs("\\n", stdout);
    put_quoted(layer->type);
    if (layer->multiply_adds)
        printf("\\n%s multiply-adds", grouped(layer->multiply_adds));
    if (layer->parameters)
        printf("\\n%s parameters", grouped(layer->parameters));
    fputs("\" tooltip=\"", stdout);
    put_quoted(layer->detail);
    puts("\"];");
}

static bool print_dot(const qf_inspection *net)
{
    fputs("digraph \"", stdout);
    put_quoted(net->name);
    puts("\" {\n"
         "  // green: int8; yellow: folded into the layer before; grey: stays float\n"
         "  node [shape=box style=\"rounded,filled\" fontname=\"Helvetica\" fontsize=11];\n"
         "  edge [fontname=\"Helvetica\" fontsize=9];");
    for (size_t i = 0; i < net->layers; i++)
        put_node(i, net->layer[i]);
    for (size_t i = 0; i < net->edges; i++) {
        printf("  n%d -> n%d [label=\"", net->edge[i]->from, net->edge[i]->to);
        put_quoted(net->edge[i]->shape);
        puts("\"];");
    }
    puts("}");
    return true;
}

static qf_status inspect(session *session, const arguments *arguments)
{
    qf_inspection *net;
    stages stages;
    bool train = same_word(argument_text(arguments, "phase"), "TRAIN");
    if (!stages_split(argument_text(arguments, "stage"), &stages))
        return QF_E_MEMORY;
    qf_status status = qf_inspect(
        session->context, argument_text(arguments, "model"), argument_text(arguments, "weights"),
        argument_text(arguments, "shape"), train ? QF_TRAIN : QF_TEST,
        argument_integer(arguments, "level"), stages.names, stages.count, &net);
    stages_release(&stages);
    if (status == QF_OK && !(argument_flag(arguments, "json")  ? print_json
                             : argument_flag(arguments, "dot") ? print_dot
                                                               : print_table)(net)) {
        qf_context_fail(session->context, "no memory to show the net");
        status = QF_E_MEMORY;
    }
    qf_inspection_destroy(net);
    return status;
}

static int run(const arguments *arguments)
{
    if (argument_flag(arguments, "json") && argument_flag(arguments, "dot"))
        return usage_error(arguments->command, "--json and --dot exclude each other");
    if (argument_flag(arguments, "check"))
        return check_files(arguments);
    if (arguments->word_count)
        return usage_error(arguments->command,
                           "\"%s\" is not an option; every value follows its --name, and files to "
                           "check need --check",
                           arguments->words[0]);
    if (!argument_given(arguments, "model"))
        return usage_error(arguments->command, "--model FILE is missing");
    return session_run(arguments, QF_WARNING, inspect);
}

const command command_inspect = {
    .name = "inspect",
    .summary = "Show a model: layers, shapes, cost, and which layers quantise.",
    .details = "Memory is that of a layer's outputs, for the batch size of the model. A layer that "
               "stays float says why; --json gives all details.",
    .example = "qaffe inspect --model deploy.prototxt --weights lenet.caffemodel\n"
               "qaffe inspect --model train_val.prototxt --shape data=1x3x224x224\n"
               "qaffe inspect --model deploy.prototxt --dot | dot -Tsvg > net.svg\n"
               "qaffe inspect --check snapshots/*.caffemodel snapshots/*.solverstate",
    OPTIONS(options),
    .words = "[FILE...]",
    .most_words = INT_MAX,
    .computes = true,
    .run = run,
};
