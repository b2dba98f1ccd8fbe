/* Output sizes of BVLC Caffe's Pooling, Convolution and Deconvolution, for many parameters. */
#include "harness/cases.h"
#include "net/net.h"

#include <stdio.h>
#include <string.h>

static json_t *recorded;
static qf_context *context;

/* What one spatial axis becomes: −1 if the net is refused. */
static int output_size(const char *layer, int input)
{
    Caffe__NetParameter *param;
    qf_net *net = NULL;
    int size = -1;
    char *text = test_format(
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 1 dim: %d "
        "dim: %d } } } layer { name: 'it' bottom: 'x' top: 'y' %s }",
        input, input, layer);
    assert_ok(context, qf_text_parse(context, "net", text, strlen(text),
                                     &caffe__net_parameter__descriptor, &param));
    if (qf_net_create_from_param(context, param, NULL, &net) == QF_OK)
        size = qf_blob_shape(qf_net_blob(net, "y"))->dim[3];
    qf_net_destroy(net);
    qf_message_free(param);
    qf_free(text);
    return size;
}

/* `format` takes kernel, stride, pad and the fifth column. `lenient`: refusing is as good. */
static void check_rows(const char *key, const char *format, bool lenient)
{
    const json_t *row;
    size_t i, count = 0;
    json_array_foreach(json_object_get(recorded, key), i, row)
    {
        int value[6];
        for (size_t k = 0; k < 6; k++) {
            const json_t *number = json_array_get(row, k);
            value[k] = json_is_integer(number) ? (int)json_integer_value(number) : -1;
        }
        char layer[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(layer, sizeof layer, format, value[1], value[2], value[3], value[4]);
#pragma GCC diagnostic pop
        const int found = output_size(layer, value[0]);
        if (found != value[5] && !(lenient && found == -1))
            fail_msg("%s %zu: %s on %d gives %d, expected %d", key, i, layer, value[0], found,
                     value[5]);
        count++;
    }
    assert_true(count > 0);
    print_message("%s: %zu parameter sets\n", key, count);
}

static const char pooling[] =
    "type: 'Pooling' pooling_param { kernel_size: %d stride: %d pad: %d round_mode: %d }";
static const char convolution[] = "type: 'Convolution' convolution_param { num_output: 1 "
                                  "kernel_size: %d stride: %d pad: %d dilation: %d }";
static const char deconvolution[] = "type: 'Deconvolution' convolution_param { num_output: 1 "
                                    "kernel_size: %d stride: %d pad: %d dilation: %d }";

static void pooling_sizes(void **state)
{
    (void)state;
    check_rows("pooling", pooling, false);
    check_rows("pooling_degenerate", pooling, true);
}

static void convolution_sizes(void **state)
{
    (void)state;
    check_rows("convolution", convolution, false);
    check_rows("convolution_degenerate", convolution, true);
}

static void deconvolution_sizes(void **state)
{
    (void)state;
    check_rows("deconvolution", deconvolution, false);
    check_rows("deconvolution_degenerate", deconvolution, true);
}

int main(void)
{
    const char *golden = test_golden_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_sizes),
        cmocka_unit_test(convolution_sizes),
        cmocka_unit_test(deconvolution_sizes),
    };
    char *path = test_format("%s/caffe/shapes/spatial.json", golden);
    json_error_t error;
    recorded = json_load_file(path, 0, &error);
    if (!recorded)
        printf("%s:%d: %s\n", path, error.line, error.text);
    context = test_context();
    const int failed = recorded ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    qf_context_destroy(context);
    json_decref(recorded);
    qf_free(path);
    return failed;
}
