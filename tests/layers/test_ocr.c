/* Layers of nets that read text: Lstm against the formulas in double, ReverseTime, and
 * DenseBlock against what it stands for. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

/* ---- Lstm ---- */

enum { STEPS = 5, COUNT = 2, INPUTS = 3, DEPTH = 2 };

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

typedef struct cells {
    double cell[COUNT][DEPTH], output[COUNT][DEPTH];
} cells;

static void one_step(const qf_net *net, int n, const float *x, bool goes_on, cells *s)
{
    const float *wx, *wh, *bias;
    double gate[4][DEPTH];
    const qf_layer *layer = net->layers[1];
    assert_ok(context, qf_blob_data(layer->params[0].blob, &wx));
    assert_ok(context, qf_blob_data(layer->params[1].blob, &wh));
    assert_ok(context, qf_blob_data(layer->params[2].blob, &bias));
    for (int row = 0; row < 4 * DEPTH; row++) {
        double sum = (double)bias[row];
        for (int i = 0; i < INPUTS; i++)
            sum += (double)wx[row * INPUTS + i] * (double)x[i];
        for (int i = 0; goes_on && i < DEPTH; i++)
            sum += (double)wh[row * DEPTH + i] * s->output[n][i];
        gate[row / DEPTH][row % DEPTH] = sum;
    }
    for (int d = 0; d < DEPTH; d++) {
        const double before = goes_on ? logistic(gate[1][d]) * s->cell[n][d] : 0;
        s->cell[n][d] = before + logistic(gate[0][d]) * tanh(gate[3][d]);
        s->output[n][d] = logistic(gate[2][d]) * tanh(s->cell[n][d]);
    }
}

/* `indicators` NULL: each pass begins anew. */
static void check_pass(qf_net *net, const float *indicators, cells *s)
{
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    for (int row = 0; row < STEPS * COUNT; row++) {
        one_step(net, row % COUNT, x + row * INPUTS,
                 indicators ? indicators[row] != 0 : row >= COUNT, s);
        for (int d = 0; d < DEPTH; d++)
            assert_float_equal(y[row * DEPTH + d], (float)s->output[row % COUNT][d], 1e-6f);
    }
}

static void fill(qf_net *net)
{
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    for (int i = 0; i < 3; i++)
        test_fill_anyhow(context, net->layers[1]->params[i].blob, 2 + (unsigned)i);
}

static void lstm(void **state)
{
    static const float indicators[] = {0, 1, 1, 1, 1, 0, 0, 1, 1, 1};
    char text[64];
    (void)state;
    qf_net *net = MAKE("type: 'Lstm' lstm_param { num_output: 2 }", "5 2 3");
    cells s = {0};
    fill(net);
    assert_string_equal(qf_shape_text(qf_blob_shape(qf_net_blob(net, "y0")), text, sizeof text),
                        "5 2 2 (20)");
    check_pass(net, NULL, &s);
    s = (cells){0};
    check_pass(net, NULL, &s);
    qf_net_destroy(net);

    net = MAKE("type: 'Lstm' lstm_param { num_output: 2 batch_size: 2 }", "10 3", "10");
    s = (cells){0};
    fill(net);
    test_fill(context, qf_net_blob(net, "x1"), indicators, STEPS * COUNT);
    check_pass(net, indicators, &s);
    check_pass(net, indicators, &s); /* the second sequence goes on */
    qf_net_destroy(net);
}

/* Shorter and longer inputs of one net. */
static void lstm_of_other_lengths(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Lstm' lstm_param { num_output: 2 }", "5 2 3");
    cells s;
    fill(net);
    test_forward(context, net);
    const int longer[] = {9, 2, 3}, same[] = {5, 2, 3};
    assert_ok(context, qf_blob_reshape(qf_net_blob(net, "x0"), longer, 3));
    test_forward(context, net);
    assert_int_equal(qf_blob_count(qf_net_blob(net, "y0")), 36);
    assert_ok(context, qf_blob_reshape(qf_net_blob(net, "x0"), same, 3));
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    s = (cells){0};
    check_pass(net, NULL, &s);
    qf_net_destroy(net);
}

/* Gradients of the gates are cut, so that of the bias is as many thresholds at most. */
static void lstm_clips(void **state)
{
    (void)state;
    qf_net *net =
        MAKE("type: 'Lstm' lstm_param { num_output: 2 clipping_threshold: 1e-4 }", "5 2 3");
    float *diff;
    const float *found;
    fill(net);
    test_forward(context, net);
    qf_net_clear_param_diffs(net);
    assert_ok(context, qf_blob_mutable_diff(net->layers[1]->top[0], &diff));
    for (int i = 0; i < STEPS * COUNT * DEPTH; i++)
        diff[i] = 1000;
    assert_ok(context, net->layers[1]->type->backward(net->layers[1]));
    assert_ok(context, qf_blob_diff(net->layers[1]->params[2].blob, &found));
    float largest = 0;
    for (int i = 0; i < 4 * DEPTH; i++)
        largest = fmaxf(largest, fabsf(found[i]));
    assert_true(largest > 1e-4f && largest < 1e-4f * STEPS * COUNT * 1.001f);
    qf_net_destroy(net);
}

/* ---- order ---- */

static void reverse_time(void **state)
{
    (void)state;
    for (int copies = 0; copies < 2; copies++) {
        qf_net *net =
            MAKE(copies ? "type: 'ReverseTime' reverse_time_param { copy_remaining: true }"
                        : "type: 'ReverseTime'",
                 "3 2 2", "2");
        TEST_FILL(net, "x0", 1, 2, 10, 20, 3, 4, 30, 40, 5, 6, 50, 60);
        TEST_FILL(net, "x1", 3, 2);
        test_forward(context, net);
        const float rest = copies ? 1 : 0;
        TEST_EXPECT(net, 0, "3 2 2 (12)", 5, 6, 30, 40, 3, 4, 10, 20, 1, 2, 50 * rest, 60 * rest);
        qf_net_destroy(net);
    }
}

/* ---- DenseBlock ---- */

enum { TRANSITIONS = 2, CHANNELS = 3, GROWTH = 2, SIDE = 4, PIXELS = SIDE * SIDE };

static void add_blob(Caffe__LayerParameter *layer, int outputs, int channels, int kernel,
                     unsigned seed)
{
    Caffe__BlobProto *blob;
    const int64_t dims[] = {outputs, channels, kernel, kernel};
    assert_ok(context, qf_message_new(context, &caffe__blob_proto__descriptor, &blob));
    assert_ok(context, qf_message_new(context, &caffe__blob_shape__descriptor, &blob->shape));
    for (int i = 0; i < 4; i++)
        assert_ok(context, qf_append(context, &blob->shape->n_dim, &blob->shape->dim, &dims[i],
                                     sizeof dims[i]));
    for (int i = 0; i < outputs * channels * kernel * kernel; i++) {
        const float value = 0.3f + 0.5f * sinf((float)(seed * 17 + (unsigned)i));
        assert_ok(context, qf_append(context, &blob->n_data, &blob->data, &value, sizeof value));
    }
    assert_ok(context, qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob));
}

static void add_row(Caffe__LayerParameter *layer, int row, int fixed, int outputs, int kernel)
{
    for (int i = 0; i < TRANSITIONS; i++)
        add_blob(layer, outputs, fixed ? fixed : CHANNELS + i * GROWTH, kernel,
                 (unsigned)(row * 5 + i));
}

static void make_weights(bool squeezes, Caffe__NetParameter **out)
{
    Caffe__LayerParameter *layer;
    assert_ok(context, qf_message_new(context, &caffe__net_parameter__descriptor, out));
    assert_ok(context, qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
    assert_ok(context, qf_append(context, &(*out)->n_layer, &(*out)->layer, &layer, sizeof layer));
    assert_ok(context, qf_set_string(context, &layer->name, "it"));
    assert_ok(context, qf_set_string(context, &layer->type, "DenseBlock"));
    add_row(layer, 0, squeezes ? 4 * GROWTH : 0, GROWTH, 3);
    for (int row = 1; row < 5; row++)
        add_row(layer, row, 0, 1, 1);
    if (squeezes)
        add_row(layer, 5, 0, 4 * GROWTH, 1);
    for (int row = 6; squeezes && row < 10; row++)
        add_row(layer, row, 4 * GROWTH, 1, 1);
    add_blob(layer, 1, 1, 1, 99);
    layer->blobs[layer->n_blobs - 1]->data[0] = 2; /* statistics are twice what they count */
    for (int row = 4; row < 10; row += 5)          /* variances are positive */
        for (int i = 0; i < TRANSITIONS && (squeezes || row == 4); i++) {
            Caffe__BlobProto *blob = layer->blobs[row * TRANSITIONS + i];
            for (size_t c = 0; c < blob->n_data; c++)
                blob->data[c] = 1 + fabsf(blob->data[c]);
        }
}

/* ReLU of the normalised channels of one image. */
static void normalise(const Caffe__LayerParameter *layer, int row, int i, int channels,
                      const double *x, double *y)
{
    Caffe__BlobProto *const *b = layer->blobs;
    const double divisor = (double)b[layer->n_blobs - 1]->data[0];
    for (int c = 0; c < channels; c++) {
        const double mean = (double)b[(row + 3) * TRANSITIONS + i]->data[c] / divisor;
        const double variance = (double)b[(row + 4) * TRANSITIONS + i]->data[c] / divisor;
        const double scale = (double)b[(row + 1) * TRANSITIONS + i]->data[c];
        const double bias = (double)b[(row + 2) * TRANSITIONS + i]->data[c];
        for (int p = 0; p < PIXELS; p++)
            y[c * PIXELS + p] =
                fmax(0, scale * (x[c * PIXELS + p] - mean) / sqrt(variance + 1e-5) + bias);
    }
}

static void convolve(const Caffe__BlobProto *filters, int outputs, int channels, int kernel,
                     const double *x, double *y)
{
    for (int o = 0; o < outputs; o++)
        for (int p = 0; p < PIXELS; p++) {
            double sum = 0;
            for (int c = 0; c < channels; c++)
                for (int k = 0; k < kernel * kernel; k++) {
                    const int row = p / SIDE + k / kernel - kernel / 2;
                    const int column = p % SIDE + k % kernel - kernel / 2;
                    if (row >= 0 && row < SIDE && column >= 0 && column < SIDE)
                        sum += (double)filters->data[(o * channels + c) * kernel * kernel + k] *
                               x[c * PIXELS + row * SIDE + column];
                }
            y[o * PIXELS + p] = sum;
        }
}

static void check_block(bool squeezes)
{
    char *rest =
        test_format("type: 'DenseBlock' denseblock_param { numTransition: %d growthRate: %d "
                    "use_BC: %s use_dropout: true dropout_amount: 0.2 }",
                    TRANSITIONS, GROWTH, squeezes ? "true" : "false");
    char *text = test_format("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: "
                             "1 dim: 3 dim: 4 dim: 4 } } } layer { name: 'it' bottom: 'x' top: 'y' "
                             "%s }",
                             rest);
    double x[16 * PIXELS], normal[16 * PIXELS], squeezed[16 * PIXELS];
    Caffe__NetParameter *weights;
    const float *from, *y;
    qf_net *net;
    assert_ok(context, test_net_of(context, text, QF_TEST, &net));
    make_weights(squeezes, &weights);
    test_write_weights(context, "dense.caffemodel", weights);
    assert_ok(context, qf_net_load_weights(net, "dense.caffemodel"));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 1);
    test_forward(context, net);
    assert_ok(context, qf_blob_data(qf_net_blob(net, "x"), &from));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
    const Caffe__LayerParameter *layer = weights->layer[0];
    int channels = CHANNELS;
    for (int i = 0; i < CHANNELS * PIXELS; i++)
        x[i] = (double)from[i];
    for (int i = 0; i < TRANSITIONS; i++, channels += GROWTH) {
        normalise(layer, 0, i, channels, x, normal);
        if (squeezes) {
            convolve(layer->blobs[5 * TRANSITIONS + i], 4 * GROWTH, channels, 1, normal, squeezed);
            normalise(layer, 5, i, 4 * GROWTH, squeezed, normal);
        }
        convolve(layer->blobs[i], GROWTH, squeezes ? 4 * GROWTH : channels, 3, normal,
                 x + channels * PIXELS);
    }
    assert_int_equal(qf_blob_count(qf_net_blob(net, "y")), channels * PIXELS);
    for (int i = 0; i < channels * PIXELS; i++)
        assert_true(fabs((double)y[i] - x[i]) <= 1e-4 * fmax(1, fabs(x[i])));
    qf_message_free(weights);
    qf_net_destroy(net);
    qf_free(text);
    qf_free(rest);
}

static void dense_block(void **state)
{
    (void)state;
    check_block(false);
    check_block(true);
}

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'Lstm'", {"5 2 3"}, "num_output"},
        {"type: 'Lstm' lstm_param { num_output: 2 batch_size: 3 }", {"10 3"}, "batch_size (3)"},
        {"type: 'Lstm' lstm_param { num_output: 2 }", {"5 2 3", "5"}, "an indicator for each"},
        {"type: 'ReverseTime'", {"5 2 3", "3"}, "a number of steps for each sequence"},
        {"type: 'DenseBlock' denseblock_param { numTransition: 0 }", {"1 3 4 4"}, "from 1 to 1000"},
        {"type: 'DenseBlock' denseblock_param { filter_H: 5 }", {"1 3 4 4"}, "filters of 3 x 3"},
        {"type: 'DenseBlock' denseblock_param { growthRate: 0 }", {"1 3 4 4"}, "growthRate is 0"},
    };
    (void)state;
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lstm),        cmocka_unit_test(lstm_of_other_lengths),
        cmocka_unit_test(lstm_clips),  cmocka_unit_test(reverse_time),
        cmocka_unit_test(dense_block), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
