/* Numeric gradients: for each layer, central differences of Σ r · top, r fixed, against what
 * backward gives for every bottom and parameter. Values keep away from kinks and from each other by
 * more than the step. docs/layers.md says how many cases a type has, and is checked here. */
#include "harness/gradients.h"
#include "layers/gradient_rows.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double step = 0x1p-7;          /* a float moved by it and by half of it is exact */
static const double usual_tolerance = 3e-4; /* of the blob's largest gradient */

static const gradient_row *const tables[] = {gradient_rows_caffe, gradient_rows_forks};
enum { TABLES = sizeof tables / sizeof *tables };

static qf_context *context;

/* ---- the net: an Input, for layers in place a copy of it, then the layer ---- */

static int count_bottoms(const gradient_row *c)
{
    int count = 0;
    while (count < GRADIENT_BOTTOMS_MAX && c->bottoms[count])
        count++;
    return count;
}

static void print_input(qf_buffer *out, const gradient_row *c)
{
    qf_buffer_print(out, "layer { name: 'in' type: 'Input'");
    for (int b = 0; b < count_bottoms(c); b++)
        qf_buffer_print(out, " top: 'x%d'", b);
    qf_buffer_print(out, " input_param {");
    for (int b = 0; b < count_bottoms(c); b++) {
        int used = 0, dim;
        qf_buffer_print(out, " shape {");
        for (const char *at = c->bottoms[b]; sscanf(at, "%d%n", &dim, &used) == 1; at += used)
            qf_buffer_print(out, " dim: %d", dim);
        qf_buffer_print(out, " }");
    }
    qf_buffer_print(out, " } }\n");
    if (c->options & IN_PLACE)
        qf_buffer_print(out, "layer { name: 'copy' type: 'Power' bottom: 'x0' top: 'y0' }\n");
}

static qf_net *build(const gradient_row *c)
{
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    qf_buffer text = {0};
    qf_net *net;
    qf_buffer_print(&text, "force_backward: true\n");
    if (count_bottoms(c))
        print_input(&text, c);
    qf_buffer_print(&text, "layer { name: 'it' type: '%s' %s", c->type, c->param ? c->param : "");
    for (int b = 0; b < count_bottoms(c); b++)
        qf_buffer_print(&text, " bottom: '%c%d'", b == 0 && c->options & IN_PLACE ? 'y' : 'x', b);
    for (int t = 0; t < (c->tops ? c->tops : 1); t++)
        qf_buffer_print(&text, " top: 'y%d'", t);
    qf_buffer_print(&text, " }\n");
    assert_ok(context, qf_file_write(context, path, qf_buffer_text(&text), text.size, 0640));
    assert_ok(context, qf_net_create(context, path, c->options & TEST_PHASE ? QF_TEST : QF_TRAIN, 0,
                                     NULL, 0, &net));
    test_remove_directory(folder);
    qf_buffer_release(&text);
    qf_free(path);
    qf_free(folder);
    return net;
}

static qf_layer *layer_of(const qf_net *net)
{
    return net->layers[net->layer_count - 1];
}

/* ---- values ---- */

static float *values(qf_blob *blob)
{
    float *data;
    assert_ok(context, qf_blob_mutable_data(blob, &data));
    return data;
}

/* Distinct values 0.04 apart, none nearer to zero than 0.02, in an order of their own for each
 * blob `b` of a layer; then all shifted. */
static void spread(qf_blob *blob, int b, float shift)
{
    static const size_t primes[] = {7, 11, 13, 17, 19, 23, 29};
    float *data = values(blob);
    const size_t n = qf_blob_count(blob);
    size_t stride = primes[b];
    while (n % stride == 0 && n > 0)
        stride = primes[++b % 7];
    for (size_t i = 0; i < n; i++)
        data[i] = shift + 0.04f * ((float)(i * stride % n) - (float)n / 2 + (n % 2 ? 0 : 0.5f));
}

/* Bottoms of one layer get other values each: bottom b is shifted by less than the distance. */
static void fill_bottom(qf_blob *blob, int b, const char *kind)
{
    const float half_range = 0.02f * (float)qf_blob_count(blob);
    const int streams = qf_blob_shape(blob)->axes > 1 ? qf_blob_shape(blob)->dim[1] : 1;
    float above;
    int below;
    if (strchr(kind, '=')) {
        int used;
        kind = strchr(kind, '=') + 1;
        for (size_t i = 0; i < qf_blob_count(blob); i++, kind += used)
            assert_int_equal(sscanf(kind, "%f%n", values(blob) + i, &used), 1);
        return;
    }
    if (sscanf(kind, "%*[0-9 ]> %f", &above) == 1)
        spread(blob, b, above + half_range + 0.04f);
    else
        spread(blob, b, 0.013f * (float)b);
    for (size_t i = 0; i < qf_blob_count(blob); i++) {
        if (sscanf(kind, "%*[0-9 ]< %d", &below) == 1)
            values(blob)[i] = (float)(i % (size_t)below);
        else if (strstr(kind, "cont"))
            values(blob)[i] = i >= (size_t)streams && i % 5 != 0;
    }
}

static bool has_gradient(const char *kind)
{
    return !strpbrk(kind, "<=") && !strstr(kind, "fixed") && !strstr(kind, "cont");
}

/* BatchNorm's parameters are statistics: no gradient, and a variance is positive. */
static bool is_learned(const qf_layer *layer)
{
    return strcmp(layer->type->name, "BatchNorm") != 0;
}

static void fill_params(const qf_layer *layer)
{
    for (int i = 0; i < layer->param_count; i++) {
        spread(layer->params[i].blob, i, is_learned(layer) || i == 0 ? 0 : 1);
        if (!is_learned(layer) && i == 2)
            values(layer->params[i].blob)[0] = 1;
    }
}

/* ---- the check ---- */

/* The fixed factor of element i of top t. A loss has its weight, 1; the states that a recurrent
 * layer exposes pass no gradient on. */
static double factor(const qf_layer *layer, int t, size_t i)
{
    if (strstr(layer->type->name, "Loss"))
        return 1;
    if (t > 0 && (strcmp(layer->type->name, "LSTM") == 0 || strcmp(layer->type->name, "RNN") == 0))
        return 0;
    return 0.2 + (double)((i * 37 + (size_t)t * 11) % 19) / 19;
}

static void forward(qf_net *net)
{
    qf_random_seed(&context->random, 3); /* what a layer draws is the same each time */
    assert_ok(context, qf_net_forward(net, NULL));
}

static size_t count_top_values(const qf_layer *layer)
{
    size_t count = 0;
    for (int t = 0; t < layer->top_count; t++)
        count += qf_blob_count(layer->top[t]);
    return count;
}

typedef struct variable {
    qf_net *net;
    qf_blob *blob;
    size_t element;
} variable;

/* The terms of Σ r · top where one element has another value. */
static void evaluate(void *user, float at, double *terms)
{
    const variable *v = user;
    const qf_layer *layer = layer_of(v->net);
    values(v->blob)[v->element] = at;
    forward(v->net);
    for (int t = 0; t < layer->top_count; t++) {
        const float *top;
        assert_ok(context, qf_blob_data(layer->top[t], &top));
        for (size_t i = 0; i < qf_blob_count(layer->top[t]); i++)
            *terms++ = factor(layer, t, i) * (double)top[i];
    }
}

static const char *why_zero(const gradient_row *c, const char *blob)
{
    for (int i = 0; i < GRADIENT_ZEROS_MAX && c->zero[i].blob; i++)
        if (strcmp(c->zero[i].blob, blob) == 0)
            return c->zero[i].why;
    return NULL;
}

/* `name`: "x0" for a bottom, "p0" for a parameter. */
static void check_blob(const gradient_row *c, qf_net *net, qf_blob *blob, const char *name,
                       qf_buffer *why)
{
    const size_t n = qf_blob_count(blob), terms = count_top_values(layer_of(net));
    double *slopes = qf_alloc(n, sizeof *slopes), resolution = 0;
    float *found = qf_alloc(n, sizeof *found);
    const float *diff;
    assert_ok(context, qf_blob_diff(blob, &diff));
    memcpy(found, diff, n * sizeof *found);
    for (size_t i = 0; i < n; i++) {
        variable v = {net, blob, i};
        const float kept = values(blob)[i];
        const test_slope slope = test_slope_of(evaluate, &v, terms, kept, step);
        values(blob)[i] = kept;
        slopes[i] = slope.value;
        resolution = fmax(resolution, slope.resolution);
    }
    (void)test_gradient_agrees(
        &(test_gradient){.name = name,
                         .count = n,
                         .expected = slopes,
                         .of_largest = c->tolerance > 0 ? c->tolerance : usual_tolerance,
                         .absolute = resolution,
                         .zero = why_zero(c, name)},
        found, why);
    qf_free(slopes);
    qf_free(found);
}

static void run_backward(qf_net *net)
{
    const qf_layer *layer = layer_of(net);
    forward(net);
    qf_net_clear_param_diffs(net);
    for (int t = 0; t < layer->top_count; t++) {
        float *diff;
        assert_ok(context, qf_blob_mutable_diff(layer->top[t], &diff));
        for (size_t i = 0; i < qf_blob_count(layer->top[t]); i++)
            diff[i] = (float)factor(layer, t, i);
    }
    assert_ok(context, qf_net_backward(net));
}

static void check(const gradient_row *c, qf_buffer *why)
{
    qf_net *net = build(c);
    const qf_layer *layer = layer_of(net);
    char name[16];
    for (int b = 0; b < count_bottoms(c); b++)
        fill_bottom(net->layers[0]->top[b], b, c->bottoms[b]);
    fill_params(layer);
    run_backward(net);
    for (int b = 0; b < count_bottoms(c); b++) {
        snprintf(name, sizeof name, "x%d", b);
        if (has_gradient(c->bottoms[b]))
            check_blob(c, net, net->layers[0]->top[b], name, why);
    }
    for (int i = 0; is_learned(layer) && !(c->options & OWN_RULE) && i < layer->param_count; i++) {
        snprintf(name, sizeof name, "p%d", i);
        check_blob(c, net, layer->params[i].blob, name, why);
    }
    qf_net_destroy(net);
}

static void every_layer(void **state)
{
    qf_buffer all = {0};
    (void)state;
    for (int t = 0; t < TABLES; t++)
        for (const gradient_row *row = tables[t]; row->type; row++) {
            qf_buffer why = {0};
            check(row, &why);
            if (why.size)
                qf_buffer_print(&all, "%s (%s):\n%s", row->type, row->param ? row->param : "",
                                qf_buffer_text(&why));
            qf_buffer_release(&why);
        }
    if (all.size)
        fail_msg("gradients against differences:\n%s", qf_buffer_text(&all));
    qf_buffer_release(&all);
}

/* ---- the table in the documentation ---- */

static int count_cases(const char *type)
{
    int count = 0;
    for (int t = 0; t < TABLES; t++)
        for (const gradient_row *row = tables[t]; row->type; row++)
            count += strcmp(row->type, type) == 0;
    return count;
}

static void documentation_counts_the_cases(void **state)
{
    (void)state;
    for (const qf_layer_type *const *type = qf_layer_types; *type; type++) {
        test_documented row;
        const int count = count_cases((*type)->name);
        if (!test_find_documented((*type)->name, &row)) {
            if (count)
                fail_msg("docs/layers.md has no row for %s", (*type)->name);
            continue;
        }
        if (row.gradient != count)
            fail_msg("docs/layers.md: %s has %d cases here, the table says %d", (*type)->name,
                     count, row.gradient);
        if (!count && !row.has_remark)
            fail_msg("docs/layers.md: %s has no gradient check, and the table gives no reason",
                     (*type)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer),
        cmocka_unit_test(documentation_counts_the_cases),
    };
    context = test_context();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qf_context_destroy(context);
    return failed;
}
