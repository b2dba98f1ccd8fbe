/* Cross-layer equalisation: the float net computes the same bits, channels that were made unequal
 * come back, calibration then loses no more than before; and what it leaves alone. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INPUT(shape)                                                                               \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { " shape " } } } "
#define IMAGES INPUT("dim: 2 dim: 4 dim: 8 dim: 8")
#define CONV(name, from, to, more)                                                                 \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" to                    \
    "' convolution_param { kernel_size: 3 pad: 1 " more " } } "
#define PRODUCT(name, from, to)                                                                    \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" to                   \
    "' inner_product_param { num_output: 5 } } "
#define LAYER(type, from, to, more)                                                                \
    "layer { name: '" type "_" to "' type: '" type "' bottom: '" from "' top: '" to "' " more " }" \
                                                                                              " "
#define SIX "num_output: 6 "
#define NORM(from, to, name)                                                                       \
    "layer { name: 'n" name "' type: 'BatchNorm' bottom: '" from "' top: '" to "' "                \
    "batch_norm_param { use_global_stats: true } } "                                               \
    "layer { name: 's" name "' type: 'Scale' bottom: '" to "' top: '" to                           \
    "' scale_param { bias_term: true } } "

/* Nets whose value 'y' is compared, and how many junctions there are whose channels can move. */
static const struct row {
    const char *text;
    size_t junctions;
} nets[] = {
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "a", "") CONV("b", "a", "y", SIX), 1},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "r", "relu_param { negative_slope: 0.1 }")
         CONV("b", "r", "y", SIX "bias_term: false"),
     1},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("PReLU", "a", "r", "")
         LAYER("Pooling", "r", "p", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }")
             CONV("b", "p", "b", SIX) LAYER("Pooling", "b", "q", "pooling_param { kernel_size: 2 }")
                 LAYER("Dropout", "q", "q", "") PRODUCT("c", "q", "y"),
     2},
    /* depthwise and grouped */
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "a", "") CONV("b", "a", "b", SIX "group: 6")
         LAYER("ReLU", "b", "b", "") CONV("c", "b", "c", SIX "group: 2") LAYER("ReLU", "c", "c", "")
             CONV("d", "c", "y", "num_output: 3 group: 3"),
     3},
    {IMAGES CONV("a", "x", "a", SIX) LAYER(
         "AbsVal", "a", "r", "") "layer { name: 'b' type: 'DepthwiseConvolution' bottom: 'r' top: "
                                 "'b' convolution_param { "
                                 "num_output: 6 kernel_size: 3 } } " LAYER("ReLU", "b", "b", "")
                                     CONV("c", "b", "y", SIX),
     2},
    /* transposed, in groups, too */
    {IMAGES CONV("a", "x", "a", SIX) LAYER(
         "ReLU", "a", "a",
         "") "layer { name: 'b' type: 'Deconvolution' bottom: 'a' top: 'b' convolution_param { "
             "num_output: 8 kernel_size: 2 stride: 2 group: 2 } } " LAYER(
                 "ReLU", "b", "b", "") "layer { name: 'c' type: 'Deconvolution' bottom: 'b' top: "
                                       "'y' convolution_param { "
                                       "num_output: 3 kernel_size: 3 } } ",
     2},
    /* BatchNorm takes a factor away, its Scale gives one */
    {IMAGES CONV("a", "x", "a", SIX) NORM("a", "n", "1") LAYER("ReLU", "n", "n", "")
         CONV("b", "n", "b", SIX) NORM("b", "b", "2") CONV("c", "b", "y", SIX),
     2},
    /* products: of flattened pixels, and of products */
    {IMAGES CONV("a", "x", "a", SIX) LAYER("Flatten", "a", "f", "") PRODUCT("b", "f", "b")
         LAYER("ReLU", "b", "b", "") PRODUCT("c", "b", "y"),
     2},
    /* two readers */
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "a", "") CONV("b", "a", "b", SIX)
         CONV("c", "a", "c", "num_output: 3") LAYER("Softmax", "c", "p", "")
             LAYER("Sigmoid", "b", "s", "") CONV("d", "s", "y", SIX),
     1},
    /* sums: the ends of a residual block and of its shortcut have one factor */
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "a", "") CONV("b", "a", "b", SIX)
         LAYER("Eltwise", "a", "e", "bottom: 'b' eltwise_param { coeff: 1 coeff: -0.5 }")
             LAYER("ReLU", "e", "e", "") CONV("c", "e", "y", SIX),
     1},
    /* joined, and cut elsewhere */
    {IMAGES CONV("a", "x", "a", SIX) CONV("b", "x", "b", "num_output: 4")
         LAYER("Concat", "a", "j", "bottom: 'b'") LAYER("ReLU", "j", "j", "")
             LAYER("Slice", "j", "u", "top: 'v' slice_param { slice_point: 3 }")
                 CONV("c", "u", "y", SIX) CONV("d", "v", "z", SIX),
     1},
    /* nothing to move: bounds, curves, neighbours, unknown producers, values that are put out */
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU6", "a", "r", "") CONV("b", "r", "y", SIX), 0},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "r", "relu_param { maximum: 4 }")
         CONV("b", "r", "y", SIX),
     0},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("LRN", "a", "r", "") CONV("b", "r", "y", SIX), 0},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("TanH", "a", "r", "") CONV("b", "r", "y", SIX), 0},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("Softmax", "a", "z", "") CONV("b", "a", "y", SIX), 0},
    {IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "z", "") CONV("b", "a", "y", SIX), 0},
    {IMAGES CONV("a", "x", "a", SIX "axis: 1") LAYER("BatchNorm", "a", "n", "")
         CONV("b", "n", "y", SIX),
     0},
    {IMAGES CONV("a", "x", "a", "num_output: 4")
         LAYER("Eltwise", "a", "e", "bottom: 'x' eltwise_param { operation: SUM }")
             CONV("b", "e", "y", SIX),
     0},
    {IMAGES CONV("a", "x", "a", SIX) CONV("a2", "x", "a2", SIX)
         LAYER("Eltwise", "a", "e", "bottom: 'a2' eltwise_param { operation: PROD }")
             CONV("b", "e", "y", SIX),
     0},
    /* weights of two layers */
    {IMAGES "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' param { name: 'w' } "
            "convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } } "
            "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' param { name: 'w' } "
            "convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } } " CONV(
                "c", "b", "y", SIX),
     0},
};
enum { NETS = sizeof nets / sizeof *nets };

/* Weights from −1 to 1, statistics and slopes that make sense; channels are as loud as `unequal`
 * powers of two say, not by the same for each parameter. */
static void fill_params(qf_net *net, int unequal)
{
    for (int l = 0; l < net->layer_count; l++) {
        const char *type = net->layers[l]->type->name;
        const bool positive = !strcmp(type, "BatchNorm") || !strcmp(type, "PReLU");
        for (int i = 0; i < qf_net_layer_param_count(net, l); i++) {
            qf_blob *blob = qf_net_layer_param(net, l, i);
            float *values;
            test_fill_anyhow(context, blob, (unsigned)(7 * l + i + 1));
            assert_ok(context, qf_blob_mutable_data(blob, &values));
            const size_t count = qf_blob_count(blob), rows = (size_t)blob->data->shape.dim[0];
            for (size_t k = 0; k < count; k++)
                values[k] = positive
                                ? 0.25f + 0.5f * fabsf(values[k])
                                : ldexpf(values[k] + 0.01f,
                                         unequal * (int)((k / (count / rows) * 5 + l) % 3 - 1));
        }
    }
}

/* The value 'y' with these weights, which are made and written first where `make`. */
static float *run(const char *text, const char *weights, bool make, size_t *count)
{
    qf_net *net;
    const float *values;
    assert_ok(context, test_net_of(context, text, QF_TEST, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 1);
    if (make)
        fill_params(net, 4);
    assert_ok(context,
              make ? qf_net_save_weights(net, weights) : qf_net_load_weights(net, weights));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_blob *out = qf_net_blob(net, "y");
    assert_ok(context, qf_blob_data(out, &values));
    *count = qf_blob_count(out);
    float *copy = qf_alloc(*count, sizeof *copy);
    memcpy(copy, values, *count * sizeof *copy);
    qf_net_destroy(net);
    return copy;
}

static void equalised_nets_compute_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < NETS; i++) {
        size_t count, after_count;
        qf_equalisation *found;
        test_write_text(context, "net.prototxt", nets[i].text);
        float *before = run(nets[i].text, "before.caffemodel", true, &count);
        assert_ok(context, qf_equalise_weights(context, "net.prototxt", "before.caffemodel",
                                               "after.caffemodel", &found));
        float *after = run(nets[i].text, "after.caffemodel", false, &after_count);
        assert_int_equal(count, after_count);
        for (size_t k = 0; k < count; k++)
            if (memcmp(&before[k], &after[k], sizeof *before))
                fail_msg("net %zu: [%zu] is %.9g, was %.9g", i, k, (double)after[k],
                         (double)before[k]);
        if (found->rows != nets[i].junctions)
            fail_msg("net %zu has %zu junctions", i, found->rows);
        for (size_t k = 0; k < found->rows; k++) {
            const qf_equalised_row *row = found->row[k];
            if (!(row->spread_before > 2 && row->spread_after <= 1.5 && row->rescaled > 0))
                fail_msg("net %zu, %s to %s: %g to %g, %d of %d", i, row->writers, row->readers,
                         row->spread_before, row->spread_after, row->rescaled, row->channels);
        }
        qf_equalisation_destroy(found);
        /* Once is enough. */
        assert_ok(context, qf_equalise_weights(context, "net.prototxt", "after.caffemodel",
                                               "again.caffemodel", &found));
        for (size_t k = 0; k < found->rows; k++)
            assert_int_equal(found->row[k]->rescaled, 0);
        qf_equalisation_destroy(found);
        qf_free(before);
        qf_free(after);
    }
}

/* ---- dead channels, and what belongs to the user ---- */

static const char two[] = IMAGES CONV("a", "x", "a", SIX) LAYER("ReLU", "a", "r", "")
    CONV("b", "r", "b", SIX) LAYER("ReLU", "b", "c", "") CONV("c", "c", "y", SIX);

static const Caffe__BlobProto *stored(Caffe__NetParameter *net, const char *layer, size_t blob)
{
    return qf_find_layer(net, layer)->blobs[blob];
}

static void dead_channels_are_left_alone(void **state)
{
    (void)state;
    Caffe__NetParameter *before, *after;
    qf_equalisation *found;
    size_t count;
    test_write_text(context, "net.prototxt", two);
    qf_free(run(two, "before.caffemodel", true, &count));
    assert_ok(context, qf_net_param_read_binary(context, "before.caffemodel", &before));
    float *w = stored(before, "a", 0)->data;
    for (size_t k = 0; k < 36; k++)
        w[k] = k ? 0 : 1e-30f; /* channel 0 of a: no more than a trace, but a bias */
    for (size_t o = 0; o < 6; o++)
        for (size_t k = 0; k < 9; k++) /* channel 3 of a: nobody listens */
            stored(before, "b", 0)->data[(o * 6 + 3) * 9 + k] = 0;
    assert_ok(context, qf_wire_write(context, "before.caffemodel", before, 0640));
    assert_ok(context, qf_equalise_weights(context, "net.prototxt", "before.caffemodel",
                                           "after.caffemodel", &found));
    assert_int_equal(found->row[0]->channels, 4);
    assert_ok(context, qf_net_param_read_binary(context, "after.caffemodel", &after));
    const float *v = stored(after, "a", 0)->data;
    for (size_t k = 0; k < 36; k++) {
        assert_true(v[k] == w[k]);
        assert_true(v[3 * 36 + k] == w[3 * 36 + k]);
    }
    assert_true(stored(after, "a", 1)->data[0] == stored(before, "a", 1)->data[0]);
    qf_equalisation_destroy(found);
    qf_message_free(before);
    qf_message_free(after);
}

/* The user's code goes on from r with the float net's weights. */
static void what_is_cut_off_is_left_alone(void **state)
{
    (void)state;
    qf_equalisation *found;
    size_t count;
    test_write_text(context, "net.prototxt", two);
    qf_free(run(two, "before.caffemodel", true, &count));
    assert_ok(context, qf_context_set_until(context, "ReLU_c"));
    assert_ok(context,
              qf_equalise_weights(context, "net.prototxt", "before.caffemodel", NULL, &found));
    assert_ok(context, qf_context_set_until(context, NULL));
    assert_int_equal(found->rows, 1);
    assert_string_equal(found->row[0]->writers, "a");
    assert_int_equal(found->row[0]->rescaled, 0);
    qf_equalisation_destroy(found);
}

static void refusals(void **state)
{
    (void)state;
    qf_equalisation *found;
    size_t count;
    test_write_text(context, "net.prototxt", two);
    qf_free(run(two, "before.caffemodel", true, &count));
    assert_fails(context,
                 qf_equalise_weights(context, "net.prototxt", "before.caffemodel",
                                     "before.caffemodel", &found),
                 "would be written over");
    assert_null(found);
    test_write_text(context, "other.prototxt", IMAGES CONV("q", "x", "y", SIX));
    assert_fails(context,
                 qf_equalise_weights(context, "other.prototxt", "before.caffemodel", NULL, &found),
                 "before.caffemodel");
}

/* ---- flows ---- */

/* Four batches of pixels for the Input. */
static void write_batches(void)
{
    float values[2 * 4 * 8 * 8];
    unsigned drawn = 1;
    for (int b = 0; b < 4; b++) {
        char *path = test_format("raw/%d.bin", b);
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            drawn = drawn * 1664525u + 1013904223u;
            values[k] = (float)(drawn >> 8) / (float)(1 << 23) - 1;
        }
        assert_ok(context, qf_file_write(context, path, values, sizeof values, 0640));
        qf_free(path);
    }
}

/* Decibels of y of a model against the float net's. */
static double sqnr(const char *float_weights, const char *prefix)
{
    char *model = test_format("%s_fake_quant_model.prototxt", prefix);
    char *weights = test_format("%s_fake_quant_weights.caffemodel", prefix);
    qf_net *plain, *fake;
    const float *x, *y;
    double signal = 0, noise = 0;
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &plain));
    assert_ok(context, qf_net_load_weights(plain, float_weights));
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &fake));
    assert_ok(context, qf_net_load_weights(fake, weights));
    test_fill_anyhow(context, qf_net_blob(plain, "x"), 3);
    test_fill_anyhow(context, qf_net_blob(fake, "x"), 3);
    assert_ok(context, qf_net_forward(plain, NULL));
    assert_ok(context, qf_net_forward(fake, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(plain, "y"), &x));
    assert_ok(context, qf_blob_data(qf_net_blob(fake, "y"), &y));
    for (size_t k = 0, count = qf_blob_count(qf_net_blob(plain, "y")); k < count; k++) {
        signal += (double)x[k] * (double)x[k];
        noise += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
    }
    qf_net_destroy(plain);
    qf_net_destroy(fake);
    qf_free(model);
    qf_free(weights);
    return 10 * log10(signal / noise);
}

static double calibrated(const char *weights, qf_equalise choice, const char *prefix)
{
    const qf_data_options data = {
        .size = sizeof data, .source = "raw", .data_type = "float32", .scale = 1};
    const qf_quant_options quantisation = {
        .size = sizeof quantisation, .batch_num = 2, .activation_offset = true};
    qf_ptq_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_ptq_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = weights;
    options.data = &data;
    options.quantisation = &quantisation;
    options.save_path = prefix;
    options.equalise = choice;
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    assert_int_equal(result->verification->differing, 0);
    qf_qat_result_destroy(result);
    return sqnr(weights, prefix);
}

/* Channel c of a layer louder by 2^4 or softer, and the next layer's weights so that it does not
 * matter. */
static void make_loud(Caffe__NetParameter *net, const char *writer, const char *reader)
{
    const Caffe__BlobProto *w = stored(net, writer, 0), *b = stored(net, writer, 1);
    const Caffe__BlobProto *r = stored(net, reader, 0);
    const size_t channels = b->n_data, rows = r->n_data / channels / 9;
    for (size_t c = 0; c < channels; c++) {
        const int exponent = c * 5 % 3 == 1 ? -4 : 4;
        for (size_t k = 0; k < w->n_data / channels; k++)
            w->data[c * (w->n_data / channels) + k] =
                ldexpf(w->data[c * (w->n_data / channels) + k], exponent);
        b->data[c] = ldexpf(b->data[c], exponent);
        for (size_t o = 0; o < rows; o++)
            for (size_t k = 0; k < 9; k++)
                r->data[(o * channels + c) * 9 + k] =
                    ldexpf(r->data[(o * channels + c) * 9 + k], -exponent);
    }
}

static void write_even_and_loud(void)
{
    qf_net *net;
    Caffe__NetParameter *weights;
    test_write_text(context, "net.prototxt", two);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    fill_params(net, 0);
    assert_ok(context, qf_net_save_weights(net, "even.caffemodel"));
    qf_net_destroy(net);
    assert_ok(context, qf_net_param_read_binary(context, "even.caffemodel", &weights));
    make_loud(weights, "a", "b");
    make_loud(weights, "b", "c");
    assert_ok(context, qf_wire_write(context, "loud.caffemodel", weights, 0640));
    qf_message_free(weights);
}

static void loud_channels_cost_calibration_nothing(void **state)
{
    (void)state;
    write_even_and_loud();
    write_batches();
    const double even = calibrated("even.caffemodel", QF_EQUALISE_AUTO, "even/m");
    const double off = calibrated("loud.caffemodel", QF_EQUALISE_OFF, "loud/m");
    assert_false(qf_file_exists("even/m_equalised.caffemodel"));
    const double on = calibrated("loud.caffemodel", QF_EQUALISE_AUTO, "loud/m");
    assert_true(qf_file_exists("loud/m_equalised.caffemodel"));
    if (!(even > 25 && off < even - 6 && on > even - 1))
        fail_msg("%.1f dB, with loud channels %.1f, equalised %.1f", even, off, on);
    /* What a run leaves says whether it equalised. */
    calibrated("loud.caffemodel", QF_EQUALISE_OFF, "loud/m");
    assert_false(qf_file_exists("loud/m_equalised.caffemodel"));
}

static bool plan_says(const qf_plan *plan, const char *layer, const char *part)
{
    for (size_t i = 0; i < plan->rows; i++)
        if (strcmp(plan->row[i]->layer, layer) == 0 && strstr(plan->row[i]->detail, part))
            return true;
    return false;
}

static void prepare_takes_equalised_weights(void **state)
{
    (void)state;
    qf_retrain_options options = {.size = sizeof options, .equalise = QF_EQUALISE_AUTO};
    qf_plan *plan;
    Caffe__NetParameter *prepared, *expected;
    qf_equalisation *found;
    write_even_and_loud();
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "loud.caffemodel", NULL));
    assert_ok(context, qf_equalise_weights(context, "net.prototxt", "loud.caffemodel",
                                           "equal.caffemodel", &found));
    qf_equalisation_destroy(found);
    assert_ok(context, qf_quant_retrain_plan(context, "net.prototxt", "loud.caffemodel",
                                             "config.json", &options, &plan));
    assert_true(plan_says(plan, "b", "input channels equalised, 2^"));
    qf_plan_destroy(plan);
    assert_ok(context, qf_quant_retrain_plan(context, "net.prototxt", "loud.caffemodel",
                                             "config.json", NULL, &plan));
    assert_true(plan_says(plan, "c", "try qaffe equalise"));
    qf_plan_destroy(plan);
    assert_ok(context, qf_prepare_quant_retrain_model(
                           context, "net.prototxt", "loud.caffemodel", "config.json",
                           "modified.prototxt", "modified.caffemodel", "record.txt", &options));
    assert_ok(context, qf_net_param_read_binary(context, "modified.caffemodel", &prepared));
    assert_ok(context, qf_net_param_read_binary(context, "equal.caffemodel", &expected));
    const Caffe__BlobProto *mine = stored(prepared, "b", 0), *wanted = stored(expected, "b", 0);
    assert_int_equal(mine->n_data, wanted->n_data);
    assert_memory_equal(mine->data, wanted->data, mine->n_data * sizeof *mine->data);
    qf_message_free(prepared);
    qf_message_free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalised_nets_compute_the_same_bits),
        cmocka_unit_test(dead_channels_are_left_alone),
        cmocka_unit_test(what_is_cut_off_is_left_alone),
        cmocka_unit_test(refusals),
        cmocka_unit_test(loud_channels_cost_calibration_nothing),
        cmocka_unit_test(prepare_takes_equalised_weights),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
