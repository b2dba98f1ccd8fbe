/* Numeric gradients: for each layer, central differences of Σ r · top, r fixed, against what
 * backward gives for every bottom and parameter. Values keep away from kinks and from each other by
 * more than the step. */
#include "harness/harness.h"
#include "nn/net.h"

#include <math.h>
#include <string.h>

static const double step = 1e-2;

/* `x`, `z`: shapes of the bottoms; z may be NULL, and "label" makes z a vector of classes. */
static const struct layer_case {
    const char *type, *x, *z, *rest;
    int tops;
} cases[] = {
    {"Convolution", "dim:2 dim:4 dim:6 dim:5", NULL,
     "convolution_param { num_output:6 kernel_h:3 kernel_w:2 stride:2 pad:1 group:2 }", 1},
    {"Convolution", "dim:1 dim:2 dim:7 dim:7", NULL,
     "convolution_param { num_output:3 kernel_size:3 dilation:2 }", 1},
    {"DepthwiseConvolution", "dim:2 dim:3 dim:5 dim:5", NULL,
     "convolution_param { num_output:3 kernel_size:3 pad:1 group:3 }", 1},
    {"Deconvolution", "dim:2 dim:3 dim:3 dim:4", NULL,
     "convolution_param { num_output:2 kernel_size:3 stride:2 pad:1 }", 1},
    {"InnerProduct", "dim:3 dim:2 dim:2 dim:2", NULL, "inner_product_param { num_output:4 }", 1},
    {"InnerProduct", "dim:3 dim:5", NULL, "inner_product_param { num_output:4 transpose:true }", 1},
    {"Pooling", "dim:2 dim:2 dim:5 dim:5", NULL,
     "pooling_param { pool:MAX kernel_size:3 stride:2 }", 1},
    {"Pooling", "dim:2 dim:2 dim:5 dim:5", NULL,
     "pooling_param { pool:AVE kernel_size:3 stride:2 pad:1 }", 1},
    {"Pooling", "dim:2 dim:3 dim:4 dim:4", NULL, "pooling_param { pool:AVE global_pooling:true }",
     1},
    {"ReLU", "dim:2 dim:3 dim:4", NULL, "relu_param { negative_slope:0.1 }", 1},
    {"PReLU", "dim:2 dim:3 dim:4 dim:2", NULL, "", 1},
    {"Sigmoid", "dim:2 dim:3 dim:4", NULL, "", 1},
    {"TanH", "dim:2 dim:3 dim:4", NULL, "", 1},
    {"ELU", "dim:2 dim:3 dim:4", NULL, "elu_param { alpha:0.7 }", 1},
    {"Power", "dim:2 dim:3 dim:4", NULL, "power_param { power:2 scale:0.5 shift:0.3 }", 1},
    {"BatchNorm", "dim:4 dim:3 dim:2 dim:3", NULL, "", 1},
    {"Scale", "dim:2 dim:3 dim:2 dim:3", NULL, "scale_param { bias_term:true }", 1},
    {"Scale", "dim:2 dim:3 dim:2", "dim:2 dim:3", "scale_param { axis:0 }", 1},
    {"Bias", "dim:2 dim:3 dim:2 dim:3", NULL, "", 1},
    {"Eltwise", "dim:2 dim:3 dim:4", "dim:2 dim:3 dim:4",
     "eltwise_param { operation:SUM coeff:2 coeff:-1 }", 1},
    {"Eltwise", "dim:2 dim:3 dim:4", "dim:2 dim:3 dim:4", "eltwise_param { operation:PROD }", 1},
    {"Concat", "dim:2 dim:3 dim:2 dim:2", "dim:2 dim:1 dim:2 dim:2", "", 1},
    {"Slice", "dim:2 dim:5 dim:2 dim:2", NULL, "slice_param { slice_point:2 }", 2},
    {"LRN", "dim:2 dim:6 dim:2 dim:2", NULL, "lrn_param { local_size:3 alpha:0.5 }", 1},
    {"LRN", "dim:1 dim:2 dim:5 dim:5", NULL,
     "lrn_param { local_size:3 alpha:0.5 norm_region:WITHIN_CHANNEL }", 1},
    {"Flatten", "dim:2 dim:3 dim:2 dim:2", NULL, "", 1},
    {"Reshape", "dim:2 dim:6 dim:2", NULL, "reshape_param { shape { dim:0 dim:3 dim:-1 } }", 1},
    {"Softmax", "dim:3 dim:4 dim:2", NULL, "", 1},
    {"SoftmaxWithLoss", "dim:3 dim:4 dim:2", "label", "", 1},
    {"EuclideanLoss", "dim:3 dim:4", "dim:3 dim:4", "", 1},
};

static qf_context *context;

static qf_net *build(const struct layer_case *c)
{
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    const bool label = c->z && strcmp(c->z, "label") == 0;
    char *text = test_format("force_backward: true layer { name:'in' type:'Input' top:'x' %s "
                             "input_param { shape { %s } %s%s%s } }"
                             "layer { name:'it' type:'%s' bottom:'x' %s top:'y' %s %s }",
                             c->z ? "top:'z'" : "", c->x, c->z ? "shape { " : "",
                             label  ? "dim:3 dim:2"
                             : c->z ? c->z
                                    : "",
                             c->z ? " }" : "", c->type, c->z ? "bottom:'z'" : "",
                             c->tops == 2 ? "top:'y2'" : "", c->rest);
    qf_net *net;
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0640));
    assert_ok(context, qf_net_create(context, path, QF_TRAIN, 0, NULL, 0, &net));
    test_remove_directory(folder);
    qf_free(text);
    qf_free(path);
    qf_free(folder);
    return net;
}

static float *values(qf_blob *blob)
{
    float *data;
    assert_ok(context, qf_blob_mutable_data(blob, &data));
    return data;
}

/* Distinct values 0.03 apart, none nearer to zero than 0.015, in no order. */
static void spread(qf_blob *blob)
{
    float *data = values(blob);
    const size_t n = qf_blob_count(blob);
    size_t stride = 7;
    while (n % stride == 0 && stride > 1)
        stride += 4;
    for (size_t i = 0; i < n; i++)
        data[i] = 0.03f * ((float)(i * stride % n) - (float)n / 2 + (n % 2 ? 0.75f : 0.5f));
}

/* The fixed factor of element i of top t; a loss has its weight, 1. */
static double factor(const qf_layer *layer, int t, size_t i)
{
    if (strstr(layer->type->name, "Loss"))
        return 1;
    return 0.2 + (double)((i * 37 + (size_t)t * 11) % 19) / 19;
}

static double objective(qf_net *net)
{
    const qf_layer *layer = net->layers[1];
    double sum = 0;
    assert_ok(context, qf_net_forward_range(net, 1, 1, NULL));
    for (int t = 0; t < layer->top_count; t++) {
        const float *top;
        assert_ok(context, qf_blob_data(layer->top[t], &top));
        for (size_t i = 0; i < qf_blob_count(layer->top[t]); i++)
            sum += factor(layer, t, i) * (double)top[i];
    }
    return sum;
}

static void check_blob(const struct layer_case *c, qf_net *net, qf_blob *blob)
{
    const size_t n = qf_blob_count(blob);
    float *analytic = qf_alloc(n, sizeof *analytic);
    const float *diff;
    assert_ok(context, qf_blob_diff(blob, &diff));
    memcpy(analytic, diff, n * sizeof *analytic);
    for (size_t i = 0; i < n; i++) {
        const float kept = values(blob)[i];
        values(blob)[i] = kept + (float)step;
        const double above = objective(net);
        values(blob)[i] = kept - (float)step;
        const double below = objective(net);
        values(blob)[i] = kept;
        const double numeric = (above - below) / (2 * step), size = fmax(1, fabs(numeric));
        if (!(fabs(numeric - (double)analytic[i]) < 1e-2 * size))
            fail_msg("%s (%s): gradient of %s[%zu] is %g, differences give %g", c->type, c->rest,
                     blob->name, i, (double)analytic[i], numeric);
    }
    qf_free(analytic);
}

static void check(const struct layer_case *c)
{
    qf_net *net = build(c);
    const qf_layer *layer = net->layers[1];
    const bool label = c->z && strcmp(c->z, "label") == 0;
    spread(layer->bottom[0]);
    for (size_t i = 0; label && i < qf_blob_count(layer->bottom[1]); i++)
        values(layer->bottom[1])[i] = (float)(i % 4);
    if (c->z && !label)
        spread(layer->bottom[1]);
    const bool learned = strcmp(c->type, "BatchNorm") != 0; /* its blobs are statistics */
    for (int i = 0; learned && i < layer->param_count; i++)
        spread(layer->params[i].blob);
    objective(net);
    qf_net_clear_param_diffs(net);
    for (int t = 0; t < layer->top_count; t++) {
        float *diff;
        assert_ok(context, qf_blob_mutable_diff(layer->top[t], &diff));
        for (size_t i = 0; i < qf_blob_count(layer->top[t]); i++)
            diff[i] = (float)factor(layer, t, i);
    }
    assert_ok(context, qf_net_backward_range(net, 1, 1));
    check_blob(c, net, layer->bottom[0]);
    if (c->z && !label)
        check_blob(c, net, layer->bottom[1]);
    for (int i = 0; learned && i < layer->param_count; i++)
        check_blob(c, net, layer->params[i].blob);
    qf_net_destroy(net);
}

static void every_layer(void **state)
{
    (void)state;
    context = test_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_layer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
