/* auto_decomposition: what is taken apart computes what the product of its kernels does; names,
 * parameters and files; and what is left whole. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define INPUT(channels)                                                                            \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: " channels        \
    " dim: 15 dim: 13 } } } "
#define CONVOLUTION(name, from, to, settings, more)                                                \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" to                    \
    "' convolution_param { weight_filler { type: 'xavier' } bias_filler { type: 'constant' "       \
    "value: 0.3 } " settings " } " more " } "

/* Values of the blob, with weights that are made first where there is no such file. */
static float *run(const char *model, const char *weights, const char *blob, size_t *count)
{
    qf_net *net;
    const float *values;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 1);
    assert_ok(context, qf_file_exists(weights) ? qf_net_load_weights(net, weights)
                                               : qf_net_save_weights(net, weights));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_blob *out = qf_net_blob(net, blob);
    assert_non_null(out);
    assert_ok(context, qf_blob_data(out, &values));
    *count = qf_blob_count(out);
    float *copy = qf_alloc(*count, sizeof *copy);
    memcpy(copy, values, *count * sizeof *copy);
    qf_net_destroy(net);
    return copy;
}

static void make(const char *text)
{
    size_t count;
    test_write_text(context, "net.prototxt", text);
    unlink("net.caffemodel");
    qf_context_set_seed(context, 7);
    qf_free(run("net.prototxt", "net.caffemodel", "x", &count));
}

static qf_status decompose(qf_decomposition **out)
{
    return qf_auto_decomposition(context, "net.prototxt", "net.caffemodel", "new.prototxt",
                                 "new.caffemodel", NULL, NULL, NULL, out);
}

/* How many layers of the net become two. */
static size_t decomposed(const char *text)
{
    qf_decomposition *found;
    make(text);
    assert_ok(context, decompose(&found));
    const size_t layers = found->layers;
    qf_decomposition_destroy(found);
    return layers;
}

static void outputs_agree(const char *blob, float tolerance)
{
    size_t count, after_count;
    float *before = run("net.prototxt", "net.caffemodel", blob, &count);
    float *after = run("new.prototxt", "new.caffemodel", blob, &after_count);
    assert_int_equal(count, after_count);
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(before[i] - after[i]) <= tolerance))
            fail_msg("[%zu] is %g, was %g", i, (double)after[i], (double)before[i]);
    qf_free(before);
    qf_free(after);
}

/* A matrix of 16 rows keeps its full rank, so that nothing is lost: in each of the four ways, with
 * strides and paddings of their own along each axis. */
static void full_rank_computes_the_same(void **state)
{
    static const char *const settings[] = {
        "kernel_size: 8",
        "kernel_size: 8 pad: 4 stride: 2",
        "kernel_h: 8 kernel_w: 9 stride_h: 2 stride_w: 1 pad_h: 3 pad_w: 5",
        "kernel_size: 9 kernel_size: 8 stride: 1 stride: 2 pad: 4 pad: 0",
        "kernel_h: 9 kernel_w: 8 pad_w: 2 bias_term: false",
        "kernel_size: 8 pad_type: 1 stride: 2",
        "kernel_size: 8 pad_t: 1 pad_b: 4 pad_l: 3 pad_r: 0",
        "kernel_size: 8 dilation: 1 group: 1 engine: CAFFE",
    };
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        for (int few_inputs = 0; few_inputs < 2; few_inputs++) {
            char *text =
                test_format("%s layer { name: 'c' type: 'Convolution' bottom: 'x' top: "
                            "'y' convolution_param { num_output: %d weight_filler { "
                            "type: 'xavier' } %s } }",
                            few_inputs ? INPUT("2") : INPUT("5"), few_inputs ? 5 : 2, settings[i]);
            assert_int_equal(decomposed(text), 1);
            outputs_agree("y", 1e-5f);
            qf_free(text);
        }
}

/* The kernel that the two stored ones are together. */
static void write_merged(const char *layer)
{
    Caffe__NetParameter *old, *new;
    char *names[] = {test_format("%s_0", layer), test_format("%s_1", layer)};
    assert_ok(context, qf_net_param_read_binary(context, "net.caffemodel", &old));
    assert_ok(context, qf_net_param_read_binary(context, "new.caffemodel", &new));
    Caffe__BlobProto *whole = qf_find_layer(old, layer)->blobs[0];
    const Caffe__BlobProto *a = qf_find_layer(new, names[0])->blobs[0],
                           *b = qf_find_layer(new, names[1])->blobs[0];
    const int64_t *first = a->shape->dim, *last = b->shape->dim;
    float *to = whole->data;
    for (int64_t o = 0; o < last[0]; o++)
        for (int64_t i = 0; i < first[1]; i++)
            for (int64_t y = 0; y < first[2] * last[2]; y++)
                for (int64_t x = 0; x < first[3] * last[3]; x++, to++) {
                    double sum = 0;
                    for (int64_t k = 0; k < first[0]; k++)
                        sum +=
                            (double)
                                a->data[((k * first[1] + i) * first[2] + y % first[2]) * first[3] +
                                        x % first[3]] *
                            (double)b->data[((o * last[1] + k) * last[2] + y % last[2]) * last[3] +
                                            x % last[3]];
                    *to = (float)sum;
                }
    assert_int_equal(to - whole->data, whole->n_data);
    assert_ok(context, qf_wire_write(context, "net.caffemodel", old, 0640));
    qf_message_free(old);
    qf_message_free(new);
    qf_free(names[0]);
    qf_free(names[1]);
}

static void less_rank_computes_the_product(void **state)
{
    qf_decomposition *found;
    (void)state;
    make(INPUT("3") CONVOLUTION("c", "x", "c", "num_output: 8 kernel_size: 7 stride: 2 pad: 3",
                                "") "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }");
    assert_ok(context, decompose(&found));
    assert_int_equal(found->layers, 1);
    const qf_decomposed_layer *row = found->layer[0];
    assert_string_equal(row->name, "c");
    assert_memory_equal(row->kernel, ((int[]){8, 3, 7, 7}), sizeof row->kernel);
    assert_memory_equal(row->first, ((int[]){16, 3, 7, 1}), sizeof row->first);
    assert_memory_equal(row->last, ((int[]){8, 16, 1, 7}), sizeof row->last);
    assert_int_equal(row->rank, 16);
    assert_true(row->error > 0.01 && row->error < 0.5); /* 5 of 21 values of noise are lost */
    qf_decomposition_destroy(found);
    write_merged("c");
    outputs_agree("c", 1e-5f);
}

static Caffe__NetParameter *read_new(void)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read(context, "new.prototxt", &net));
    return net;
}

/* What the two say, and a layer that works in place behind them. */
static void layers_are_named_and_set(void **state)
{
    (void)state;
    assert_int_equal(
        decomposed(INPUT("2") CONVOLUTION(
            "c", "x", "y",
            "num_output: 5 kernel_size: 8 stride: 2 pad: 1 dilation: 1 engine: CAFFE",
            "param { lr_mult: 3 decay_mult: 4 } param { lr_mult: 5 } include { phase: TEST } "
            "propagate_down: true loss_weight: 0.5") "layer { name: 'r' type: 'ReLU' bottom: 'y' "
                                                     "top: 'y' }"),
        1);
    Caffe__NetParameter *net = read_new();
    qf_buffer text = {0};
    for (int i = 1; i < 3; i++)
        qf_text_print(net->layer[i], &text);
    assert_string_equal(
        qf_buffer_text(&text),
        "name: \"c_0\"\ntype: \"Convolution\"\nbottom: \"x\"\ntop: \"c_0\"\n"
        "param {\n  lr_mult: 3\n  decay_mult: 4\n}\n"
        "include {\n  phase: TEST\n}\npropagate_down: true\n"
        "convolution_param {\n  num_output: 16\n  bias_term: false\n"
        "  weight_filler {\n    type: \"xavier\"\n  }\n"
        "  pad_h: 1\n  pad_w: 0\n  kernel_h: 8\n  kernel_w: 1\n  stride_h: 2\n  stride_w: 1\n"
        "  engine: CAFFE\n  dilation: 1\n}\n"
        "name: \"c_1\"\ntype: \"Convolution\"\nbottom: \"c_0\"\ntop: \"y\"\nloss_weight: 0.5\n"
        "param {\n  lr_mult: 3\n  decay_mult: 4\n}\nparam {\n  lr_mult: 5\n}\n"
        "include {\n  phase: TEST\n}\n"
        "convolution_param {\n  num_output: 5\n"
        "  weight_filler {\n    type: \"xavier\"\n  }\n"
        "  bias_filler {\n    type: \"constant\"\n    value: 0.3\n  }\n"
        "  pad_h: 0\n  pad_w: 1\n  kernel_h: 1\n  kernel_w: 8\n  stride_h: 1\n  stride_w: 2\n"
        "  engine: CAFFE\n  dilation: 1\n}\n");
    assert_string_equal(net->layer[3]->bottom[0], "y");
    qf_buffer_release(&text);
    qf_message_free(net);
    outputs_agree("y", 1e-5f);
}

#define SHARED(name, from, to, settings, param)                                                    \
    CONVOLUTION(name, from, to, settings, "param { name: '" param "' } param { name: 'b' }")

static void sharers_go_together(void **state)
{
    (void)state;
    assert_int_equal(
        decomposed(INPUT("2") SHARED("c", "x", "c", "num_output: 5 kernel_size: 8", "w")
                       SHARED("d", "x", "d", "num_output: 5 kernel_size: 8 stride: 2", "w")),
        2);
    Caffe__NetParameter *net = read_new();
    static const char *const names[] = {"w_0", "w_1", "w_0", "w_1"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(net->layer[1 + i]->param[0]->name, names[i]);
    assert_int_equal(net->layer[1]->n_param, 1);
    assert_string_equal(net->layer[2]->param[1]->name, "b");
    qf_message_free(net);
    outputs_agree("c", 1e-5f);
    outputs_agree("d", 1e-5f);
    /* Stride 4 is left whole, and so is who shares with it, and who shares with that. */
    assert_int_equal(
        decomposed(INPUT("2") SHARED("c", "x", "c", "num_output: 5 kernel_size: 8", "w")
                       SHARED("d", "x", "d", "num_output: 5 kernel_size: 8 stride: 4", "w")),
        0);
    assert_int_equal(decomposed(INPUT("2") SHARED("c", "x", "c", "num_output: 5 kernel_size: 8",
                                                  "w") SHARED("c", "x", "d",
                                                              "num_output: 5 kernel_size: 8 "
                                                              "stride: 4",
                                                              "v")),
                     0);
}

static void others_stay_whole(void **state)
{
    static const char *const settings[] = {
        "num_output: 4 kernel_size: 8 group: 2",  "num_output: 4 kernel_size: 8 dilation: 2",
        "num_output: 4 kernel_size: 8 stride: 3", "num_output: 4 kernel_size: 5",
        "num_output: 4 kernel_h: 8 kernel_w: 2",  "num_output: 1 kernel_size: 8",
        "num_output: 4 kernel_size: 8 hole: 2",
    };
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char *text = test_format("%s layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' "
                                 "convolution_param { weight_filler { type: 'xavier' } pad: 9 %s "
                                 "} }",
                                 INPUT("4"), settings[i]);
        assert_int_equal(decomposed(text), 0);
        outputs_agree("y", 0);
        qf_free(text);
    }
    assert_int_equal(
        decomposed(INPUT("2") CONVOLUTION("c", "x", "c_1", "num_output: 5 kernel_size: 8", "")), 0);
    assert_int_equal(decomposed(INPUT("2") CONVOLUTION(
                         "c", "x", "c", "num_output: 5 kernel_size: 8",
                         "") "layer { name: 'c_0' type: 'ReLU' bottom: 'c' top: 'c' }"),
                     0);
}

static qf_action stop(void *asked)
{
    ++*(int *)asked;
    return QF_STOP;
}

static void failures_leave_nothing(void **state)
{
    const float bad[] = {NAN, INFINITY};
    int asked = 0;
    qf_decomposition *found;
    (void)state;
    assert_int_equal(
        decomposed(INPUT("2") CONVOLUTION("c", "x", "y", "num_output: 5 kernel_size: 8", "")), 1);
    unlink("new.prototxt");
    unlink("new.caffemodel");
    for (int i = 0; i < 2; i++) {
        Caffe__NetParameter *weights;
        assert_ok(context, qf_net_param_read_binary(context, "net.caffemodel", &weights));
        qf_find_layer(weights, "c")->blobs[0]->data[i] = bad[i];
        assert_ok(context, qf_wire_write(context, "bad.caffemodel", weights, 0640));
        qf_message_free(weights);
        assert_fails(context,
                     qf_auto_decomposition(context, "net.prototxt", "bad.caffemodel",
                                           "new.prototxt", "new.caffemodel", NULL, NULL, NULL,
                                           &found),
                     "layer c: weight tensor contains invalid number(inf or nan)");
        qf_decomposition_destroy(found);
    }
    assert_fails(context,
                 qf_auto_decomposition(context, "net.prototxt", "net.caffemodel", "new.prototxt",
                                       "new.caffemodel", stop, NULL, &asked, &found),
                 "stopped after 0 of 1 layers");
    assert_int_equal(asked, 1);
    qf_decomposition_destroy(found);
    assert_fails(context,
                 qf_auto_decomposition(context, "net.prototxt", "net.caffemodel", "net.prototxt",
                                       "new.caffemodel", NULL, NULL, NULL, &found),
                 "'net.prototxt' is read and would be written over");
    qf_decomposition_destroy(found);
    test_write_text(context, "net.prototxt",
                    INPUT("2") CONVOLUTION("c", "x", "y", "num_output: 6 kernel_size: 8", ""));
    assert_fails(context, decompose(&found),
                 "layer c: its weights are 5 x 2 x 8 x 8, the model asks for 6 outputs");
    qf_decomposition_destroy(found);
    assert_int_not_equal(access("new.prototxt", F_OK), 0);
    assert_int_not_equal(access("new.caffemodel", F_OK), 0);
}

#define COMMAND                                                                                    \
    "decompose --model net.prototxt --weights net.caffemodel --out-model thin.prototxt "           \
    "--out-weights thin.caffemodel "

static void on_the_command_line(void **state)
{
    (void)state;
    make(INPUT("2") CONVOLUTION("c", "x", "y", "num_output: 5 kernel_size: 8", ""));
    test_command(0, "Decomposition c ->['c_0', 'c_1']", "", COMMAND);
    assert_non_null(
        strstr(test_output, "Multiply-adds of the net: 61,440, then 114,688 (186.7 %)"));
    assert_non_null(
        strstr(test_output, "5x2x8x8  16x2x8x1 + 5x16x1x8    16  0.00 %         61,440"));
    test_write_text(context, "net.prototxt",
                    "layer { name: 'd' type: 'Data' top: 'x' data_param { source: 'nowhere' "
                    "batch_size: 1 backend: LMDB } } " CONVOLUTION(
                        "c", "x", "y", "num_output: 5 kernel_size: 8", ""));
    test_command(0, "give its shape, for example --shape data=", "", COMMAND);
    test_command(0, "Multiply-adds of the net:", "", COMMAND "--shape x=1x2x15x13");
    test_command(2, "--out-weights FILE is missing", "",
                 "decompose --model a --weights b --out-model c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_rank_computes_the_same),
        cmocka_unit_test(less_rank_computes_the_product),
        cmocka_unit_test(layers_are_named_and_set),
        cmocka_unit_test(sharers_go_together),
        cmocka_unit_test(others_stay_whole),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(on_the_command_line),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
