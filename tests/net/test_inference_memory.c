/* Activations at inference take little more memory than what must be there at one time: the largest
 * set of values that are written already and read later, from shapes and last uses alone. */
#include "harness/harness.h"
#include "net/net.h"

#include <string.h>
#include <unistd.h>

static void input(qf_buffer *net)
{
    qf_buffer_print(net, "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { "
                         "dim: 1 dim: 3 dim: 224 dim: 224 } } }\n");
}

static void convolution(qf_buffer *net, const char *name, const char *from, int outputs, int kernel,
                        int stride, int group, bool normalised, bool rectified)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Convolution' bottom: '%s' top: '%s' "
                    "convolution_param { num_output: %d kernel_size: %d stride: %d pad: %d "
                    "group: %d } }\n",
                    name, from, name, outputs, kernel, stride, kernel / 2, group);
    if (normalised)
        qf_buffer_print(net,
                        "layer { name: '%s_bn' type: 'BatchNorm' bottom: '%s' top: '%s' }\n"
                        "layer { name: '%s_scale' type: 'Scale' bottom: '%s' top: '%s' "
                        "scale_param { bias_term: true } }\n",
                        name, name, name, name, name, name);
    if (rectified)
        qf_buffer_print(net, "layer { name: '%s_relu' type: 'ReLU' bottom: '%s' top: '%s' }\n",
                        name, name, name);
}

static void pool(qf_buffer *net, const char *name, const char *from, const char *how)
{
    qf_buffer_print(net,
                    "layer { name: '%s' type: 'Pooling' bottom: '%s' top: '%s' pooling_param { %s "
                    "} }\n",
                    name, from, name, how);
}

#define MAX_POOL "pool: MAX kernel_size: 3 stride: 2"
#define GLOBAL "pool: AVE global_pooling: true"

static void resnet50(qf_buffer *net)
{
    static const int blocks[] = {3, 4, 6, 3};
    char from[32] = "pool1", name[32], a[40], b[40], c[40], side[40];
    convolution(net, "conv1", "data", 64, 7, 2, 1, true, true);
    pool(net, "pool1", "conv1", MAX_POOL);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < blocks[stage]; i++) {
            const int width = 64 << stage, stride = stage > 0 && i == 0 ? 2 : 1;
            snprintf(name, sizeof name, "res%d%c", stage + 2, 'a' + i);
            snprintf(a, sizeof a, "%s_2a", name);
            snprintf(b, sizeof b, "%s_2b", name);
            snprintf(c, sizeof c, "%s_2c", name);
            snprintf(side, sizeof side, i ? "%s" : "%s_1", i ? from : name);
            if (i == 0)
                convolution(net, side, from, 4 * width, 1, stride, 1, true, false);
            convolution(net, a, from, width, 1, stride, 1, true, true);
            convolution(net, b, a, width, 3, 1, 1, true, true);
            convolution(net, c, b, 4 * width, 1, 1, 1, true, false);
            qf_buffer_print(
                net,
                "layer { name: '%s' type: 'Eltwise' bottom: '%s' bottom: '%s' top: "
                "'%s' } layer { name: '%s_relu' type: 'ReLU' bottom: '%s' top: '%s' }\n",
                name, side, c, name, name, name, name);
            snprintf(from, sizeof from, "%s", name);
        }
    pool(net, "pool5", from, GLOBAL);
}

static void mobilenet(qf_buffer *net)
{
    static const int widths[] = {64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024};
    char from[32] = "conv1", dw[32], pw[32];
    int channels = 32;
    convolution(net, "conv1", "data", 32, 3, 2, 1, true, true);
    for (int i = 0; i < 13; i++) {
        const bool down = i == 1 || i == 3 || i == 5 || i == 11;
        snprintf(dw, sizeof dw, "dw%d", i);
        snprintf(pw, sizeof pw, "pw%d", i);
        convolution(net, dw, from, channels, 3, down ? 2 : 1, channels, true, true);
        convolution(net, pw, dw, widths[i], 1, 1, 1, true, true);
        channels = widths[i];
        snprintf(from, sizeof from, "%s", pw);
    }
    pool(net, "pool", from, GLOBAL);
}

static void squeezenet(qf_buffer *net)
{
    char from[32] = "pool0", s[32], e1[32], e3[32];
    convolution(net, "conv1", "data", 64, 3, 2, 1, false, true);
    pool(net, "pool0", "conv1", MAX_POOL);
    for (int i = 0; i < 8; i++) {
        const int width = 16 * (1 + i / 2);
        snprintf(s, sizeof s, "s%d", i);
        snprintf(e1, sizeof e1, "e1_%d", i);
        snprintf(e3, sizeof e3, "e3_%d", i);
        convolution(net, s, from, width, 1, 1, 1, false, true);
        convolution(net, e1, s, 4 * width, 1, 1, 1, false, true);
        convolution(net, e3, s, 4 * width, 3, 1, 1, false, true);
        qf_buffer_print(net,
                        "layer { name: 'fire%d' type: 'Concat' bottom: '%s' bottom: '%s' top: "
                        "'fire%d' }\n",
                        i, e1, e3, i);
        snprintf(from, sizeof from, "fire%d", i);
        if (i == 1 || i == 3) {
            snprintf(from, sizeof from, "pool%d", i);
            snprintf(s, sizeof s, "fire%d", i);
            pool(net, from, s, MAX_POOL);
        }
    }
    convolution(net, "conv10", from, 1000, 1, 1, 1, false, true);
    pool(net, "pool10", "conv10", GLOBAL);
}

/* Bytes of all values that are there while layer `l` runs, in float. */
static size_t live_bytes(const qf_net *net, int l)
{
    size_t bytes = 0;
    for (int i = 0; i < net->blob_count; i++) {
        const qf_tensor *value = net->blobs[i]->data;
        bool seen = false, source = false;
        int first = net->layer_count, last = -1;
        for (int k = 0; k < i; k++)
            seen |= net->blobs[k]->data == value; /* a Split's tops are its bottom */
        for (int k = 0; k < net->layer_count && !seen; k++) {
            const qf_layer *layer = net->layers[k];
            for (int t = 0; t < layer->top_count; t++)
                if (layer->top[t]->data == value) {
                    first = first < k ? first : k;
                    last = k;
                    source |= layer->bottom_count == 0;
                }
            for (int b = 0; b < layer->bottom_count; b++)
                if (layer->bottom[b]->data == value)
                    last = k;
        }
        for (int o = 0; o < net->output_count; o++)
            if (net->blobs[net->outputs[o]]->data == value)
                last = net->layer_count;
        if (!seen && (source || (first <= l && l <= last)))
            bytes += qf_shape_count(&value->shape) * sizeof(float);
    }
    return bytes;
}

/* What the arrays of all blobs take now; each array once. */
static size_t held_bytes(const qf_net *net)
{
    size_t bytes = 0;
    for (int i = 0; i < net->blob_count; i++) {
        const qf_tensor *value = net->blobs[i]->data;
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen |= net->blobs[k]->data == value;
        for (int place = 0; place < QF_PLACE_COUNT && !seen; place++)
            for (int form = 0; form < QF_FORM_COUNT; form++)
                bytes += value->array[place][form] ? value->array[place][form]->capacity : 0;
    }
    return bytes;
}

static void check(const char *name, void (*layers)(qf_buffer *))
{
    qf_context *context = test_context();
    qf_buffer text = {0};
    qf_net *net;
    float *values;
    input(&text);
    layers(&text);
    assert_ok(context, qf_file_write(context, "net.prototxt", text.data, text.size, 0640));
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    qf_net_keep_blobs(net, false);
    size_t largest = 0;
    for (int l = 0; l < net->layer_count; l++)
        largest = largest > live_bytes(net, l) ? largest : live_bytes(net, l);
    /* The first pass brings weights into their order. Inputs and outputs stay between passes. */
    for (int pass = 0; pass < 2; pass++) {
        assert_ok(context, qf_blob_mutable_data(net->blobs[net->inputs[0]], &values));
        qf_pool_peak_reset(context);
        const size_t others = qf_pool_used(context) - held_bytes(net);
        assert_ok(context, qf_net_forward(net, NULL));
        const double ratio = (double)(qf_pool_peak(context) - others) / (double)largest;
        if (pass == 1)
            print_message("%s: %.2f times %.2f MB\n", name, ratio, (double)largest * 1e-6);
        assert_true(pass == 0 || ratio <= 1.2);
        assert_true(ratio > 0.2);
    }
    qf_net_destroy(net);
    qf_buffer_release(&text);
    qf_context_destroy(context);
}

static void activations_take_what_lives_at_one_time(void **state)
{
    test_needs_the_host();
    (void)state;
    check("ResNet-50", resnet50);
    check("MobileNet", mobilenet);
    check("SqueezeNet", squeezenet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(activations_take_what_lives_at_one_time)};
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
