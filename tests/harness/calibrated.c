/* Nets that tests quantise without training, and what came of them. */
#include "harness/calibrated.h"

#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

const qf_data_options test_raw_data = {
    .size = sizeof test_raw_data, .source = "raw", .data_type = "float32", .scale = 1};

qf_ptq_options test_calibration(const char *prefix)
{
    qf_ptq_options options = {.size = sizeof options};
    qf_ptq_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.data = &test_raw_data;
    options.save_path = prefix;
    options.equalise = QF_EQUALISE_OFF;
    return options;
}

qf_ptq_options test_calibration_by_bits(const char *prefix, int batches, int bits)
{
    static const qf_quant_options quantisation = {.size = sizeof quantisation,
                                                  .config_definition = "bits.cfg"};
    qf_ptq_options options = test_calibration(prefix);
    char *definition = test_format(
        "batch_num: %d common_config { arq_quantize { channel_wise: false num_bits: %d } } "
        "override_layer_types { layer_type: 'Convolution' calibration_config { arq_quantize { "
        "channel_wise: true num_bits: %d } } }",
        batches, bits, bits);
    test_write_text(context, "bits.cfg", definition);
    qf_free(definition);
    options.quantisation = &quantisation;
    return options;
}

void test_calibrate(const qf_ptq_options *options)
{
    qf_qat_result *result;
    assert_ok(context, qf_ptq_run(context, options, NULL, NULL, NULL, &result));
    assert_int_equal(result->verification->differing, 0);
    qf_qat_result_destroy(result);
}

void test_compare_outputs(const char *prefix, const char *blob, const float *images, int batches,
                          size_t size, test_each_output *each, void *user)
{
    char *model = test_format("%s_fake_quant_model.prototxt", prefix);
    char *weights = test_format("%s_fake_quant_weights.caffemodel", prefix);
    qf_net *plain, *fake;
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &plain));
    assert_ok(context, qf_net_load_weights(plain, "net.caffemodel"));
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &fake));
    assert_ok(context, qf_net_load_weights(fake, weights));
    for (int b = 0; b < batches; b++) {
        const float *x, *y;
        test_fill(context, qf_net_blob(plain, "x"), images + (size_t)b * size, size);
        test_fill(context, qf_net_blob(fake, "x"), images + (size_t)b * size, size);
        assert_ok(context, qf_net_forward(plain, NULL));
        assert_ok(context, qf_net_forward(fake, NULL));
        assert_ok(context, qf_blob_data(qf_net_blob(plain, blob), &x));
        assert_ok(context, qf_blob_data(qf_net_blob(fake, blob), &y));
        each(user, x, y, qf_blob_count(qf_net_blob(plain, blob)));
    }
    qf_net_destroy(plain);
    qf_net_destroy(fake);
    qf_free(model);
    qf_free(weights);
}

void test_assert_same_files(const char *file, const char *other)
{
    qf_buffer one = {0}, two = {0};
    assert_ok(context, qf_file_read(context, file, &one));
    assert_ok(context, qf_file_read(context, other, &two));
    assert_int_equal(one.size, two.size);
    assert_memory_equal(one.data, two.data, one.size);
    qf_buffer_release(&one);
    qf_buffer_release(&two);
}
