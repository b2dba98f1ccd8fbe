/* What a report advises: for channels without weights nothing, for those that a scale of all
 * channels rounds away equalisation. */
#include "harness/calibrated.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <string.h>

enum { IMAGES = 8, PIXELS = 4 * 9 * 9, BATCHES = 2 };

static const char net_text[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 4 dim: 9 dim: 9 } "
    "} } "
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { num_output: 8 "
    "kernel_size: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' } "
    "layer { name: 'b' type: 'InnerProduct' bottom: 'a' top: 'b' inner_product_param { num_output: "
    "6 weight_filler { type: 'xavier' } } } "
    "layer { name: 's' type: 'ReLU' bottom: 'b' top: 'b' } "
    "layer { name: 'c' type: 'InnerProduct' bottom: 'b' top: 'y' inner_product_param { num_output: "
    "6 weight_filler { type: 'xavier' } } } ";

static float pixels[BATCHES][IMAGES * PIXELS];

/* Channels 1 and 2 of layer `index` times a factor. */
static void weaken(int index, float factor)
{
    qf_net *net;
    float *w;
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "net.caffemodel"));
    qf_blob *blob = qf_net_layer_param(net, index, 0);
    const size_t inner = qf_blob_count(blob) / (size_t)qf_blob_dimension(blob, 0);
    assert_ok(context, qf_blob_mutable_data(blob, &w));
    for (size_t i = inner; i < 3 * inner; i++)
        w[i] *= factor;
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
}

/* The first with these words; NULL: none. */
static const qf_report_advice *advice_of(const qf_report *report, const char *words)
{
    for (size_t i = 0; i < report->advices; i++)
        if (strstr(report->advice[i]->finding, words))
            return report->advice[i];
    return NULL;
}

static qf_report *report_of(int layer, float factor)
{
    qf_report *report;
    qf_report_options options = {.size = sizeof options};
    const qf_ptq_options calibration = test_calibration_by_bits("q/m", BATCHES, 8);
    test_write_net(context, net_text);
    weaken(layer, factor);
    test_calibrate(&calibration);
    qf_report_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.prefix = "q/m";
    options.data = &test_raw_data;
    options.batches = BATCHES;
    assert_ok(context, qf_report_create(context, &options, NULL, NULL, NULL, &report));
    return report;
}

static void channels_without_weights_need_nothing(void **state)
{
    (void)state;
    for (int layer = 1; layer < 4; layer += 2) { /* a scale for each channel, and one for all */
        qf_report *report = report_of(layer, 0);
        const qf_report_advice *advice = advice_of(report, "channels are dead");
        assert_non_null(advice);
        assert_string_equal(advice->layer, layer == 1 ? "a" : "b");
        assert_non_null(strstr(advice->finding, "2 of "));
        assert_non_null(strstr(advice->finding, "no option is needed"));
        assert_non_null(strstr(advice->finding, "look whether training lost them."));
        assert_non_null(strstr(advice->command, "qaffe inspect --check net.caffemodel"));
        assert_null(advice_of(report, "channels are lost"));
        qf_report_destroy(report);
    }
}

static void channels_that_are_rounded_away_are_equalised(void **state)
{
    (void)state;
    qf_report *report = report_of(3, 3e-3F);
    const qf_report_advice *advice = advice_of(report, "channels are lost");
    assert_non_null(advice);
    assert_string_equal(advice->layer, "b");
    assert_non_null(strstr(advice->finding, "2 of 6"));
    assert_non_null(strstr(advice->command, "--equalise on"));
    assert_null(advice_of(report, "channels are dead"));
    qf_report_destroy(report);
    report = report_of(1, 1e-2F); /* each channel has a scale */
    assert_null(advice_of(report, "channels are lost"));
    assert_null(advice_of(report, "channels are dead"));
    qf_report_destroy(report);
}

static int start(void **state)
{
    test_start_in_folder(state);
    test_write_images(context, "raw", pixels[0], BATCHES, IMAGES * PIXELS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_without_weights_need_nothing),
        cmocka_unit_test(channels_that_are_rounded_away_are_equalised),
    };
    return cmocka_run_group_tests(tests, start, test_stop_in_folder);
}
