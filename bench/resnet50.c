/* ResNet-50 (He et al., 2015) as Caffe's users train it, as a prototxt: BatchNorm and Scale in
 * place behind each convolution, weights from a filler, data from DummyData. */
#include "bench.h"

static void convolution(qf_buffer *net, const char *name, const char *from, int outputs, int kernel,
                        int stride)
{
    qf_buffer_print(
        net,
        "layer { name: '%s' type: 'Convolution' bottom: '%s' top: '%s' convolution_param { "
        "num_output: %d "
        "kernel_size: %d stride: %d pad: %d bias_term: false weight_filler { type: 'msra' } } }\n"
        "layer { name: '%s_bn' type: 'BatchNorm' bottom: '%s' top: '%s' }\n"
        "layer { name: '%s_scale' type: 'Scale' bottom: '%s' top: '%s' scale_param { bias_term: "
        "true } }\n",
        name, from, name, outputs, kernel, stride, kernel / 2, name, name, name, name, name, name);
}

static void rectify(qf_buffer *net, const char *name)
{
    qf_buffer_print(net, "layer { name: '%s_relu' type: 'ReLU' bottom: '%s' top: '%s' }\n", name,
                    name, name);
}

/* 1x1, 3x3, 1x1 with a shortcut, which has a convolution of its own in a stage's first block. */
static void block(qf_buffer *net, const char *from, const char *name, int width, int stride,
                  bool first)
{
    char a[48], b[48], c[48], shortcut[48];
    snprintf(a, sizeof a, "%s_2a", name);
    snprintf(b, sizeof b, "%s_2b", name);
    snprintf(c, sizeof c, "%s_2c", name);
    snprintf(shortcut, sizeof shortcut, first ? "%s_1" : "%s", first ? name : from);
    if (first)
        convolution(net, shortcut, from, 4 * width, 1, stride);
    convolution(net, a, from, width, 1, stride);
    rectify(net, a);
    convolution(net, b, a, width, 3, 1);
    rectify(net, b);
    convolution(net, c, b, 4 * width, 1, 1);
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Eltwise' bottom: '%s' bottom: '%s' top: '%s' }\n",
                    name, shortcut, c, name);
    rectify(net, name);
}

void resnet50(qf_buffer *net, int batch)
{
    static const int blocks[] = {3, 4, 6, 3};
    char from[32] = "pool1", name[32];
    qf_buffer_print(
        net,
        "name: 'ResNet-50'\n"
        "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {\n"
        "  shape { dim: %d dim: 3 dim: 224 dim: 224 } shape { dim: %d }\n"
        "  data_filler { type: 'uniform' min: -1 max: 1 } data_filler { type: 'constant' value: 1 } } }\n",
        batch, batch);
    convolution(net, "conv1", "data", 64, 7, 2);
    rectify(net, "conv1");
    qf_buffer_print(net, "layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1' "
                         "pooling_param { pool: MAX kernel_size: 3 stride: 2 } }\n");
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < blocks[stage]; i++) {
            snprintf(name, sizeof name, "res%d%c", stage + 2, 'a' + i);
            block(net, from, name, 64 << stage, stage > 0 && i == 0 ? 2 : 1, i == 0);
            snprintf(from, sizeof from, "%s", name);
        }
    qf_buffer_print(net,
                    "layer { name: 'pool5' type: 'Pooling' bottom: '%s' top: 'pool5' "
                    "pooling_param { pool: AVE global_pooling: true } }\n"
                    "layer { name: 'fc1000' type: 'InnerProduct' bottom: 'pool5' top: 'fc1000' "
                    "inner_product_param { "
                    "num_output: 1000 weight_filler { type: 'xavier' } } }\n"
                    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'fc1000' bottom: 'label' "
                    "top: 'loss' }\n",
                    from);
}
