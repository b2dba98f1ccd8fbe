/* Adaptive rounding: nets with it put out more nearly what the float net does; codes are neighbours
 * of the weights; the same comes out each time. */
#include "harness/calibrated.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 8, PIXELS = 4 * 9 * 9, BATCHES = 2 };

/* A convolution with all that moves its window, one of groups, a depthwise one, one whose output
 * two layers read, and a product. */
static const char net_text[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 4 dim: 9 dim: 9 } "
    "} } "
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { num_output: 8 "
    "kernel_h: 3 kernel_w: 2 pad_h: 1 stride_w: 2 weight_filler { type: 'xavier' } } } "
    "layer { name: 'ra' type: 'ReLU' bottom: 'a' top: 'a' } "
    "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param { num_output: 12 "
    "group: 2 kernel_size: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 'rb' type: 'ReLU' bottom: 'b' top: 'b' } "
    "layer { name: 'c' type: 'Convolution' bottom: 'b' top: 'c' convolution_param { num_output: 12 "
    "group: 12 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: 'xavier' } } } "
    "layer { name: 'rc' type: 'ReLU' bottom: 'c' top: 'r' } "
    "layer { name: 's' type: 'Eltwise' bottom: 'c' bottom: 'r' top: 's' } "
    "layer { name: 'd' type: 'InnerProduct' bottom: 's' top: 'y' inner_product_param { num_output: "
    "6 weight_filler { type: 'xavier' } } } ";

static const char *const layers[] = {"a", "b", "c", "d"};
enum { LAYERS = sizeof layers / sizeof *layers };

static float pixels[BATCHES][IMAGES * PIXELS];

static void add_error(void *user, const float *plain, const float *fake, size_t count)
{
    double *error = user;
    for (size_t i = 0; i < count; i++)
        *error += pow((double)plain[i] - (double)fake[i], 2);
}

/* Of a blob over all batches. */
static double output_error(const char *prefix, const char *blob)
{
    double error = 0;
    test_compare_outputs(prefix, blob, pixels[0], BATCHES, IMAGES * PIXELS, add_error, &error);
    return error;
}

static double quantised(int bits, int iterations, int bias_correction, const char *prefix)
{
    qf_ptq_options options = test_calibration_by_bits(prefix, BATCHES, bits);
    options.adaround = iterations > 0;
    options.adaround_iterations = iterations;
    options.bias_correction = bias_correction;
    test_calibrate(&options);
    return output_error(prefix, "y");
}

static Caffe__NetParameter *deployed(const char *prefix)
{
    char *file = test_format("%s_deploy_weights.caffemodel", prefix);
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read_binary(context, file, &net));
    qf_free(file);
    return net;
}

/* How many codes of layers first … are others; by no more than one step, and none of the largest.
 */
static size_t others_of(const char *nearest, const char *learned, int first, int end)
{
    Caffe__NetParameter *before = deployed(nearest), *after = deployed(learned);
    size_t others = 0;
    for (int l = first; l < end; l++) {
        const ProtobufCBinaryData a = qf_find_layer(before, layers[l])->blobs[0]->int8_data;
        const ProtobufCBinaryData b = qf_find_layer(after, layers[l])->blobs[0]->int8_data;
        assert_int_equal(a.len, b.len);
        int largest[2] = {0};
        for (size_t i = 0; i < a.len; i++) {
            const int from = (int8_t)a.data[i], to = (int8_t)b.data[i];
            assert_true(abs(from - to) <= 1);
            largest[0] = abs(from) > largest[0] ? abs(from) : largest[0];
            largest[1] = abs(to) > largest[1] ? abs(to) : largest[1];
            others += from != to;
        }
        assert_int_equal(largest[0], largest[1]);
    }
    qf_message_free(before);
    qf_message_free(after);
    return others;
}

static size_t compare_codes(const char *nearest, const char *learned)
{
    return others_of(nearest, learned, 0, LAYERS);
}

static void assert_same_records(const char *a, const char *b)
{
    char *first = test_format("%s_record.txt", a), *second = test_format("%s_record.txt", b);
    test_assert_same_files(first, second);
    qf_free(first);
    qf_free(second);
}

static void rounds_for_the_output(int bits, int iterations, double share)
{
    char *near = test_format("nearest%d/m", bits), *far = test_format("learned%d/m", bits);
    const double before = quantised(bits, 0, 0, near), after = quantised(bits, iterations, 0, far);
    if (!(after < share * before))
        fail_msg("%d bits: squared error %g of nearest codes, %g of learned", bits, before, after);
    assert_true(compare_codes(near, far) > 0);
    assert_same_records(near, far);
    qf_free(near);
    qf_free(far);
}

static void learned_codes_are_nearer_to_the_output(void **state)
{
    (void)state;
    rounds_for_the_output(4, 400, 0.6);
    rounds_for_the_output(8, 400, 0.9);
}

/* Whatever random numbers the context draws; and biases are corrected with the codes that were
 * learned. */
static void learned_codes_are_the_same_each_time(void **state)
{
    (void)state;
    quantised(4, 40, 0, "one/m");
    qf_context_set_seed(context, 77);
    quantised(4, 40, 0, "two/m");
    assert_int_equal(compare_codes("one/m", "two/m"), 0);
    quantised(4, 40, BATCHES, "three/m");
    assert_int_equal(compare_codes("one/m", "three/m"), 0);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    qf_ptq_options options = test_calibration("no/m");
    qf_qat_result *result;
    options.adaround = true;
    options.adaround_iterations = 0;
    assert_fails(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result),
                 "adaround_iterations");
}

/* One image is too little for the product, whose positions are images. */
static void few_positions_leave_a_layer_alone(void **state)
{
    (void)state;
    qf_data_options data = test_raw_data;
    char *text = test_replace(net_text, "dim: 8 dim: 4", "dim: 1 dim: 4");
    test_write_text(context, "single.prototxt", text);
    qf_free(text);
    assert_ok(context,
              qf_file_write(context, "single/0.bin", pixels[0], PIXELS * sizeof(float), 0640));
    data.source = "single";
    for (int learned = 0; learned < 2; learned++) {
        qf_ptq_options options = test_calibration(learned ? "single/learned" : "single/nearest");
        options.model = "single.prototxt";
        options.data = &data;
        options.adaround = learned;
        options.adaround_iterations = 20;
        test_calibrate(&options);
    }
    assert_int_equal(others_of("single/nearest", "single/learned", LAYERS - 1, LAYERS), 0);
    assert_true(compare_codes("single/nearest", "single/learned") > 0);
}

/* Whose blob has inputs first, and whose outputs read between pixels. */
static void a_deconvolution_learns(void **state)
{
    (void)state;
    static const char text[] =
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 4 dim: 9 dim: "
        "9 } } } "
        "layer { name: 'a' type: 'Deconvolution' bottom: 'x' top: 'a' convolution_param { "
        "num_output: 6 kernel_h: 4 kernel_w: 3 stride_h: 2 stride_w: 3 pad_h: 1 "
        "weight_filler { type: 'xavier' } } } "
        "layer { name: 'p' type: 'Pooling' bottom: 'a' top: 'y' pooling_param { pool: AVE "
        "kernel_size: 18 } } ";
    test_write_net(context, text);
    quantised(4, 0, 0, "up_nearest/m");
    quantised(4, 400, 0, "up_learned/m");
    assert_true(others_of("up_nearest/m", "up_learned/m", 0, 1) > 0);
    const double before = output_error("up_nearest/m", "a"),
                 after = output_error("up_learned/m", "a");
    if (!(after < 0.8 * before))
        fail_msg("squared error %g of nearest codes, %g of learned", before, after);
    test_write_net(context, net_text);
}

static qf_action stop(void *user)
{
    int *calls = user;
    return ++*calls > 5 ? QF_STOP : QF_CONTINUE;
}

/* Nobody asks before the first batch of calibration; 5 words later rounding learns. */
static void it_can_be_stopped(void **state)
{
    (void)state;
    qf_ptq_options options = test_calibration("stopped/m");
    qf_qat_result *result;
    int calls = 0;
    options.adaround = true;
    assert_fails(context, qf_ptq_run(context, &options, stop, NULL, &calls, &result),
                 "while rounding was learned");
    qf_qat_result_destroy(result);
}

static int start(void **state)
{
    const int failed = test_start_in_folder(state);
    if (!failed) {
        test_write_images(context, "raw", pixels[0], BATCHES, IMAGES * PIXELS);
        test_write_net(context, net_text);
    }
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learned_codes_are_nearer_to_the_output),
        cmocka_unit_test(learned_codes_are_the_same_each_time),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(few_positions_leave_a_layer_alone),
        cmocka_unit_test(a_deconvolution_learns),
        cmocka_unit_test(it_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, start, test_stop_in_folder);
}
