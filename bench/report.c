/* Tables on stdout and the same as JSON. */
#include "bench.h"

#include <jansson.h>
#include <string.h>

static double per_type(const bench *b, const qf_net *net, const char *type)
{
    double sum = 0;
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->type->name, type) == 0)
            sum += bare_sum(&b->bare[BARE_TRAINING], net->layers[l]->name);
    return sum;
}

static bool seen_before(const bench *b, int contender, int layer)
{
    const char *type = b->contenders[contender].net->layers[layer]->type->name;
    for (int c = 0; c <= contender; c++) {
        const qf_net *net = b->contenders[c].net;
        for (int l = 0; net && l < (c == contender ? layer : net->layer_count); l++)
            if (strcmp(net->layers[l]->type->name, type) == 0)
                return true;
    }
    return false;
}

/* A row for each type of layer, a column for each contender. */
static void print_types(const bench *b)
{
    printf("%-16s", "layers of type");
    for (int c = 0; c < CONTENDERS; c++)
        if (b->contenders[c].net)
            printf(" %15s", contender_types[c].name);
    printf(" %10s\n", b->bare[BARE_TRAINING].count ? "bare" : "");
    for (int c = 0; c < CONTENDERS; c++) {
        const qf_net *net = b->contenders[c].net;
        for (int l = 0; net && l < net->layer_count; l++) {
            const char *type = net->layers[l]->type->name;
            if (seen_before(b, c, l))
                continue;
            printf("%-16s", type);
            for (int i = 0; i < CONTENDERS; i++)
                if (b->contenders[i].net)
                    printf(" %15.2f", 1e3 * contender_type_sum(&b->contenders[i], type));
            if (b->bare[BARE_TRAINING].count)
                printf(" %10.2f", 1e3 * per_type(b, net, type));
            putchar('\n');
        }
    }
    putchar('\n');
}

static void ratio(const bench *b, const char *name, double value, double of)
{
    if (!(value > 0 && value < 1e29 && of > 0 && of < 1e29))
        return;
    printf("%-34s %8.3f\n", name, value / of);
    json_object_set_new(json_object_get(b->json, "ratios"), name, json_real(value / of));
}

static double bare_of(const bench *b, bare_kind kind)
{
    return b->bare[kind].count ? bare_sum(&b->bare[kind], NULL) : 0;
}

void report_steps(const bench *b)
{
    static const char *const bare_names[] = {"bare kernels, training", "bare kernels, inference",
                                             "bare kernels, int8 inference"};
    const contender *c = b->contenders;
    printf("%s, batch %d, %d threads; ms, best of %d rounds\n\n", b->model->title, b->batch,
           b->threads, b->rounds);
    printf("%-30s %10s %15s %12s %12s\n", "", "ms", "without update", "images/s", "peak MiB");
    for (int kind = 0; kind < 3; kind++)
        if (b->bare[kind].count) {
            printf("%-30s %10.2f\n", bare_names[kind], 1e3 * bare_of(b, (bare_kind)kind));
            json_object_set_new(json_object_get(b->json, "ms"), bare_names[kind],
                                json_real(1e3 * bare_of(b, (bare_kind)kind)));
        }
    for (int i = 0; i < CONTENDERS; i++) {
        if (!c[i].net)
            continue;
        printf("%-30s %10.2f %15.2f %12.1f", contender_types[i].title, 1e3 * c[i].best,
               1e3 * c[i].best_without_update, b->batch / c[i].best);
        if (b->peak_mib[i] > 0)
            printf(" %12.0f", b->peak_mib[i]);
        putchar('\n');
        json_object_set_new(json_object_get(b->json, "ms"), contender_types[i].name,
                            json_real(1e3 * c[i].best));
        json_object_set_new(json_object_get(b->json, "ms_without_update"), contender_types[i].name,
                            json_real(1e3 * c[i].best_without_update));
        json_object_set_new(json_object_get(b->json, "peak_mib"), contender_types[i].name,
                            json_real(b->peak_mib[i]));
    }
    putchar('\n');
    print_types(b);
    ratio(b, "float step / bare", c[FLOAT_STEP].best, bare_of(b, BARE_TRAINING));
    ratio(b, "float step without update / bare", c[FLOAT_STEP].best_without_update,
          bare_of(b, BARE_TRAINING));
    ratio(b, "QAT step / float step", c[QAT_STEP].best, c[FLOAT_STEP].best);
    ratio(b, "QAT bf16 step / float step", c[QAT_BF16_STEP].best, c[FLOAT_STEP].best);
    ratio(b, "QAT step with a teacher / QAT step", c[DISTIL_STEP].best, c[QAT_STEP].best);
    ratio(b, "ranges by LSQ / QAT step", c[LSQ_STEP].best, c[QAT_STEP].best);
    ratio(b, "ranges by LSQ+ / QAT step", c[LSQ_PLUS_STEP].best, c[QAT_STEP].best);
    ratio(b, "ranges by PACT / QAT step", c[PACT_STEP].best, c[QAT_STEP].best);
    ratio(b, "ranges by TQT / QAT step", c[TQT_STEP].best, c[QAT_STEP].best);
    ratio(b, "float inference / bare", c[FLOAT_INFERENCE].best, bare_of(b, BARE_FLOAT_INFERENCE));
    ratio(b, "int8 inference / bare int8", c[INT8_INFERENCE].best, bare_of(b, BARE_INT8_INFERENCE));
    ratio(b, "int8 / float inference", c[INT8_INFERENCE].best, c[FLOAT_INFERENCE].best);
    ratio(b, "peak memory QAT / float", b->peak_mib[QAT_STEP], b->peak_mib[FLOAT_STEP]);
    ratio(b, "peak memory with a teacher / QAT", b->peak_mib[DISTIL_STEP], b->peak_mib[QAT_STEP]);
    putchar('\n');
}

/* A line for each layer of each contender. */
void report_layers(const bench *b)
{
    for (int i = 0; i < CONTENDERS; i++) {
        const contender *c = &b->contenders[i];
        if (!c->net)
            continue;
        printf("%-26s %-16s %9s %9s %9s\n", contender_types[i].title, "type", "forward", "backward",
               i == FLOAT_STEP ? "bare" : "");
        for (int l = 0; l < c->net->layer_count; l++) {
            const qf_layer *layer = c->net->layers[l];
            printf("%-26s %-16s %9.3f %9.3f", layer->name, layer->type->name, 1e3 * c->forward[l],
                   1e3 * c->backward[l]);
            if (i == FLOAT_STEP && b->bare[BARE_TRAINING].count)
                printf(" %9.3f", 1e3 * bare_sum(&b->bare[BARE_TRAINING], layer->name));
            putchar('\n');
        }
        putchar('\n');
    }
}
