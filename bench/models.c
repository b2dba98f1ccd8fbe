/* The nets of the benchmark as Caffe's users train them, as prototxts: BatchNorm and Scale in place
 * behind convolutions without bias, weights from fillers, data from DummyData (training) or Input
 * (deployment). */
#include "bench.h"

#include <string.h>

typedef struct window {
    int kernel, stride, pad, group;
} window;

static void convolution(qf_buffer *net, const char *name, const char *from, int outputs, window w,
                        bool bias)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Convolution' bottom: '%s' top: '%s'\n"
                    "  convolution_param { num_output: %d kernel_size: %d stride: %d pad: %d "
                    "group: %d bias_term: %s weight_filler { type: 'msra' } } }\n",
                    name, from, name, outputs, w.kernel, w.stride, w.pad, w.group ? w.group : 1,
                    bias ? "true" : "false");
}

static void rectify(qf_buffer *net, const char *name)
{
    qf_buffer_print(net, "layer { name: '%s_relu' type: 'ReLU' bottom: '%s' top: '%s' }\n", name,
                    name, name);
}

static void normalised(qf_buffer *net, const char *name, const char *from, int outputs, window w)
{
    convolution(net, name, from, outputs, w, false);
    qf_buffer_print(net,
                    "layer { name: '%s_bn' type: 'BatchNorm' bottom: '%s' top: '%s' }\n"
                    "layer { name: '%s_scale' type: 'Scale' bottom: '%s' top: '%s' "
                    "scale_param { bias_term: true } }\n",
                    name, name, name, name, name, name);
}

static void max_pool(qf_buffer *net, const char *name, const char *from, int kernel)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Pooling' bottom: '%s' top: '%s' "
                    "pooling_param { pool: MAX kernel_size: %d stride: 2 } }\n",
                    name, from, name, kernel);
}

static void global_average(qf_buffer *net, const char *name, const char *from)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Pooling' bottom: '%s' top: '%s' "
                    "pooling_param { pool: AVE global_pooling: true } }\n",
                    name, from, name);
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

/* ---- ResNet (He et al., 2015) ---- */

/* 1x1, 3x3, 1x1 with a shortcut, which has a convolution of its own in a stage's first block. */
static void bottleneck(qf_buffer *net, const char *from, const char *name, int width, int stride,
                       bool first)
{
    char a[48], b[48], c[48], shortcut[48];
    snprintf(a, sizeof a, "%s_2a", name);
    snprintf(b, sizeof b, "%s_2b", name);
    snprintf(c, sizeof c, "%s_2c", name);
    snprintf(shortcut, sizeof shortcut, first ? "%s_1" : "%s", first ? name : from);
    if (first)
        normalised(net, shortcut, from, 4 * width, (window){1, stride, 0, 1});
    normalised(net, a, from, width, (window){1, stride, 0, 1});
    rectify(net, a);
    normalised(net, b, a, width, (window){3, 1, 1, 1});
    rectify(net, b);
    normalised(net, c, b, 4 * width, (window){1, 1, 0, 1});
    add(net, name, shortcut, c);
}

static void resnet50(qf_buffer *net, char *last)
{
    static const int blocks[] = {3, 4, 6, 3};
    char name[32];
    normalised(net, "conv1", "data", 64, (window){7, 2, 3, 1});
    rectify(net, "conv1");
    max_pool(net, "pool1", "conv1", 3);
    strcpy(last, "pool1");
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < blocks[stage]; i++) {
            snprintf(name, sizeof name, "res%d%c", stage + 2, 'a' + i);
            bottleneck(net, last, name, 64 << stage, stage > 0 && i == 0 ? 2 : 1, i == 0);
            strcpy(last, name);
        }
    global_average(net, "pool5", last);
    inner_product(net, "fc1000", "pool5", 1000);
    strcpy(last, "fc1000");
}

/* For CIFAR: two 3x3 with a shortcut, 1x1 where the shape changes. */
static void resnet20(qf_buffer *net, char *last)
{
    char name[32], a[48], b[48], shortcut[48];
    normalised(net, "conv1", "data", 16, (window){3, 1, 1, 1});
    rectify(net, "conv1");
    strcpy(last, "conv1");
    for (int stage = 0; stage < 3; stage++)
        for (int i = 0; i < 3; i++) {
            const int width = 16 << stage, stride = stage > 0 && i == 0 ? 2 : 1;
            snprintf(name, sizeof name, "res%d%c", stage + 2, 'a' + i);
            snprintf(a, sizeof a, "%s_2a", name);
            snprintf(b, sizeof b, "%s_2b", name);
            snprintf(shortcut, sizeof shortcut, stride == 2 ? "%s_1" : "%s",
                     stride == 2 ? name : last);
            if (stride == 2)
                normalised(net, shortcut, last, width, (window){1, stride, 0, 1});
            normalised(net, a, last, width, (window){3, stride, 1, 1});
            rectify(net, a);
            normalised(net, b, a, width, (window){3, 1, 1, 1});
            add(net, name, shortcut, b);
            strcpy(last, name);
        }
    global_average(net, "pool", last);
    inner_product(net, "fc10", "pool", 10);
    strcpy(last, "fc10");
}

/* ---- MobileNet v1 (Howard et al., 2017): depthwise 3x3, then 1x1 ---- */

static void mobilenet(qf_buffer *net, char *last)
{
    static const struct {
        int outputs, stride;
    } blocks[] = {{64, 1},  {128, 2}, {128, 1}, {256, 2}, {256, 1},  {512, 2}, {512, 1},
                  {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}};
    char depthwise[32];
    int channels = 32;
    normalised(net, "conv1", "data", channels, (window){3, 2, 1, 1});
    rectify(net, "conv1");
    strcpy(last, "conv1");
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        snprintf(depthwise, sizeof depthwise, "conv%zu_dw", i + 2);
        normalised(net, depthwise, last, channels, (window){3, blocks[i].stride, 1, channels});
        rectify(net, depthwise);
        snprintf(last, 32, "conv%zu_pw", i + 2);
        channels = blocks[i].outputs;
        normalised(net, last, depthwise, channels, (window){1, 1, 0, 1});
        rectify(net, last);
    }
    global_average(net, "pool", last);
    inner_product(net, "fc1000", "pool", 1000);
    strcpy(last, "fc1000");
}

/* ---- SqueezeNet v1.1 (Iandola et al., 2016) ---- */

static void fire(qf_buffer *net, const char *from, const char *name, int squeeze, int expand)
{
    char s[48], a[48], b[48];
    snprintf(s, sizeof s, "%s/squeeze1x1", name);
    snprintf(a, sizeof a, "%s/expand1x1", name);
    snprintf(b, sizeof b, "%s/expand3x3", name);
    convolution(net, s, from, squeeze, (window){1, 1, 0, 1}, true);
    rectify(net, s);
    convolution(net, a, s, expand, (window){1, 1, 0, 1}, true);
    rectify(net, a);
    convolution(net, b, s, expand, (window){3, 1, 1, 1}, true);
    rectify(net, b);
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Concat' bottom: '%s' bottom: '%s' top: '%s' }\n",
                    name, a, b, name);
}

static void squeezenet(qf_buffer *net, char *last)
{
    static const struct {
        int squeeze, expand;
        const char *pool; /* behind it, or NULL */
    } modules[] = {{16, 64, NULL},  {16, 64, "pool3"}, {32, 128, NULL}, {32, 128, "pool5"},
                   {48, 192, NULL}, {48, 192, NULL},   {64, 256, NULL}, {64, 256, NULL}};
    convolution(net, "conv1", "data", 64, (window){3, 2, 0, 1}, true);
    rectify(net, "conv1");
    max_pool(net, "pool1", "conv1", 3);
    strcpy(last, "pool1");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        char name[32];
        snprintf(name, sizeof name, "fire%zu", i + 2);
        fire(net, last, name, modules[i].squeeze, modules[i].expand);
        strcpy(last, name);
        if (modules[i].pool) {
            max_pool(net, modules[i].pool, name, 3);
            strcpy(last, modules[i].pool);
        }
    }
    qf_buffer_print(net,
                    "layer { name: 'drop9' type: 'Dropout' bottom: '%s' top: '%s' "
                    "dropout_param { dropout_ratio: 0.5 } }\n",
                    last, last);
    convolution(net, "conv10", last, 1000, (window){1, 1, 0, 1}, true);
    rectify(net, "conv10");
    global_average(net, "pool10", "conv10");
    strcpy(last, "pool10");
}

/* ---- LeNet, as in Caffe's examples ---- */

static void lenet(qf_buffer *net, char *last)
{
    convolution(net, "conv1", "data", 20, (window){5, 1, 0, 1}, true);
    max_pool(net, "pool1", "conv1", 2);
    convolution(net, "conv2", "pool1", 50, (window){5, 1, 0, 1}, true);
    max_pool(net, "pool2", "conv2", 2);
    inner_product(net, "ip1", "pool2", 500);
    rectify(net, "ip1");
    inner_product(net, "ip2", "ip1", 10);
    strcpy(last, "ip2");
}

const bench_model bench_models[] = {
    {"resnet50", "ResNet-50", 8, 3, 224, resnet50},
    {"mobilenet", "MobileNet v1", 8, 3, 224, mobilenet},
    {"squeezenet", "SqueezeNet v1.1", 16, 3, 227, squeezenet},
    {"resnet20", "ResNet-20 (CIFAR)", 128, 3, 32, resnet20},
    {"lenet", "LeNet", 64, 1, 28, lenet},
    {0},
};

const bench_model *model_find(const char *name)
{
    for (const bench_model *m = bench_models; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return m;
    return NULL;
}

void model_print(const bench_model *model, bool deploy, int batch, qf_buffer *net)
{
    char last[32];
    qf_buffer_print(net, "name: '%s'\n", model->title);
    if (deploy)
        qf_buffer_print(net,
                        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: "
                        "%d dim: %d dim: %d dim: %d } } }\n",
                        batch, model->channels, model->size, model->size);
    else
        qf_buffer_print(net,
                        "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' "
                        "dummy_data_param {\n"
                        "  shape { dim: %d dim: %d dim: %d dim: %d } shape { dim: %d }\n"
                        "  data_filler { type: 'uniform' min: -1 max: 1 } "
                        "data_filler { type: 'constant' value: 1 } } }\n",
                        batch, model->channels, model->size, model->size, batch);
    model->layers(net, last);
    if (deploy)
        qf_buffer_print(net, "layer { name: 'prob' type: 'Softmax' bottom: '%s' top: 'prob' }\n",
                        last);
    else
        qf_buffer_print(net,
                        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: '%s' "
                        "bottom: 'label' top: 'loss' }\n",
                        last);
}
