/* The files that trials read. */
#include "faults/trials_inputs.h"

#include "data/images/image_encode.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "onnx/onnx_file.h"

#include "qaffe/qaffe.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NET                                                                                        \
    "name: 'small' force_backward: true "                                                          \
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' data_param { source: 'train_lmdb' "      \
    "batch_size: 4 backend: LMDB } transform_param { scale: 0.01 } }"                              \
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: "  \
    "4 kernel_size: 5 stride: 3 weight_filler { type: 'msra' } } }"                                \
    "layer { name: 'b' type: 'BatchNorm' bottom: 'c' top: 'c' }"                                   \
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }"                                        \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c' top: 'ip' inner_product_param { "         \
    "num_output: 10 weight_filler { type: 'xavier' } } }"                                          \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }"
#define MEMORY_NET                                                                                 \
    "layer { name: 'd' type: 'MemoryData' top: 'x' top: 'label' memory_data_param { batch_size: "  \
    "2 channels: 1 height: 6 width: 6 } }"                                                         \
    "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'p' pooling_param { kernel_size: 2 "       \
    "stride: 2 } }"
#define INPUT(shape)                                                                               \
    "force_backward: true layer { name: 'in' type: 'Input' top: 'x' input_param { shape { " shape  \
    " } } }"
#define PLAIN_NET                                                                                  \
    INPUT("dim: 2 dim: 2 dim: 6 dim: 6")                                                           \
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: "  \
    "3 kernel_size: 3 weight_filler { type: 'xavier' } } }"                                        \
    "layer { name: 'y' type: 'TanH' bottom: 'c' top: 'y' }"
#define PYTHON_NET                                                                                 \
    INPUT("dim: 2 dim: 3")                                                                         \
    "layer { name: 'p' type: 'Python' bottom: 'x' top: 'y' python_param { module: 'm' layer: "     \
    "'L' param_str: 'text' } }"
#define OLD_NET                                                                                    \
    "layers { name: 'd' type: DATA top: 'x' data_param { source: 'train_lmdb' batch_size: 5 } } "  \
    "layers { name: 'ip' type: INNER_PRODUCT bottom: 'x' top: 'ip' inner_product_param { "         \
    "num_output: 3 } blobs_lr: 1 }"
#define THICK_NET                                                                                  \
    INPUT("dim: 1 dim: 2 dim: 8 dim: 8")                                                           \
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' param { name: 'w' } "              \
    "convolution_param { num_output: 3 kernel_size: 8 weight_filler { type: 'xavier' } } }"
#define ONNX_MODEL                                                                                 \
    "ir_version: 8 opset_import { version: 13 } graph { name: 'g' "                                \
    "node { op_type: 'QuantizeLinear' input: 'x' input: 's' output: 'c' } "                        \
    "node { op_type: 'DequantizeLinear' input: 'c' input: 's' output: 'q' } "                      \
    "node { op_type: 'DequantizeLinear' input: 'w' input: 's' output: 'v' } "                      \
    "node { op_type: 'Conv' input: 'q' input: 'v' output: 'a' } "                                  \
    "node { op_type: 'Relu' input: 'a' output: 'b' } "                                             \
    "node { op_type: 'Shape' input: 'b' output: 'd' } "                                            \
    "node { op_type: 'Split' input: 'b' output: 'e' output: 'f' attribute { name: 'axis' i: 1 } }" \
    "node { op_type: 'Reshape' input: 'e' input: 'd2' output: 'y' } "                              \
    "node { op_type: 'Gather' input: 'd' input: 'i' output: 'z' } "                                \
    "initializer { name: 's' data_type: 1 float_data: 0.5 } "                                      \
    "initializer { name: 'w' data_type: 3 dims: 2 dims: 1 dims: 1 dims: 1 int32_data: 3 "          \
    "int32_data: -5 } "                                                                            \
    "initializer { name: 'd2' data_type: 7 dims: 2 int64_data: 0 int64_data: -1 } "                \
    "initializer { name: 'i' data_type: 7 dims: 1 int64_data: 0 } "                                \
    "input { name: 'x' type { tensor_type { elem_type: 1 shape { dim { dim_param: 'N' } "          \
    "dim { dim_value: 1 } dim { dim_value: 4 } dim { dim_value: 4 } } } } } "                      \
    "output { name: 'y' } output { name: 'z' } }"
#define SOLVER                                                                                     \
    "net: '%s' test_iter: 1 test_interval: 10 test_initialization: false base_lr: 0.001 "          \
    "lr_policy: 'fixed' max_iter: 4 snapshot_prefix: '%s' random_seed: 1 type: '%s'"
#define QUANTISATION                                                                               \
    "batch_num: 1 retrain_data_quant_config { ulq_quantize { } } "                                 \
    "retrain_weight_quant_config { arq_retrain { channel_wise: true } }"

#define CALIBRATION                                                                                \
    "batch_num: 2 skip_layers: 'ip' skip_fusion_layers: 'c' "                                      \
    "common_config { ifmr_quantize { search_step: 0.02 } } "                                       \
    "override_layer_types { layer_type: 'Convolution' calibration_config { hfmg_quantize { } } } " \
    "override_layer_configs { layer_name: 'c' calibration_config { arq_quantize { } } }"

#define FACTORS(layer, more)                                                                       \
    "record { key: '" layer                                                                        \
    "' value { scale_d: 0.01 offset_d: -3 scale_w: 0.005 offset_w: 0 " more " } } "

static void write_bytes(const char *name, const char *head, size_t head_size, size_t count,
                        int modulus)
{
    qf_buffer file = {0};
    qf_buffer_append(&file, head, head_size);
    for (size_t i = 0; i < count; i++)
        qf_buffer_append(&file, &(char){(char)(i % (size_t)modulus)}, 1);
    assert_ok(context, qf_file_write(context, name, file.data, file.size, 0644));
    qf_buffer_release(&file);
}

static void write_data_sets(void)
{
    enum { DIGITS = 6, CIFAR = 3073 };
    static const char images[] = "\0\0\10\3\0\0\0\6\0\0\0\34\0\0\0\34";
    static const char labels[] = "\0\0\10\1\0\0\0\6";
    static const char *const batches[] = {"data_batch_1.bin", "data_batch_2.bin",
                                          "data_batch_3.bin", "data_batch_4.bin",
                                          "data_batch_5.bin", "test_batch.bin"};
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 16, 8, 1));
    write_bytes("images.idx", images, sizeof images - 1, DIGITS * 28 * 28, 251);
    write_bytes("labels.idx", labels, sizeof labels - 1, DIGITS, 10);
    for (int i = 0; i < 6; i++)
        write_bytes(batches[i], "", 0, CIFAR, 241);
}

static void write_images(void)
{
    uint8_t pixels[9 * 7 * 3];
    const qf_image image = {.channels = 3,
                            .height = 9,
                            .width = 7,
                            .bytes = pixels,
                            .channel_step = 1,
                            .row_step = 7 * 3,
                            .pixel_step = 3};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 2; i++) {
        static const char *const types[] = {"png", "jpg"};
        char name[8];
        qf_buffer file = {0};
        snprintf(name, sizeof name, "%d.%s", i, types[i]);
        assert_ok(context, qf_image_encode(context, &image, types[i], &file));
        assert_ok(context, qf_file_write(context, name, file.data, file.size, 0644));
        qf_buffer_release(&file);
    }
    test_write_text(context, "list.txt", "0.png 3\n1.jpg 4\n");
    test_write_text(context, "labelmap.prototxt", "item { name: 'cat' label: 1 }");
    test_write_text(
        context, "0.xml",
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4"
        "</xmax><ymax>3</ymax></bndbox></object></annotation>");
    test_write_text(context, "0.json",
                    "{\"annotation\": [{\"category_id\": \"cat\", \"bbox\": [1, 1, 3, 2]}]}");
    test_write_text(context, "annotated.txt", "0.png 0.xml\n1.jpg 0.xml\n");
    test_write_text(context, "annotated_json.txt", "0.png 0.json\n");
}

/* `solver`.prototxt, and weights and state after `iterations` of it as given.* or trained.* */
static void train(const char *name, const char *net, const char *type, const char *weights,
                  const char *prefix)
{
    qf_solver *solver;
    char *file = test_format("%s.prototxt", name), *state = test_format("%s.solverstate", prefix);
    char *result = test_format("%s.caffemodel", prefix);
    char *text = test_format(SOLVER, net, "out/run", type);
    test_write_text(context, file, text);
    assert_ok(context, qf_solver_create(context, file, &solver));
    if (weights)
        assert_ok(context, qf_solver_load_weights(solver, weights));
    assert_ok(context, qf_solver_step(solver, 2));
    assert_ok(context, qf_solver_test_all(solver));
    assert_ok(context, qf_solver_snapshot(solver));
    assert_int_equal(rename("out/run_iter_2.caffemodel", result), 0);
    assert_int_equal(rename("out/run_iter_2.solverstate", state), 0);
    qf_solver_destroy(solver);
    qf_free(file);
    qf_free(state);
    qf_free(result);
    qf_free(text);
}

static void quantise(void)
{
    assert_ok(context, qf_create_quant_config(context, "calibration.json", "net.prototxt",
                                              "given.caffemodel", NULL));
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "given.caffemodel", "quant.cfg"));
    assert_ok(context, qf_create_quant_retrain_model(context, "net.prototxt", "given.caffemodel",
                                                     "config.json", "modified.prototxt",
                                                     "modified.caffemodel", "record.txt"));
    train("qat", "modified.prototxt", "SGD", "modified.caffemodel", "trained");
    assert_ok(context,
              qf_save_quant_retrain_model(context, "modified.prototxt", "trained.caffemodel",
                                          QF_SAVE_BOTH, "ready/m", "record.txt", "config.json"));
}

/* Roundings and biases for a net that is to be trained. */
static void learn(void)
{
    const qf_data_options data = {.size = sizeof data, .source = "test_lmdb", .scale = 1};
    qf_ptq_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_ptq_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "given.caffemodel";
    options.data = &data;
    options.save_path = "learned/m";
    options.adaround = true;
    options.adaround_iterations = 20;
    options.bias_correction = 1;
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
}

static void make_weights(const char *model, const char *weights)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, weights));
    qf_net_destroy(net);
}

static void write_onnx(void)
{
    static const char text[] = ONNX_MODEL;
    Onnx__Model *model;
    assert_ok(context, qf_text_parse(context, "given.onnx", text, sizeof text - 1,
                                     &onnx__model__descriptor, &model));
    assert_ok(context, qf_onnx_write(context, "given.onnx", model));
    qf_message_free(model);
}

int trials_start(void **state)
{
    test_start_in_folder(state);
    test_write_text(context, "net.prototxt", NET);
    test_write_text(context, "memory.prototxt", MEMORY_NET);
    test_write_text(context, "plain.prototxt", PLAIN_NET);
    test_write_text(context, "python.prototxt", PYTHON_NET);
    test_write_text(context, "old.prototxt", OLD_NET);
    test_write_text(context, "thick.prototxt", THICK_NET);
    make_weights("thick.prototxt", "thick.caffemodel");
    test_write_text(context, "quant.cfg", QUANTISATION);
    test_write_text(context, "calibration.cfg", CALIBRATION);
    test_write_text(context, "few.json",
                    "{\"version\":1, \"c\":{\"quant_enable\":true, \"weight_quant_params\":{"
                    "\"wts_algo\":\"nuq_quantize\"}}, \"ip\":{\"quant_enable\":true}}");
    test_write_text(context, "calibrated.txt",
                    FACTORS("c", "shift_bit: 4") FACTORS("ip", "shift_bit: 1"));
    test_write_text(context, "factors.txt", FACTORS("c", "") FACTORS("ip", ""));
    write_data_sets();
    write_images();
    write_onnx();
    train("solver", "net.prototxt", "Adam", NULL, "given");
    quantise();
    learn();
    return 0;
}

int trials_stop(void **state)
{
    return test_stop_in_folder(state);
}
