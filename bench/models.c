/* The nets that the benchmarks train and run, as Caffe's users write them: BatchNorm and Scale in
 * place behind a convolution, weights from fillers, data from DummyData. */
#include "models.h"

#include <string.h>

static void data(qf_buffer *net, const char *title, int batch, int channels, int size)
{
    qf_buffer_print(net,
                    "name: '%s'\n"
                    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' "
                    "dummy_data_param {\n"
                    "  shape { dim: %d dim: %d dim: %d dim: %d } shape { dim: %d }\n"
                    "  data_filler { type: 'uniform' min: -1 max: 1 } "
                    "data_filler { type: 'constant' value: 1 } } }\n",
                    title, batch, channels, size, size, batch);
}

typedef struct convolution {
    int outputs, kernel, stride, pad, group;
    bool bias;
} convolution;

static void convolve(qf_buffer *net, const char *name, const char *from, convolution c)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Convolution' bottom: '%s' top: '%s' "
                    "convolution_param { num_output: %d kernel_size: %d stride: %d pad: %d%s",
                    name, from, name, c.outputs, c.kernel, c.stride, c.pad,
                    c.bias ? "" : " bias_term: false");
    if (c.group > 1)
        qf_buffer_print(net, " group: %d", c.group);
    qf_buffer_print(net, " weight_filler { type: 'msra' } } }\n");
}

static void normalize(qf_buffer *net, const char *name)
{
    qf_buffer_print(net,
                    "layer { name: '%s_bn' type: 'BatchNorm' bottom: '%s' top: '%s' }\n"
                    "layer { name: '%s_scale' type: 'Scale' bottom: '%s' top: '%s' "
                    "scale_param { bias_term: true } }\n",
                    name, name, name, name, name, name);
}

static void rectify(qf_buffer *net, const char *name)
{
    qf_buffer_print(net, "layer { name: '%s_relu' type: 'ReLU' bottom: '%s' top: '%s' }\n", name,
                    name, name);
}

/* Convolution without bias, BatchNorm, Scale; padded so that stride 1 keeps the size. */
static void normal_convolution(qf_buffer *net, const char *name, const char *from, int outputs,
                               int kernel, int stride, int group)
{
    convolve(net, name, from,
             (convolution){outputs, kernel, stride, kernel / 2, group, .bias = false});
    normalize(net, name);
}

static void pool(qf_buffer *net, const char *name, const char *from, const char *parameters)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Pooling' bottom: '%s' top: '%s' pooling_param { %s "
                    "} }\n",
                    name, from, name, parameters);
}

static void inner_product(qf_buffer *net, const char *name, const char *from, int outputs)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'InnerProduct' bottom: '%s' top: '%s' "
                    "inner_product_param { num_output: %d weight_filler { type: 'xavier' } } }\n",
                    name, from, name, outputs);
}

static void add(qf_buffer *net, const char *name, const char *a, const char *b)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Eltwise' bottom: '%s' bottom: '%s' top: '%s' }\n",
                    name, a, b, name);
    rectify(net, name);
}

static void loss(qf_buffer *net, const char *from)
{
    qf_buffer_print(net,
                    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: '%s' bottom: 'label' "
                    "top: 'loss' }\n",
                    from);
}

/* ResNet-50 (He et al., 2015): 1x1, 3x3, 1x1 with a shortcut, which has a convolution of its own
 * in a stage's first block. */
static void bottleneck(qf_buffer *net, const char *from, const char *name, int width, int stride,
                       bool first)
{
    char a[48], b[48], c[48], shortcut[48];
    snprintf(a, sizeof a, "%s_2a", name);
    snprintf(b, sizeof b, "%s_2b", name);
    snprintf(c, sizeof c, "%s_2c", name);
    snprintf(shortcut, sizeof shortcut, first ? "%s_1" : "%s", first ? name : from);
    if (first)
        normal_convolution(net, shortcut, from, 4 * width, 1, stride, 1);
    normal_convolution(net, a, from, width, 1, stride, 1);
    rectify(net, a);
    normal_convolution(net, b, a, width, 3, 1, 1);
    rectify(net, b);
    normal_convolution(net, c, b, 4 * width, 1, 1, 1);
    add(net, name, shortcut, c);
}

static void resnet50(qf_buffer *net, int batch)
{
    static const int blocks[] = {3, 4, 6, 3};
    char from[32] = "pool1", name[32];
    data(net, "ResNet-50", batch, 3, 224);
    normal_convolution(net, "conv1", "data", 64, 7, 2, 1);
    rectify(net, "conv1");
    pool(net, "pool1", "conv1", "pool: MAX kernel_size: 3 stride: 2");
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < blocks[stage]; i++) {
            snprintf(name, sizeof name, "res%d%c", stage + 2, 'a' + i);
            bottleneck(net, from, name, 64 << stage, stage > 0 && i == 0 ? 2 : 1, i == 0);
            snprintf(from, sizeof from, "%s", name);
        }
    pool(net, "pool5", from, "pool: AVE global_pooling: true");
    inner_product(net, "fc1000", "pool5", 1000);
    loss(net, "fc1000");
}

/* MobileNet v1 (Howard et al., 2017): a depthwise 3x3 and a 1x1 convolution, thirteen times. */
static void mobilenet(qf_buffer *net, int batch)
{
    static const struct {
        int outputs, stride;
    } pairs[] = {{64, 1},  {128, 2}, {128, 1}, {256, 2}, {256, 1},  {512, 2}, {512, 1},
                 {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}};
    char from[32] = "conv1", name[32];
    int channels = 32;
    data(net, "MobileNet", batch, 3, 224);
    normal_convolution(net, from, "data", channels, 3, 2, 1);
    rectify(net, from);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        snprintf(name, sizeof name, "conv%zu_dw", i + 2);
        normal_convolution(net, name, from, channels, 3, pairs[i].stride, channels);
        rectify(net, name);
        channels = pairs[i].outputs;
        snprintf(from, sizeof from, "conv%zu_sep", i + 2);
        normal_convolution(net, from, name, channels, 1, 1, 1);
        rectify(net, from);
    }
    pool(net, "pool", from, "pool: AVE global_pooling: true");
    inner_product(net, "fc1000", "pool", 1000);
    loss(net, "fc1000");
}

/* SqueezeNet v1.1 (Iandola et al., 2016): 1x1 squeezes, 1x1 and 3x3 beside each other expand. */
static void fire(qf_buffer *net, int index, const char *from, int squeeze, int expand)
{
    char squeezed[32], one[32], three[32];
    snprintf(squeezed, sizeof squeezed, "fire%d_squeeze", index);
    snprintf(one, sizeof one, "fire%d_expand1x1", index);
    snprintf(three, sizeof three, "fire%d_expand3x3", index);
    convolve(net, squeezed, from, (convolution){squeeze, 1, 1, 0, 1, .bias = true});
    rectify(net, squeezed);
    convolve(net, one, squeezed, (convolution){expand, 1, 1, 0, 1, .bias = true});
    rectify(net, one);
    convolve(net, three, squeezed, (convolution){expand, 3, 1, 1, 1, .bias = true});
    rectify(net, three);
    qf_buffer_print(net,
                    "layer { name: 'fire%d' type: 'Concat' bottom: '%s' bottom: '%s' top: 'fire%d' "
                    "}\n",
                    index, one, three, index);
}

static void squeezenet(qf_buffer *net, int batch)
{
    static const int squeeze[] = {16, 16, 32, 32, 48, 48, 64, 64};
    char from[32] = "pool1", pooled[32];
    data(net, "SqueezeNet v1.1", batch, 3, 227);
    convolve(net, "conv1", "data", (convolution){64, 3, 2, 0, 1, .bias = true});
    rectify(net, "conv1");
    pool(net, from, "conv1", "pool: MAX kernel_size: 3 stride: 2");
    for (int i = 0; i < 8; i++) {
        fire(net, i + 2, from, squeeze[i], 4 * squeeze[i]);
        snprintf(from, sizeof from, "fire%d", i + 2);
        if (i == 1 || i == 3) {
            snprintf(pooled, sizeof pooled, "pool%d", i + 2);
            pool(net, pooled, from, "pool: MAX kernel_size: 3 stride: 2");
            snprintf(from, sizeof from, "%s", pooled);
        }
    }
    qf_buffer_print(net, "layer { name: 'drop9' type: 'Dropout' bottom: 'fire9' top: 'fire9' }\n");
    convolve(net, "conv10", "fire9", (convolution){1000, 1, 1, 0, 1, .bias = true});
    rectify(net, "conv10");
    pool(net, "pool10", "conv10", "pool: AVE global_pooling: true");
    loss(net, "pool10");
}

/* ResNet-20 for CIFAR-10: two 3x3 and a shortcut, which is a 1x1 convolution where sizes change. */
static void resnet20(qf_buffer *net, int batch)
{
    char from[32] = "conv1", a[48], b[48], shortcut[48], name[32];
    data(net, "ResNet-20", batch, 3, 32);
    normal_convolution(net, from, "data", 16, 3, 1, 1);
    rectify(net, from);
    for (int stage = 0; stage < 3; stage++)
        for (int i = 0; i < 3; i++) {
            const bool changes = stage > 0 && i == 0;
            const int width = 16 << stage, stride = changes ? 2 : 1;
            snprintf(name, sizeof name, "res%d%c", stage + 1, 'a' + i);
            snprintf(a, sizeof a, "%s_a", name);
            snprintf(b, sizeof b, "%s_b", name);
            snprintf(shortcut, sizeof shortcut, changes ? "%s_1" : "%s", changes ? name : from);
            if (changes)
                normal_convolution(net, shortcut, from, width, 1, stride, 1);
            normal_convolution(net, a, from, width, 3, stride, 1);
            rectify(net, a);
            normal_convolution(net, b, a, width, 3, 1, 1);
            add(net, name, shortcut, b);
            snprintf(from, sizeof from, "%s", name);
        }
    pool(net, "pool", from, "pool: AVE global_pooling: true");
    inner_product(net, "fc10", "pool", 10);
    loss(net, "fc10");
}

/* LeNet as in Caffe's examples/mnist. */
static void lenet(qf_buffer *net, int batch)
{
    data(net, "LeNet", batch, 1, 28);
    convolve(net, "conv1", "data", (convolution){20, 5, 1, 0, 1, .bias = true});
    pool(net, "pool1", "conv1", "pool: MAX kernel_size: 2 stride: 2");
    convolve(net, "conv2", "pool1", (convolution){50, 5, 1, 0, 1, .bias = true});
    pool(net, "pool2", "conv2", "pool: MAX kernel_size: 2 stride: 2");
    inner_product(net, "ip1", "pool2", 500);
    rectify(net, "ip1");
    inner_product(net, "ip2", "ip1", 10);
    loss(net, "ip2");
}

const bench_model bench_models[] = {
    {"resnet50", "ResNet-50", 8, resnet50},
    {"mobilenet", "MobileNet v1", 8, mobilenet},
    {"squeezenet", "SqueezeNet v1.1", 16, squeezenet},
    {"resnet20", "ResNet-20 (CIFAR-10)", 128, resnet20},
    {"lenet", "LeNet", 64, lenet},
    {0},
};

const bench_model *bench_model_find(const char *name)
{
    for (const bench_model *model = bench_models; model->name; model++)
        if (strcmp(model->name, name) == 0)
            return model;
    return NULL;
}
