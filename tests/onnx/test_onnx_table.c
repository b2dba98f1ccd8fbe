/* Every type of layer has its row, the documentation shows the rows, and who is refused is named.
 */
#include "harness/fixture.h"
#include "onnx/export/layer_export.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void every_type_has_a_row(void **state)
{
    (void)state;
    qf_buffer missing = {0};
    const char *type;
    for (int i = 0; (type = qf_layer_type_name(i)); i++)
        if (!qf_onnx_row_find(type))
            qf_buffer_print(&missing, " %s", type);
    if (missing.size)
        fail_msg("types without a row in src/onnx/export/export_table.c:%s", missing.data);
    qf_buffer_release(&missing);
}

static void every_row_has_a_type(void **state)
{
    (void)state;
    for (const qf_onnx_row *row = qf_onnx_rows; row->type; row++) {
        if (!qf_layer_type_find(row->type))
            fail_msg("%s is no type", row->type);
        if (row->make ? strcmp(row->nodes, "refused") == 0 : !*row->remark)
            fail_msg("%s: what is refused has its reason, and what is not has nodes", row->type);
    }
}

static void rows_are_documented(void **state)
{
    (void)state;
    qf_buffer text = {0};
    char *path = test_format("%s/docs/onnx.md", QAFFE_SOURCE_DIR);
    assert_ok(context, qf_file_read_text(context, path, &text));
    for (const qf_onnx_row *row = qf_onnx_rows; row->type; row++) {
        char *line = test_format("\n| `%s` | %s | %s |\n", row->type, row->nodes, row->remark);
        if (!strstr(text.data, line))
            fail_msg("docs/onnx.md lacks this line:%s", line);
        qf_free(line);
    }
    size_t lines = 0, rows = 0;
    for (const char *at = text.data; (at = strstr(at, "\n| `")); at++)
        lines++;
    while (qf_onnx_rows[rows].type)
        rows++;
    assert_int_equal(lines, rows);
    qf_free(path);
    qf_buffer_release(&text);
}

/* Exports what begins with an input of this shape; `rest` reads x and makes y. */
static qf_status export_layer(const char *shape, const char *rest)
{
    char *text = test_format("layer { name: 'x' type: 'Input' top: 'x' input_param { shape { %s } "
                             "} }\nlayer { name: 'l' bottom: 'x' top: 'y' %s }",
                             shape, rest);
    qf_onnx_result *found;
    qf_net *net;
    assert_ok(context, qf_file_write(context, "net.prototxt", text, strlen(text), 0644));
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
    qf_free(text);
    const qf_status status = qf_export_onnx(context, "net.prototxt", "net.caffemodel", "net.onnx",
                                            NULL, NULL, NULL, NULL, &found);
    assert_int_equal(found != NULL, status == QF_OK);
    qf_onnx_result_destroy(found);
    return status;
}

static void refusals_name_layer_type_and_reason(void **state)
{
    (void)state;
#define IMAGE "dim: 2 dim: 4 dim: 6 dim: 6"
    static const struct {
        const char *shape, *rest, *reason;
    } rows[] = {
        {IMAGE, "type: 'Im2col' convolution_param { kernel_size: 3 }", "lays patches out"},
        {IMAGE, "type: 'SPP' spp_param { pyramid_height: 2 }", "write its Pooling"},
        {IMAGE, "type: 'Pooling' pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }",
         "stochastic pooling has no node"},
        {IMAGE, "top: 'mask' type: 'Pooling' pooling_param { kernel_size: 2 stride: 2 }",
         "the mask"},
        {IMAGE, "type: 'BatchNorm' batch_norm_param { use_global_stats: false }",
         "statistics of each batch"},
        {IMAGE, "type: 'Convolution' convolution_param { num_output: 2 kernel_size: 1 axis: 2 }",
         "its axis must be 1"},
        {IMAGE, "top: 'z' type: 'Slice' slice_param { axis: 0 }", "it cuts the batch apart"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(export_layer(rows[i].shape, rows[i].rest), QF_E_UNSUPPORTED);
        const char *said = qf_error_text(context);
        if (!strstr(said, "layer l of type ") || !strstr(said, "cannot be exported to ONNX") ||
            !strstr(said, rows[i].reason))
            fail_msg("expected \"%s\" in: %s", rows[i].reason, said);
        assert_false(qf_file_exists("net.onnx"));
    }
}

/* A net that reads nothing has nothing to run on. */
static void nets_without_inputs_are_refused(void **state)
{
    (void)state;
    const char *text =
        "layer { name: 'p' type: 'Parameter' top: 'p' parameter_param { shape { dim: "
        "3 } } }\nlayer { name: 'r' type: 'ReLU' bottom: 'p' top: 'r' }";
    qf_onnx_result *found;
    qf_net *net;
    assert_ok(context, qf_file_write(context, "none.prototxt", text, strlen(text), 0644));
    assert_ok(context, qf_net_create(context, "none.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "none.caffemodel"));
    qf_net_destroy(net);
    assert_fails(context,
                 qf_export_onnx(context, "none.prototxt", "none.caffemodel", "none.onnx", NULL,
                                NULL, NULL, NULL, &found),
                 "reads an input of the net");
}

static void operator_sets_have_ends(void **state)
{
    (void)state;
    qf_onnx_result *found;
    for (int opset = 12; opset <= 22; opset += 10) {
        qf_onnx_options options = {.size = sizeof options};
        qf_onnx_set_defaults(&options);
        options.opset = opset;
        assert_int_equal(qf_export_onnx(context, "n", "w", "o", &options, NULL, NULL, NULL, &found),
                         QF_E_ARGUMENT);
        assert_null(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_a_row),
        cmocka_unit_test(every_row_has_a_type),
        cmocka_unit_test(rows_are_documented),
        cmocka_unit_test(refusals_name_layer_type_and_reason),
        cmocka_unit_test(nets_without_inputs_are_refused),
        cmocka_unit_test(operator_sets_have_ends),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
