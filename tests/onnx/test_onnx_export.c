/* What is in an exported file: shapes with a free batch, Caffe's windows, integers and scales; and
 * the comparison of what it means. scripts/onnx_runtimes.py runs such files elsewhere. */
#include "harness/fixture.h"
#include "harness/ptq_net.h"
#include "onnx/onnx_file.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char *const no_shape = NULL;

/* ---- looking at a file ---- */

static Onnx__Model *read_model(const char *path)
{
    Onnx__Model *model;
    assert_ok(context, qf_onnx_read(context, path, &model));
    return model;
}

/* The `index`-th node of a type; NULL: there are fewer. */
static const Onnx__Node *node_of(const Onnx__Model *model, const char *type, int index)
{
    for (size_t n = 0; n < model->graph->n_node; n++)
        if (strcmp(model->graph->node[n]->op_type, type) == 0 && index-- == 0)
            return model->graph->node[n];
    return NULL;
}

static const Onnx__Node *maker_of(const Onnx__Model *model, const char *value)
{
    for (size_t n = 0; n < model->graph->n_node; n++)
        if (strcmp(model->graph->node[n]->output[0], value) == 0)
            return model->graph->node[n];
    fail_msg("no node makes %s", value);
    return NULL;
}

static const Onnx__Tensor *constant(const Onnx__Model *model, const char *name)
{
    for (size_t i = 0; i < model->graph->n_initializer; i++)
        if (strcmp(model->graph->initializer[i]->name, name) == 0)
            return model->graph->initializer[i];
    fail_msg("no initialiser %s", name);
    return NULL;
}

static const Onnx__Attribute *attribute(const Onnx__Node *node, const char *name)
{
    assert_non_null(node);
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(node->attribute[i]->name, name) == 0)
            return node->attribute[i];
    fail_msg("%s has no %s", node->name, name);
    return NULL;
}

static void expect_ints(const Onnx__Node *node, const char *name, const int64_t *values,
                        size_t count)
{
    const Onnx__Attribute *found = attribute(node, name);
    assert_int_equal(found->n_ints, count);
    assert_memory_equal(found->ints, values, count * sizeof *values);
}

/* "batch x 4 x 6 x 6" */
static void expect_shape(const Onnx__Value *value, const char *name, const char *expected)
{
    const Onnx__Shape *shape = value->type->tensor_type->shape;
    qf_buffer text = {0};
    for (size_t i = 0; i < shape->n_dim; i++)
        if (shape->dim[i]->value_case == ONNX__SHAPE__DIMENSION__VALUE_DIM_PARAM)
            qf_buffer_print(&text, "%s%s", i ? " x " : "", shape->dim[i]->dim_param);
        else
            qf_buffer_print(&text, "%s%d", i ? " x " : "", (int)shape->dim[i]->dim_value);
    assert_string_equal(value->name, name);
    assert_string_equal(qf_buffer_text(&text), expected);
    qf_buffer_release(&text);
}

/* ---- float nets ---- */

/* Fillers make all but the factors of DeQuant layers. */
static void give_steps(qf_net *net)
{
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        float *steps;
        if (strcmp(qf_net_layer_type(net, l), "DeQuant") != 0)
            continue;
        qf_blob *blob = qf_net_layer_param(net, l, 0);
        assert_ok(context, qf_blob_mutable_data(blob, &steps));
        for (size_t i = 0; i < qf_blob_count(blob); i++)
            steps[i] = 0.01f;
    }
}

static qf_onnx_result export_text(const char *text, const char *shapes)
{
    qf_onnx_options options = {.size = sizeof options};
    qf_onnx_result *found;
    qf_net *net;
    qf_onnx_set_defaults(&options);
    options.shapes = shapes;
    assert_ok(context, qf_file_write(context, "net.prototxt", text, strlen(text), 0644));
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    give_steps(net);
    assert_ok(context, qf_net_save_weights(net, "f.caffemodel"));
    qf_net_destroy(net);
    assert_ok(context, qf_export_onnx(context, "net.prototxt", "f.caffemodel", "net.onnx", &options,
                                      NULL, NULL, NULL, &found));
    const qf_onnx_result result = *found;
    qf_onnx_result_destroy(found);
    return result;
}

#define INPUT(dims)                                                                                \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { " dims " } } }\n"
#define LAYER(name, type, from, to, more)                                                          \
    "layer { name: '" name "' type: '" type "' bottom: '" from "' top: '" to "' " more " }\n"

/* Sizes follow the batch through all that changes shapes. */
static void the_batch_stays_open(void **state)
{
    (void)state;
    const qf_onnx_result result = export_text(
        INPUT("dim: 3 dim: 4 dim: 6 dim: 6") LAYER("f", "Flatten", "x", "f", "")
            LAYER("r", "Reshape", "x", "r",
                  "reshape_param { shape { dim: 0 dim: 2 dim: "
                  "-1 dim: 3 } }")
                LAYER("ip", "InnerProduct", "x", "ip", "inner_product_param { num_output: 5 }")
                    LAYER("p", "Permute", "x", "p",
                          "permute_param { order: 0 order: 2 order: 3 order: 1 }")
                        LAYER("fp", "Flatten", "p", "fp", "flatten_param { axis: 1 end_axis: 2 }")
                            LAYER("ia", "InnerProduct", "x", "ia",
                                  "inner_product_param { num_output: 7 axis: 2 }"),
        no_shape);
    Onnx__Model *model = read_model("net.onnx");
    const Onnx__Graph *graph = model->graph;
    assert_true(result.free_batch);
    assert_int_equal(graph->n_input, 1);
    expect_shape(graph->input[0], "x", "batch x 4 x 6 x 6");
    static const char *const outputs[][2] = {
        {"f", "batch x 144"},     {"r", "batch x 2 x 24 x 3"}, {"ip", "batch x 5"},
        {"fp", "batch x 36 x 4"}, {"ia", "batch x 4 x 7"},
    };
    assert_int_equal(graph->n_output, sizeof outputs / sizeof *outputs);
    for (size_t i = 0; i < graph->n_output; i++)
        expect_shape(graph->output[i], outputs[i][0], outputs[i][1]);
    qf_message_free(model);
}

static void a_named_batch_is_kept(void **state)
{
    (void)state;
    const qf_onnx_result result = export_text(
        INPUT("dim: 1 dim: 4 dim: 6 dim: 6")
            LAYER("r", "Reshape", "x", "r", "reshape_param { shape { dim: 1 dim: 144 } }"),
        no_shape);
    Onnx__Model *model = read_model("net.onnx");
    assert_false(result.free_batch);
    expect_shape(model->graph->input[0], "x", "1 x 4 x 6 x 6");
    expect_shape(model->graph->output[0], "r", "1 x 144");
    qf_message_free(model);
}

/* In place: only the last value of a blob has its name. */
static void blobs_name_their_last_value(void **state)
{
    (void)state;
    export_text(INPUT("dim: 2 dim: 3")
                    LAYER("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 4 }")
                        LAYER("relu", "ReLU", "y", "y", "") LAYER("drop", "Dropout", "y", "y", ""),
                no_shape);
    Onnx__Model *model = read_model("net.onnx");
    assert_int_equal(model->graph->n_node, 2);
    assert_string_equal(node_of(model, "Gemm", 0)->output[0], "y.ip");
    assert_string_equal(node_of(model, "Relu", 0)->input[0], "y.ip");
    expect_shape(model->graph->output[0], "y", "batch x 4");
    assert_string_equal(node_of(model, "Relu", 0)->output[0], "y");
    qf_message_free(model);
}

/* Outputs have the names of the net's outputs, also where a layer only passes a value on; an input
 * keeps its own. */
static void outputs_are_the_nets(void **state)
{
    (void)state;
    export_text(INPUT("dim: 2 dim: 3")
                    LAYER("ip", "InnerProduct", "x", "ip", "inner_product_param { num_output: 4 }")
                        LAYER("drop", "Dropout", "ip", "drop", "")
                            LAYER("sum", "Reduction", "ip", "sum", "reduction_param { axis: 1 }"),
                no_shape);
    Onnx__Model *model = read_model("net.onnx");
    assert_int_equal(model->graph->n_output, 2);
    expect_shape(model->graph->output[0], "drop", "batch x 4");
    expect_shape(model->graph->output[1], "sum", "batch");
    assert_string_equal(maker_of(model, "drop")->op_type, "Identity");
    qf_message_free(model);
    export_text(INPUT("dim: 2 dim: 3") LAYER("relu", "ReLU", "x", "x", ""), no_shape);
    model = read_model("net.onnx");
    expect_shape(model->graph->input[0], "x", "batch x 3");
    expect_shape(model->graph->output[0], "x.relu", "batch x 3");
    qf_message_free(model);
}

/* Windows of 3 at steps of 2 over 6 pixels: three, the last of 2 pixels. */
static void windows_are_caffes(void **state)
{
    (void)state;
    export_text(INPUT("dim: 1 dim: 2 dim: 6 dim: 6") LAYER(
                    "max", "Pooling", "x", "max", "pooling_param { kernel_size: 3 stride: 2 }")
                    LAYER("ave", "Pooling", "x", "ave",
                          "pooling_param { pool: AVE kernel_size: 3 stride: 2 }")
                        LAYER("pad", "Pooling", "x", "pad",
                              "pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 }")
                            LAYER("all", "Pooling", "x", "all",
                                  "pooling_param { pool: AVE global_pooling: true }"),
                no_shape);
    Onnx__Model *model = read_model("net.onnx");
    expect_shape(model->graph->output[0], "max", "batch x 2 x 3 x 3");
    expect_ints(maker_of(model, "max"), "pads", (int64_t[]){0, 0, 1, 1}, 4);
    const Onnx__Node *factor = maker_of(model, "ave"), *mean = maker_of(model, factor->input[0]);
    expect_ints(mean, "pads", (int64_t[]){0, 0, 1, 1}, 4);
    assert_int_equal(attribute(mean, "count_include_pad")->i, 1);
    assert_string_equal(factor->op_type, "Mul");
    /* 9 pixels are divided by 9, 6 and 4. */
    static const float factors[] = {1, 1, 1.5f, 1, 1, 1.5f, 1.5f, 1.5f, 2.25f};
    assert_memory_equal(constant(model, factor->input[1])->raw_data.data, factors, sizeof factors);
    /* With padding the windows cover it all: nothing to correct. */
    assert_string_equal(maker_of(model, "pad")->op_type, "AveragePool");
    expect_ints(maker_of(model, "pad"), "pads", (int64_t[]){1, 1, 1, 1}, 4);
    assert_string_equal(maker_of(model, "all")->op_type, "GlobalAveragePool");
    qf_message_free(model);
}

/* Data layers become inputs, labels go, the loss becomes its answers. */
static void a_net_to_train_is_reduced(void **state)
{
    (void)state;
    export_text("layer { name: 'd' type: 'DummyData' top: 'data' top: 'label' dummy_data_param { "
                "shape { dim: 4 dim: 3 } shape { dim: 4 } } }\n" LAYER(
                    "ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 5 }")
                    LAYER("loss", "SoftmaxWithLoss", "ip", "loss", "bottom: 'label'")
                        LAYER("acc", "Accuracy", "ip", "acc", "bottom: 'label'"),
                no_shape);
    Onnx__Model *model = read_model("net.onnx");
    assert_int_equal(model->graph->n_input, 1);
    expect_shape(model->graph->input[0], "data", "batch x 3");
    assert_int_equal(model->graph->n_output, 1);
    expect_shape(model->graph->output[0], "prob", "batch x 5");
    assert_string_equal(maker_of(model, "prob")->op_type, "Softmax");
    qf_message_free(model);
    /* Another size, without opening the data. */
    export_text(INPUT("dim: 1 dim: 2 dim: 4 dim: 4") LAYER("r", "ReLU", "x", "r", ""), "x=7x2x5x5");
    model = read_model("net.onnx");
    expect_shape(model->graph->input[0], "x", "batch x 2 x 5 x 5");
    qf_message_free(model);
}

/* Above the limit tensors lie beside the model: here the factors of 100 x 100 windows. */
static void large_models_lie_in_two_files(void **state)
{
    (void)state;
    export_text(INPUT("dim: 1 dim: 1 dim: 200 dim: 200")
                    LAYER("ave", "Pooling", "x", "ave",
                          "pooling_param { pool: AVE kernel_size: 3 stride: 2 }"),
                no_shape);
    Onnx__Model *whole = read_model("net.onnx");
    qf_onnx_result *found;
    qf_context *small = test_context();
    assert_false(qf_file_exists("net.onnx.data"));
    assert_ok(small, qf_context_set_limit(small, "file_bytes", 20000));
    assert_ok(small, qf_export_onnx(small, "net.prototxt", "f.caffemodel", "net.onnx", NULL, NULL,
                                    NULL, NULL, &found));
    qf_onnx_result_destroy(found);
    qf_context_destroy(small);
    assert_true(qf_file_exists("net.onnx.data"));
    Onnx__Model *apart = read_model("net.onnx");
    const Onnx__Tensor *a = constant(whole, "ave.factor"), *b = constant(apart, "ave.factor");
    assert_int_equal(a->raw_data.len, 40000);
    assert_int_equal(b->raw_data.len, 40000);
    assert_memory_equal(a->raw_data.data, b->raw_data.data, 40000);
    qf_message_free(whole);
    qf_message_free(apart);
}

/* ---- quantised nets ---- */

static void make_quantised(void)
{
    qf_quant_graph *graph;
    test_ptq_prepare("config.json");
    test_ptq_fill_record("record.txt", true);
    assert_ok(context, qf_quant_open(context, "config.json", "net.prototxt", "net.caffemodel",
                                     "record.txt", &graph));
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "m"));
    qf_quant_graph_destroy(graph);
}

static qf_onnx_result export_with(const char *model, const char *weights, const char *file,
                                  bool is_signed, bool keep_shift, int batches)
{
    qf_onnx_options options = {.size = sizeof options};
    qf_onnx_result *found;
    qf_onnx_set_defaults(&options);
    options.signed_activations = is_signed;
    options.keep_shift = keep_shift;
    options.verify_batches = batches;
    assert_ok(context,
              qf_export_onnx(context, model, weights, file, &options, NULL, NULL, NULL, &found));
    const qf_onnx_result result = *found;
    qf_onnx_result_destroy(found);
    return result;
}

static qf_onnx_result export_quantised(const char *model, const char *weights, const char *file,
                                       bool is_signed, int batches)
{
    return export_with(model, weights, file, is_signed, false, batches);
}

/* Either model gives the very same file. */
static void both_models_are_one_file(void **state)
{
    (void)state;
    qf_buffer fake = {0}, deploy = {0};
    make_quantised();
    export_quantised("m_fake_quant_model.prototxt", "m_fake_quant_weights.caffemodel", "fake.onnx",
                     false, 0);
    export_quantised("m", NULL, "deploy.onnx", false, 0);
    assert_ok(context, qf_file_read(context, "fake.onnx", &fake));
    assert_ok(context, qf_file_read(context, "deploy.onnx", &deploy));
    assert_int_equal(fake.size, deploy.size);
    assert_memory_equal(fake.data, deploy.data, fake.size);
    qf_buffer_release(&fake);
    qf_buffer_release(&deploy);
}

static float float_at(const Onnx__Tensor *tensor, size_t index)
{
    float value;
    memcpy(&value, tensor->raw_data.data + index * sizeof value, sizeof value);
    return value;
}

/* Scales, types and axes of a convolution and of what stands in front of it. */
static void integers_are_where_runtimes_look(void **state)
{
    (void)state;
    make_quantised();
    const qf_onnx_result result = export_quantised("m", NULL, "m.onnx", false, 0);
    Onnx__Model *model = read_model("m.onnx");
    const Onnx__Node *conv = node_of(model, "Conv", 0);
    const Onnx__Node *x = maker_of(model, conv->input[0]), *w = maker_of(model, conv->input[1]),
                     *b = maker_of(model, conv->input[2]);
    assert_string_equal(x->op_type, "DequantizeLinear");
    assert_string_equal(maker_of(model, x->input[0])->op_type, "QuantizeLinear");
    assert_int_equal(constant(model, x->input[2])->data_type, ONNX__TENSOR__DATA_TYPE__UINT8);
    assert_string_equal(w->op_type, "DequantizeLinear");
    assert_int_equal(attribute(w, "axis")->i, 0);
    const Onnx__Tensor *codes = constant(model, w->input[0]), *scale = constant(model, w->input[1]),
                       *zero = constant(model, w->input[2]), *bias = constant(model, b->input[0]),
                       *bias_scale = constant(model, b->input[1]);
    assert_int_equal(codes->data_type, ONNX__TENSOR__DATA_TYPE__INT8);
    assert_int_equal(bias->data_type, ONNX__TENSOR__DATA_TYPE__INT32);
    assert_int_equal(scale->dims[0], codes->dims[0]);
    for (int64_t c = 0; c < scale->dims[0]; c++) {
        const float product =
            float_at(constant(model, x->input[1]), 0) * float_at(scale, (size_t)c);
        assert_int_equal(zero->raw_data.data[c], 0);
        assert_true(fabsf(product - float_at(bias_scale, (size_t)c)) <= 1e-6f * product);
    }
    /* A Deconvolution's channels are on axis 1. */
    const Onnx__Node *transposed = node_of(model, "ConvTranspose", 0);
    assert_int_equal(attribute(maker_of(model, transposed->input[1]), "axis")->i, 1);
    assert_true(result.quantised > 3);
    qf_message_free(model);
}

#define QUANTISED(name, from, kernel)                                                              \
    LAYER(name "_quant", "Quant", from, name "_quant",                                             \
          "quant_param { with_offset: true scale: 50 offset: '\\006' object_layer: '" name "' }")  \
    LAYER(name, "Convolution", name "_quant", name,                                                \
          "convolution_param { num_output: 4 kernel_size: " kernel " }")                           \
    LAYER(name "_dequant", "DeQuant", name, name,                                                  \
          "dequant_param { channel_wise: true object_layer: '" name "' }")                         \
    LAYER(name "_slopes", "PReLU", name, name, "")

/* PRelu behind an integer convolution that puts out one pixel is written in parts, which OpenVINO
 * computes rightly. */
static void slopes_of_a_pixel_are_in_parts(void **state)
{
    (void)state;
    export_text(INPUT("dim: 1 dim: 4 dim: 3 dim: 3") QUANTISED("wide", "x", "1")
                    QUANTISED("pixel", "wide", "3")
                        LAYER("float", "Convolution", "pixel", "float",
                              "convolution_param { num_output: 4 kernel_size: 1 }")
                            LAYER("float_slopes", "PReLU", "float", "y", ""),
                no_shape);
    Onnx__Model *model = read_model("net.onnx");
    const Onnx__Node *wide = node_of(model, "PRelu", 0), *of_floats = node_of(model, "PRelu", 1);
    assert_string_equal(maker_of(model, wide->input[0])->name, "wide.3");
    assert_string_equal(of_floats->output[0], "y");
    assert_null(node_of(model, "PRelu", 2));
    const Onnx__Node *above = node_of(model, "Relu", 0), *below = node_of(model, "Sub", 0),
                     *sum = node_of(model, "Add", 0);
    assert_string_equal(maker_of(model, above->input[0])->name, "pixel.3");
    assert_string_equal(below->input[0], above->input[0]);
    assert_string_equal(below->input[1], above->output[0]);
    assert_string_equal(maker_of(model, sum->input[1])->input[0], below->output[0]);
    assert_string_equal(sum->output[0], "pixel");
    qf_message_free(model);
}

/* Symmetric int8: zero points 0, and a range on one side half as fine. */
static void signed_codes_are_symmetric(void **state)
{
    (void)state;
    make_quantised();
    export_quantised("m", NULL, "u8.onnx", false, 0);
    export_quantised("m", NULL, "s8.onnx", true, 0);
    Onnx__Model *u8 = read_model("u8.onnx"), *s8 = read_model("s8.onnx");
    int one_sided = 0;
    for (int i = 0; node_of(u8, "QuantizeLinear", i); i++) {
        const Onnx__Node *a = node_of(u8, "QuantizeLinear", i),
                         *b = node_of(s8, "QuantizeLinear", i);
        const Onnx__Tensor *zero = constant(s8, b->input[2]);
        const float before = float_at(constant(u8, a->input[1]), 0);
        const float now = float_at(constant(s8, b->input[1]), 0);
        const int offset = constant(u8, a->input[2])->raw_data.data[0];
        assert_int_equal(zero->data_type, ONNX__TENSOR__DATA_TYPE__INT8);
        assert_int_equal(zero->raw_data.data[0], 0);
        one_sided += offset == 0;
        const float expected =
            offset == 128 ? before
                          : before * fmaxf((float)offset / 128, (float)(255 - offset) / 127);
        assert_true(fabsf(now - expected) <= 1e-6f * expected);
    }
    assert_true(one_sided > 0);
    qf_message_free(u8);
    qf_message_free(s8);
}

/* What the file means is close to the model, and not the very same: it has no shift. */
static void the_comparison_counts(void **state)
{
    (void)state;
    make_quantised();
    const qf_onnx_result of_deploy = export_quantised("m", NULL, "m.onnx", false, 2);
    const qf_onnx_result of_fake = export_quantised(
        "m_fake_quant_model.prototxt", "m_fake_quant_weights.caffemodel", "f.onnx", false, 2);
    assert_int_equal(of_deploy.batches, 2);
    assert_int_equal(of_deploy.answers, 16);
    assert_true(of_deploy.codes > 1000);
    assert_true(of_deploy.differing_codes > 0);
    assert_true(of_deploy.differing_codes < of_deploy.codes / 10);
    assert_true(of_deploy.differing_answers <= 1);
    assert_int_equal(of_deploy.codes, of_fake.codes);
    assert_int_equal(of_deploy.differing_codes, of_fake.differing_codes);
}

/* With its shift the file answers as the model does, up to ties and the last bits of float sums. */
static void the_shift_can_be_kept(void **state)
{
    (void)state;
    make_quantised();
    const qf_onnx_result without = export_quantised("m", NULL, "m.onnx", false, 2);
    const qf_onnx_result with = export_with("m", NULL, "shift.onnx", false, true, 2);
    const qf_onnx_result fake = export_with(
        "m_fake_quant_model.prototxt", "m_fake_quant_weights.caffemodel", "f.onnx", false, true, 2);
    Onnx__Model *model = read_model("shift.onnx");
    assert_non_null(node_of(model, "Floor", 0));
    qf_message_free(model);
    model = read_model("m.onnx");
    assert_null(node_of(model, "Floor", 0));
    qf_message_free(model);
    assert_int_equal(with.codes, without.codes);
    assert_true(with.differing_codes < without.differing_codes / 4);
    assert_int_equal(with.differing_codes, fake.differing_codes);
    assert_int_equal(with.differing_answers, 0);
}

static void float_models_need_no_comparison(void **state)
{
    (void)state;
    qf_onnx_options options = {.size = sizeof options};
    qf_onnx_result *found;
    qf_onnx_set_defaults(&options);
    options.verify_batches = 1;
    assert_fails(context,
                 qf_export_onnx(context, "net.prototxt", "net.caffemodel", "no.onnx", &options,
                                NULL, NULL, NULL, &found),
                 "is a float model");
    assert_false(qf_file_exists("no.onnx"));
}

/* Without weights the model is a prefix; what it is not is said. */
static void prefixes_are_looked_for(void **state)
{
    (void)state;
    qf_onnx_result *found;
    assert_fails(context,
                 qf_export_onnx(context, "none", NULL, "no.onnx", NULL, NULL, NULL, NULL, &found),
                 "none_deploy_model.prototxt is missing: is none the prefix");
    assert_fails(
        context,
        qf_export_onnx(context, "net.prototxt", NULL, "no.onnx", NULL, NULL, NULL, NULL, &found),
        "net.prototxt is a file: say where its weights are");
}

/* A model that trains is none to export. */
static void models_that_measure_are_refused(void **state)
{
    (void)state;
    qf_onnx_result *found;
    test_ptq_prepare("config.json");
    assert_int_equal(qf_export_onnx(context, "cal.prototxt", "cal.caffemodel", "no.onnx", NULL,
                                    NULL, NULL, NULL, &found),
                     QF_E_UNSUPPORTED);
    assert_non_null(strstr(qf_error_text(context), "export the fake-quant or the deploy model"));
}

int main(void)
{
    const struct CMUnitTest float_nets[] = {
        cmocka_unit_test(the_batch_stays_open),
        cmocka_unit_test(a_named_batch_is_kept),
        cmocka_unit_test(blobs_name_their_last_value),
        cmocka_unit_test(outputs_are_the_nets),
        cmocka_unit_test(windows_are_caffes),
        cmocka_unit_test(a_net_to_train_is_reduced),
        cmocka_unit_test(large_models_lie_in_two_files),
        cmocka_unit_test(slopes_of_a_pixel_are_in_parts),
    };
    const struct CMUnitTest quantised_nets[] = {
        cmocka_unit_test(both_models_are_one_file),
        cmocka_unit_test(integers_are_where_runtimes_look),
        cmocka_unit_test(signed_codes_are_symmetric),
        cmocka_unit_test(the_comparison_counts),
        cmocka_unit_test(the_shift_can_be_kept),
        cmocka_unit_test(float_models_need_no_comparison),
        cmocka_unit_test(models_that_measure_are_refused),
        cmocka_unit_test(prefixes_are_looked_for),
    };
    const int failed =
        cmocka_run_group_tests(float_nets, test_start_in_folder, test_stop_in_folder);
    return failed + cmocka_run_group_tests(quantised_nets, test_ptq_start, test_stop_in_folder);
}
