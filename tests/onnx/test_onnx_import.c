/* Import of ONNX models: what single nodes become and compute, ranges of quantised models, and what
 * is refused. Expected numbers are ONNX Runtime's. */
#include "harness/fixture.h"
#include "model/model.h"
#include "model/record.h"
#include "net/net.h"
#include "onnx/import/importer.h"
#include "onnx/onnx_file.h"
#include "onnx/onnx_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models from text ---- */

static void write_model(const char *name, const char *text)
{
    Onnx__Model *model;
    assert_ok(context,
              qf_text_parse(context, name, text, strlen(text), &onnx__model__descriptor, &model));
    assert_ok(context, qf_onnx_write(context, name, model));
    qf_message_free(model);
}

/* A graph with the input x and the output y, both floats; `shape` is "1 2 3", 0 for an open axis.
 */
static char *model_text(int opset, const char *shape, const char *graph)
{
    qf_buffer dims = {0};
    for (const char *at = shape; *at; at += strcspn(at, " ") + (strchr(at, ' ') != NULL)) {
        const int dim = atoi(at);
        qf_buffer_print(&dims, dim ? "dim { dim_value: %d } " : "dim { dim_param: \"N\" } ", dim);
    }
    char *text =
        test_format("ir_version: 8 opset_import { version: %d } graph { name: 'g' %s "
                    "input { name: 'x' type { tensor_type { elem_type: 1 shape { %s } } } } "
                    "output { name: 'y' type { tensor_type { elem_type: 1 } } } }",
                    opset, graph, qf_buffer_text(&dims));
    qf_buffer_release(&dims);
    return text;
}

static qf_status import(const char *shape, int opset, const char *graph, const char *shapes)
{
    const qf_import_options options = {.size = sizeof options, .shapes = shapes, .batch = 2};
    qf_onnx_import *imported;
    char *text = model_text(opset, shape, graph);
    write_model("m.onnx", text);
    qf_free(text);
    const qf_status status = qf_import_onnx(context, "m.onnx", "n", &options, &imported);
    qf_onnx_import_destroy(imported);
    return status;
}

/* ---- what nodes become, and compute ---- */

static void assert_layers(const onnx_row *r)
{
    Caffe__NetParameter *net;
    qf_buffer types = {0};
    assert_ok(context, qf_net_param_read(context, "n.prototxt", &net));
    for (size_t i = 1; i < net->n_layer; i++)
        qf_buffer_print(&types, "%s%s", i > 1 ? " " : "", net->layer[i]->type);
    if (strcmp(qf_buffer_text(&types), r->layers) != 0)
        fail_msg("%s: became %s, expected %s", r->name, qf_buffer_text(&types), r->layers);
    qf_buffer_release(&types);
    qf_message_free(net);
}

static void run_net(qf_net **net)
{
    float *x;
    assert_ok(context, qf_net_create(context, "n.prototxt", QF_TEST, 0, NULL, 0, net));
    assert_ok(context, qf_net_load_weights(*net, "n.caffemodel"));
    qf_blob *in = qf_net_blob(*net, "x");
    assert_ok(context, qf_write(context, in->data, QF_PLAIN, &x));
    for (size_t i = 0; i < qf_blob_count(in); i++)
        x[i] = (float)((int)(i * 7 % 11) - 5) / 4;
    assert_ok(context, qf_net_forward(*net, NULL));
}

static void nodes_compute_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < onnx_row_count; i++) {
        const onnx_row *r = &onnx_rows[i];
        const float *y;
        qf_net *net;
        if (import(r->shape, r->opset, r->graph, NULL) != QF_OK)
            fail_msg("%s: %s", r->name, qf_error_text(context));
        assert_layers(r);
        run_net(&net);
        qf_blob *out = qf_net_blob(net, "y");
        assert_int_equal(qf_blob_count(out), r->count);
        assert_ok(context, qf_read(context, out->data, QF_PLAIN, &y));
        for (int k = 0; k < r->count; k++)
            if (!(fabsf(y[k] - r->expected[k]) <= 1e-5f * fmaxf(1, fabsf(r->expected[k]))))
                fail_msg("%s: y[%d] is %g, expected %g", r->name, k, (double)y[k],
                         (double)r->expected[k]);
        qf_net_destroy(net);
    }
}

/* ---- shapes ---- */

static void assert_shape(const char *blob, const char *expected)
{
    char text[256];
    qf_net *net;
    assert_ok(context, qf_net_create(context, "n.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_string_equal(qf_shape_text(qf_blob_shape(qf_net_blob(net, blob)), text, sizeof text),
                        expected);
    qf_net_destroy(net);
}

static void an_open_batch_is_given(void **state)
{
    (void)state;
    static const char flatten[] = "node { op_type: 'Flatten' input: 'x' output: 'y' }";
    assert_ok(context, import("0 3 2", 13, flatten, NULL));
    assert_shape("y", "2 6 (12)");
    assert_ok(context, import("0 3 2", 13, flatten, "x=5x3x4"));
    assert_shape("y", "5 12 (60)");
    assert_fails(context, import("0 3 0", 13, flatten, NULL),
                 "m.onnx: the model leaves sizes of its input 'x' open (2x3x?)");
    assert_fails(context, import("0 3 0", 13, flatten, "z=1x2"), "a shape is given for 'z'");
}

/* ---- ranges ---- */

#define SCALE(name, value) " initializer { name: '" name "' data_type: 1 float_data: " value " }"
#define ZERO(name, type, value)                                                                    \
    " initializer { name: '" name "' data_type: " type " int32_data: " value " }"
#define CODES(of, to, scale, zero)                                                                 \
    "node { op_type: 'QuantizeLinear' input: '" of "' input: '" scale "' input: '" zero            \
    "' output: '" to "_codes' } node { op_type: 'DequantizeLinear' input: '" to                    \
    "_codes' input: '" scale "' input: '" zero "' output: '" to "' } "

static const char quantised[] =
    CODES("x", "q", "sx",
          "zx") "node { op_type: 'DequantizeLinear' input: 'w' input: 'sw' output: 'v' "
                "  attribute { name: 'axis' i: 0 } } "
                "node { op_type: 'Conv' name: 'conv' input: 'q' input: 'v' output: 'c' } " CODES(
                    "c", "d", "sc",
                    "zc") "node { op_type: 'Flatten' input: 'd' output: 'f' } "
                          "node { op_type: 'Gemm' name: 'fc' input: 'd2' input: 'u' output: 'g' } "
                          "node { op_type: 'Identity' input: 'g' output: 'y' }" SCALE("sx", "0.5")
                              ZERO("zx", "2", "120") SCALE("sc", "0.25")
                                  ZERO("zc", "3", "-3") " initializer { name: 'sw' data_type: 1 "
                                                        "dims: 2 float_data: 0.1 float_data: 0.2 }"
                                                        " initializer { name: 'w' data_type: 3 "
                                                        "dims: 2 dims: 1 dims: 1 dims: 1"
                                                        "   int32_data: -127 int32_data: 64 }";

/* Behind the first convolution a product whose weights are quantised in the graph, with `count`
 * scales. */
static char *with_product(const char *scales)
{
    char *graph =
        test_replace(quantised, "output: 'f' } ",
                     "output: 'd2' } "
                     "node { op_type: 'QuantizeLinear' input: 'p' input: 'sp' input: 'zp' "
                     "  output: 'pc' attribute { name: 'axis' i: 1 } } "
                     "node { op_type: 'DequantizeLinear' input: 'pc' input: 'sp' "
                     "  input: 'zp' output: 'u' attribute { name: 'axis' i: 1 } } ");
    char *all = test_format("%s initializer { name: 'p' data_type: 1 dims: 4 dims: 2 float_data: 1 "
                            "float_data: -1 float_data: 0.26 float_data: 9 float_data: 0 "
                            "float_data: 0.3 float_data: -200 float_data: 2 } %s",
                            graph, scales);
    qf_free(graph);
    return all;
}

static void ranges_go_into_a_record(void **state)
{
    (void)state;
    char *graph = with_product(SCALE("sp", "0.125") ZERO("zp", "2", "128"));
    Caffe__NetParameter *weights;
    qf_record *record;
    assert_ok(context, import("1 1 1 2", 13, graph, NULL));
    qf_free(graph);
    assert_ok(context, qf_record_read(context, "n_record.txt", &record));
    assert_int_equal(record->n_record, 2);
    const qf_record_entry *conv = qf_record_find(record, "conv"),
                          *fc = qf_record_find(record, "fc");
    assert_float_equal(conv->scale_d, 0.5f, 0);
    assert_int_equal(conv->offset_d, -8); /* 120 of 0 to 255 */
    assert_int_equal(conv->n_scale_w, 2);
    assert_float_equal(conv->scale_w[1], 0.2f, 0);
    assert_float_equal(fc->scale_d, 0.25f, 0);
    assert_int_equal(fc->offset_d, -3);
    assert_int_equal(fc->n_scale_w, 1);
    qf_message_free(record);
    assert_ok(context, qf_net_param_read_binary(context, "n.caffemodel", &weights));
    const Caffe__LayerParameter *layer = qf_find_layer(weights, "conv");
    assert_float_equal(layer->blobs[0]->data[0], -12.7f, 1e-6);
    layer = qf_find_layer(weights, "fc"); /* 2 x 4, on the grid, within its bounds */
    static const float expected[] = {1, 0.25f, 0, -16, -1, 9, 0.25f, 2};
    for (int i = 0; i < 8; i++)
        assert_float_equal(layer->blobs[0]->data[i], expected[i], 0);
    qf_message_free(weights);
    assert_ok(context,
              qf_convert_model(context, "n.prototxt", "n.caffemodel", "n_record.txt", "q"));
}

/* What AMCT's record cannot say is left out, and counted. */
static void other_ranges_are_counted(void **state)
{
    (void)state;
    char *graph = with_product(" initializer { name: 'sp' data_type: 1 dims: 2 float_data: 0.1 "
                               "float_data: 0.2 } initializer { name: 'zp' data_type: 3 dims: 2 "
                               "int32_data: 0 int32_data: 0 }");
    char *text = model_text(13, "1 1 1 2", graph);
    qf_onnx_import *imported;
    write_model("m.onnx", text);
    assert_ok(context, qf_import_onnx(context, "m.onnx", "n", NULL, &imported));
    assert_int_equal(imported->ranges, 1);
    assert_int_equal(imported->lost_ranges, 1);
    qf_onnx_import_destroy(imported);
    qf_free(text);
    qf_free(graph);
}

/* ---- the table ---- */

static void operators_are_documented(void **state)
{
    (void)state;
    const char *type, *before = "";
    qf_buffer text = {0};
    char *path = test_format("%s/docs/onnx-import.md", QAFFE_SOURCE_DIR);
    assert_ok(context, qf_file_read_text(context, path, &text));
    for (size_t i = 0; (type = qf_import_operator_type(i)); i++) {
        char *word = test_format("`%s`", type);
        if (!strstr(text.data, word))
            fail_msg("docs/onnx-import.md lacks %s", word);
        assert_true(strcmp(before, type) < 0); /* it is searched by halves */
        before = type;
        qf_free(word);
    }
    qf_free(path);
    qf_buffer_release(&text);
}

/* ---- what is refused ---- */

static void models_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *shape, *graph, *part;
        int opset;
    } refusals[] = {
        {"1 2", "node { op_type: 'Erf' name: 'e' input: 'x' output: 'y' }",
         "node 'e' (Erf): there is no Caffe layer", 13},
        {"1 2", "node { op_type: 'Relu' input: 'x' output: 'y' domain: 'my.own' }",
         "node 'y' (Relu): operators of domain my.own", 13},
        {"1 2", "node { op_type: 'Relu' input: 'x' output: 'y' }", "operator set 6", 6},
        {"1 2", "node { op_type: 'Relu' input: 'z' output: 'y' }", "it reads 'z'", 13},
        {"1 2",
         "node { op_type: 'Add' name: 'a' input: 'x' input: 'b' output: 'y' } "
         "node { op_type: 'Relu' input: 'y' output: 'b' }",
         "node 'a' (Add): it reads 'b'", 13}, /* a circle */
        {"1 2", "node { op_type: 'Relu' input: 'x' output: 'x' }", "the name 'x' twice", 13},
        {"1 2", "node { op_type: 'Relu' input: 'x' output: 'z' }", "no node makes the output 'y'",
         13},
        {"1 2", "node { op_type: 'Relu' output: 'y' }", "input 0 is missing", 13},
        {"1 2", "node { op_type: 'Relu' input: 'x' }", "it has no output", 13},
        {"1 1 2 2",
         "node { op_type: 'Conv' input: 'x' input: 'w' output: 'y' } initializer { name: 'w' "
         "data_type: 1 dims: 1 dims: 3 dims: 1 dims: 1 float_data: 1 float_data: 1 float_data: 1 }",
         "its weights do not fit an input of 1 channels", 13},
        {"1 1 2 2",
         "node { op_type: 'Conv' input: 'x' input: 'w' output: 'y' } initializer { name: 'w' "
         "data_type: 1 dims: 1 dims: 1 dims: 9 dims: 9 float_data: 1 }",
         "tensor 'w' has 1 elements, its dimensions ask for 81", 13},
        {"1 2",
         "node { op_type: 'Add' input: 'x' input: 'w' output: 'y' } initializer { name: 'w' "
         "data_type: 1 dims: 100000 dims: 100000 dims: 100000 }",
         "tensor 'w': a tensor of the model has 10000000000 elements", 13},
        {"1 2",
         "node { op_type: 'Add' input: 'x' input: 'w' output: 'y' } initializer { name: 'w' "
         "data_type: 8 dims: 1 string_data: 'no' }",
         "tensor 'w' has elements of type 8", 13},
        {"1 2",
         "node { op_type: 'ConstantOfShape' input: 's' output: 'c' } "
         "node { op_type: 'Add' input: 'x' input: 'c' output: 'y' } initializer { name: 's' "
         "data_type: 7 dims: 1 int64_data: -5 }",
         "axis 0 of a shape has -5 elements", 13},
        {"1 4",
         "node { op_type: 'Reshape' name: 'r' input: 'x' input: 's' output: 'y' } "
         "initializer { name: 's' data_type: 7 dims: 2 int64_data: 3 int64_data: -1 }",
         "node 'r' (Reshape): 4 elements cannot have the shape", 13},
        {"1 4", "node { op_type: 'Reshape' name: 'r' input: 'x' input: 'x' output: 'y' }",
         "node 'r' (Reshape): input 1, 'x', follows from the data", 13},
        {"1 2",
         "node { op_type: 'Div' input: 'a' input: 'a' output: 'b' } "
         "node { op_type: 'Add' input: 'x' input: 'b' output: 'y' } initializer { name: 'a' "
         "data_type: 7 dims: 1 int64_data: 0 }",
         "it divides by 0", 13},
        {"1 2",
         "node { op_type: 'ConstantOfShape' input: 's' output: 'c' } "
         "node { op_type: 'Resize' input: 'c' input: '' input: 'z' output: 'y' } initializer { "
         "name: 's' data_type: 7 dims: 4 int64_data: 1 int64_data: 1 int64_data: 0 int64_data: 2 } "
         "initializer { name: 'z' data_type: 1 dims: 4 float_data: 1 float_data: 1 float_data: 2 "
         "float_data: 2 }",
         "it makes a blob without elements", 13},
        {"1 1 4 4",
         "node { op_type: 'ConvTranspose' name: 't' input: 'x' input: 'w' output: 'y' attribute { "
         "name: 'strides' ints: 100000 ints: 100000 } } initializer { name: 'w' data_type: 1 dims: "
         "1 dims: 1 dims: 1 dims: 1 float_data: 1 }",
         "elements", 13},
        {"1 1 4 4",
         "node { op_type: 'MaxPool' name: 'p' input: 'x' output: 'y' output: 'i' "
         "attribute { name: 'kernel_shape' ints: 2 ints: 2 } }",
         "node 'p' (MaxPool): its second output", 13},
        {"1 1 4 4",
         "node { op_type: 'MaxPool' input: 'x' output: 'y' "
         "attribute { name: 'kernel_shape' ints: -2 ints: 2 } }",
         "kernel_shape is -2", 13},
        {"1 1 4 4",
         "node { op_type: 'Resize' input: 'x' input: '' input: 's' output: 'y' attribute { name: "
         "'mode' s: 'cubic' } } initializer { name: 's' data_type: 1 dims: 4 float_data: 1 "
         "float_data: 1 float_data: 2 float_data: 2 }",
         "its mode is neither nearest nor linear", 13},
        {"1 2",
         "node { op_type: 'QuantizeLinear' input: 'x' input: 's' output: 'q' } "
         "node { op_type: 'Relu' name: 'r' input: 'q' output: 'y' } initializer { name: 's' "
         "data_type: 1 float_data: 1 }",
         "node 'r' (Relu): 'q' are the codes of a QuantizeLinear", 13},
        {"1 2",
         "node { op_type: 'QuantizeLinear' input: 'x' input: 's' output: 'y' } initializer { name: "
         "'s' data_type: 1 float_data: nan }",
         "scale 0 is nan", 13},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        assert_fails(context, import(refusals[i].shape, refusals[i].opset, refusals[i].graph, NULL),
                     refusals[i].part);
        assert_false(qf_file_exists("n.prototxt"));
        assert_false(qf_file_exists("n.caffemodel"));
    }
}

static void arguments_are_checked(void **state)
{
    (void)state;
    qf_onnx_import *imported;
    qf_import_options options = {0};
    char *text = model_text(13, "1 2", "node { op_type: 'Relu' input: 'x' output: 'y' }");
    write_model("m.onnx", text);
    assert_fails(context, qf_import_onnx(context, "m.onnx", "", NULL, &imported), "is no name");
    assert_fails(context, qf_import_onnx(context, "m.onnx", "d/", NULL, &imported), "is no name");
    assert_fails(context, qf_import_onnx(context, "none.onnx", "n", NULL, &imported), "none.onnx");
    assert_fails(context, qf_import_onnx(context, "m.onnx", "n", &options, &imported), "size");
    write_model("n.prototxt", text); /* would be written over */
    assert_fails(context, qf_import_onnx(context, "n.prototxt", "n", NULL, &imported),
                 "would be written over");
    assert_null(imported);
    qf_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_refused),      cmocka_unit_test(operators_are_documented),
        cmocka_unit_test(nodes_compute_the_same),  cmocka_unit_test(an_open_batch_is_given),
        cmocka_unit_test(ranges_go_into_a_record), cmocka_unit_test(other_ranges_are_counted),
        cmocka_unit_test(arguments_are_checked),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
