/* Nets in which layers write over what they read, against the same nets with a name for each value:
 * every type of layer, chains of three, and blobs that others read, too. Values and the gradients
 * of all parameters agree, in nets that keep their blobs and in those that do not. */
#include "harness/every_type.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

/* ---- two nets of one text ---- */

static qf_status build(const char *text, bool apart, qf_net **out)
{
    char *named = test_name_values(text, apart);
    qf_random_seed(&context->random, 5); /* the weights' */
    const qf_status status = test_net_of(context, named, QF_TRAIN, out);
    qf_free(named);
    return status;
}

/* Inputs get values, and outputs gradients, no two alike. */
static void run(qf_net *net)
{
    for (int i = 0; i < net->input_count; i++) {
        float *x;
        qf_blob *input = net->blobs[net->inputs[i]];
        assert_ok(context, qf_blob_mutable_data(input, &x));
        for (size_t k = 0; k < qf_blob_count(input); k++)
            x[k] = (float)(k * 29 % 23) / 11.5f - 0.97f;
    }
    qf_random_seed(&context->random, 6); /* Dropout's */
    assert_ok(context, qf_net_forward(net, NULL));
    qf_net_clear_param_diffs(net);
    for (int i = 0; i < net->output_count; i++) {
        float *dy;
        qf_blob *output = net->blobs[net->outputs[i]];
        assert_ok(context, qf_blob_mutable_diff(output, &dy));
        for (size_t k = 0; k < qf_blob_count(output); k++)
            dy[k] = 0.2f + (float)(k * 37 % 19) / 19;
    }
    assert_ok(context, qf_net_backward(net));
}

static bool agree(const float *a, const float *b, size_t n)
{
    double largest = 1; /* of zero only rounding is left */
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)b[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 1e-5 * largest) && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static void compare(qf_blob *a, qf_blob *b, bool diff, const char *what, const char *text)
{
    const float *values[2];
    qf_blob *blobs[] = {a, b};
    assert_true(qf_shape_equal(qf_blob_shape(a), qf_blob_shape(b)));
    for (int i = 0; i < 2; i++)
        assert_ok(context,
                  qf_read(context, diff ? blobs[i]->diff : blobs[i]->data, QF_PLAIN, &values[i]));
    if (!agree(values[0], values[1], qf_blob_count(a)))
        fail_msg("%s of %s is another one in place:\n%s", diff ? "the gradient" : "the value", what,
                 text);
}

static void compare_nets(qf_net *together, qf_net *apart, const char *text)
{
    assert_int_equal(together->layer_count, apart->layer_count);
    assert_int_equal(together->output_count, apart->output_count);
    for (int i = 0; i < apart->output_count; i++)
        compare(together->blobs[together->outputs[i]], apart->blobs[apart->outputs[i]], false,
                "an output", text);
    for (int l = 0; l < apart->layer_count; l++)
        for (int p = 0; p < apart->layers[l]->param_count; p++)
            compare(together->layers[l]->params[p].blob, apart->layers[l]->params[p].blob, true,
                    apart->layers[l]->name, text);
}

static void check(const char *text)
{
    for (int keep = 0; keep < 2; keep++) {
        qf_net *nets[2];
        for (int apart = 0; apart < 2; apart++) {
            if (build(text, apart, &nets[apart]) != QF_OK)
                fail_msg("%s\n%s", qf_error_text(context), text);
            qf_net_keep_blobs(nets[apart], keep);
        }
        for (int pass = 0; pass < 2; pass++) {
            run(nets[0]);
            run(nets[1]);
            compare_nets(nets[0], nets[1], text);
        }
        qf_net_destroy(nets[0]);
        qf_net_destroy(nets[1]);
    }
}

/* ---- every type ---- */

/* The gradient of what the layer reads is that of a Bias of the whole blob in front. */
#define BEGIN "force_backward: true\n"
#define SHIFT(bottom, top)                                                                         \
    "layer { name: 'shift' type: 'Bias' bottom: '" bottom "' top: '" top                           \
    "' bias_param { axis: 0 num_axes: -1 filler { value: 0.1 } } }\n"
#define LAYER(name, type, bottom, top, more)                                                       \
    "layer { name: '" name "' type: '" type "' bottom: '" bottom "' top: '" top "' " more " }\n"

static void print_type(qf_buffer *out, const test_type *type)
{
    qf_buffer_print(out, BEGIN);
    for (int b = 0; b < TEST_TYPE_BOTTOMS_MAX && type->bottoms[b]; b++)
        test_print_bottom(out, "it", b, type->bottoms[b]);
    qf_buffer_print(out, SHIFT("it_in0", "y#1") "layer { name: 'it' type: '%s' bottom: 'y#1' %s",
                    type->type, type->param);
    for (int b = 1; b < TEST_TYPE_BOTTOMS_MAX && type->bottoms[b]; b++)
        qf_buffer_print(out, " bottom: 'it_in%d'", b);
    for (int t = 0; t < type->tops; t++)
        qf_buffer_print(out, t ? " top: 'other%d'" : " top: 'y#2'", t);
    qf_buffer_print(out, " }\n" LAYER("next", "Power", "y#2", "z", "power_param { scale: 3 }"));
}

static void every_type(void **state)
{
    int checked = 0;
    (void)state;
    for (const test_type *type = test_types; type < test_types + test_type_count; type++) {
        qf_buffer text = {0};
        bool reads_layers = false;
        for (int b = 0; b < TEST_TYPE_BOTTOMS_MAX && type->bottoms[b]; b++)
            reads_layers |= type->bottoms[b][0] == '@';
        if (type->kind == TEST_ASLEEP || type->kind == TEST_OF_THE_FLOW || !type->bottoms[0] ||
            type->tops == 0 || reads_layers)
            continue;
        print_type(&text, type);
        check(qf_buffer_text(&text));
        qf_buffer_release(&text);
        checked++;
    }
    assert_true(checked > 70);
}

/* ---- chains ---- */

/* Of each way to treat what is read and written, one. */
static const char *const links[] = {
    "type: 'BatchNorm'",
    "type: 'Bias' bias_param { filler { value: 0.3 } }",
    "type: 'Dropout'",
    "type: 'Eltwise' bottom: 'r' eltwise_param { operation: PROD }",
    "type: 'Eltwise' bottom: 'r' eltwise_param { operation: MAX }",
    "type: 'ELU'",
    "type: 'LRN' lrn_param { local_size: 3 alpha: 1 }",
    "type: 'MVN'",
    "type: 'Power' power_param { power: 2 shift: 0.2 }",
    "type: 'PReLU'",
    "type: 'ReLU'",
    "type: 'ReLU' relu_param { negative_slope: 0.2 }",
    "type: 'ReLU' relu_param { negative_slope: -0.5 }",
    "type: 'ReLU6'",
    "type: 'Scale' scale_param { filler { value: -3 } }",
    "type: 'Sigmoid'",
    "type: 'Softmax'",
    "type: 'Swish'",
    /* not in place: a blob of their own */
    ("type: 'Convolution' convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { "
     "type: 'xavier' } }"),
    "type: 'Pooling' pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }",
    "type: 'Reshape' reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 } }",
    "type: 'Split'",
};
enum { LINKS = sizeof links / sizeof *links };

static void every_chain_of_three(void **state)
{
    (void)state;
    for (int a = 0; a < LINKS; a++)
        for (int b = 0; b < LINKS; b++)
            for (int c = 0; c < LINKS; c++) {
                qf_buffer text = {0};
                const int chain[] = {a, b, c};
                qf_buffer_print(&text, BEGIN "layer { name: 'in' type: 'Input' top: 'x' top: 'r' "
                                             "input_param { shape { dim: 2 dim: 3 dim: 2 dim: 3 } "
                                             "} }\n" SHIFT("x", "y#0"));
                for (int i = 0; i < 3; i++)
                    qf_buffer_print(&text, "layer { name: 'l%d' bottom: 'y#%d' top: 'y#%d' %s }\n",
                                    i, i, i + 1, links[chain[i]]);
                check(qf_buffer_text(&text));
                qf_buffer_release(&text);
            }
}

/* ---- blobs that others read ---- */

#define INPUT                                                                                      \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 " \
    "} } }\n"
#define SCALE "scale_param { filler { value: -2 } }"
#define POWER "power_param { power: 2 shift: 0.3 }"
#define CONVOLUTION                                                                                \
    "convolution_param { num_output: 2 kernel_size: 2 weight_filler { type: 'xavier' } }"
#define INNER_PRODUCT                                                                              \
    "inner_product_param { num_output: 5 weight_filler { type: 'gaussian' std: 0.4 } }"

static const char *const shared[] = {
    /* one of a Split's tops is overwritten, before and after the others are read */
    BEGIN INPUT SHIFT("x", "y") "layer { name: 's' type: 'Split' bottom: 'y' top: 'a#1' top: 'b' "
                                "}" LAYER("l", "Scale", "a#1", "a#2", SCALE)
                                    LAYER("m", "Power", "b", "zb", POWER)
                                        LAYER("n", "Power", "a#2", "za", POWER),
    BEGIN INPUT SHIFT("x", "y") "layer { name: 's' type: 'Split' bottom: 'y' top: 'a#1' top: 'b' "
                                "}" LAYER("m", "Sigmoid", "b", "zb", "")
                                    LAYER("l", "ReLU", "a#1", "a#2", "")
                                        LAYER("n", "Power", "a#2", "za", POWER),
    /* both */
    BEGIN INPUT SHIFT("x", "y") "layer { name: 's' type: 'Split' bottom: 'y' top: 'a#1' top: 'b#1' "
                                "}" LAYER("l", "Scale", "a#1", "a#2", SCALE)
                                    LAYER("m", "Sigmoid", "b#1", "b#2", "")
                                        LAYER("n", "Power", "a#2", "za", POWER)
                                            LAYER("o", "Power", "b#2", "zb", POWER),
    /* read by another layer, then overwritten, and read again */
    BEGIN INPUT SHIFT("x", "y#1") LAYER("l", "Power", "y#1", "za", POWER)
        LAYER("m", "Scale", "y#1", "y#2", SCALE) LAYER("n", "Power", "y#2", "zb", POWER),
    /* the same behind a layer whose gradient reads what it wrote */
    BEGIN INPUT SHIFT("x", "x1") LAYER("k", "Sigmoid", "x1", "y#1", "")
        LAYER("l", "Power", "y#1", "za", POWER) LAYER("m", "ReLU", "y#1", "y#2", "")
            LAYER("n", "TanH", "y#2", "y#3", "") LAYER("o", "Power", "y#3", "zb", POWER),
    /* twice the same blob */
    BEGIN INPUT SHIFT("x", "y#1") "layer { name: 'l' type: 'Eltwise' bottom: 'y#1' bottom: 'y#1' "
                                  "top: 'y#2' eltwise_param { operation: PROD } }" LAYER(
                                      "n", "Power", "y#2", "z", POWER),
    /* a weighted top that is overwritten */
    INPUT SHIFT("x", "x1") "layer { name: 'l' type: 'Power' bottom: 'x1' top: 'y#1' loss_weight: "
                           "0.5 " POWER " }" LAYER("m", "Scale", "y#1", "y#2",
                                                   SCALE) "layer { name: 'n' type: 'Reduction' "
                                                          "bottom: 'y#2' top: 'z' loss_weight: 2 }",
    /* one that is overwritten and then weighted */
    INPUT SHIFT("x", "y#1") "layer { name: 'l' type: 'Scale' bottom: 'y#1' top: 'y#2' loss_weight: "
                            "0.5 " SCALE " }",
    /* parameters that two layers share, in place */
    BEGIN INPUT SHIFT("x", "y#1") LAYER("l", "Scale", "y#1", "y#2", SCALE " param { name: 'w' }")
        LAYER("m", "Sigmoid", "y#2", "y#3", "")
            LAYER("n", "Scale", "y#3", "y#4", SCALE " param { name: 'w' }"),
    BEGIN INPUT SHIFT("x", "y#1") LAYER("l", "InnerProduct", "y#1", "y#2", INNER_PRODUCT)
        LAYER("m", "InnerProduct", "y#2", "y#3", INNER_PRODUCT " param { name: 'w' }")
            LAYER("n", "InnerProduct", "y#3", "y#4", INNER_PRODUCT " param { name: 'w' }"),
    /* shapes that change under one name */
    BEGIN INPUT SHIFT("x", "y#1") LAYER("l", "Convolution", "y#1", "y#2", CONVOLUTION)
        LAYER("m", "ReLU", "y#2", "y#3", "")
            LAYER("n", "Pooling", "y#3", "y#4", "pooling_param { kernel_size: 2 }")
                LAYER("o", "InnerProduct", "y#4", "y#5", INNER_PRODUCT)
                    LAYER("p", "Dropout", "y#5", "y#6", ""),
    /* one of several tops */
    BEGIN INPUT SHIFT("x", "y#1") "layer { name: 'l' type: 'Slice' bottom: 'y#1' top: 'a' top: "
                                  "'y#2' slice_param { slice_point: 1 } }" LAYER("m", "Power",
                                                                                 "y#2", "z", POWER),
    /* values that their source makes once */
    "layer { name: 'in' type: 'DummyData' top: 'y#1' dummy_data_param { shape { dim: 2 dim: 3 } "
    "data_filler { value: 0.7 } } }" LAYER("l", "Power", "y#1", "y#2", POWER)
        LAYER("m", "Scale", "y#2", "y#3", SCALE),
    /* in place on what is given, and on what is put out */
    BEGIN INPUT LAYER("l", "Scale", "x", "x", SCALE) LAYER("m", "Sigmoid", "x", "z", ""),
    BEGIN INPUT LAYER("l", "Convolution", "x", "x", CONVOLUTION) LAYER("m", "Sigmoid", "x", "z", "")
        LAYER("n", "Scale", "z", "z", SCALE),
    /* beside an Eltwise that adds, before and after */
    BEGIN INPUT SHIFT("x", "y#1") LAYER("l", "Scale", "y#1", "a#1", SCALE)
        LAYER("m", "ReLU", "y#1", "y#2", "") "layer { name: 'n' type: 'Eltwise' bottom: 'a#1' "
                                             "bottom: 'y#2' top: 'a#2' }" LAYER("o", "ReLU", "a#2",
                                                                                "z", ""),
};

static void others_read_the_blob(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        check(shared[i]);
}

/* ---- names ---- */

/* A name stands for the last value, but an input's for what is given. */
static void names_stand_for_one_blob(void **state)
{
    (void)state;
    qf_net *net;
    char text[256];
    assert_ok(context, build(INPUT LAYER("l", "Convolution", "x", "x", CONVOLUTION)
                                 LAYER("m", "ReLU", "x", "y", "")
                                     LAYER("n", "Convolution", "y", "y", CONVOLUTION),
                             false, &net));
    assert_string_equal(qf_shape_text(qf_blob_shape(qf_net_blob(net, "x")), text, sizeof text),
                        "2 3 4 4 (96)");
    assert_string_equal(qf_shape_text(qf_blob_shape(qf_net_blob(net, "y")), text, sizeof text),
                        "2 2 2 2 (16)");
    assert_int_equal(qf_net_blob_index(net, "y"), qf_net_output(net, 0));
    assert_int_equal(qf_net_blob_index(net, "z"), -1);
    qf_net_destroy(net);
    assert_fails(context,
                 build(INPUT LAYER("l", "Convolution", "x", "x", CONVOLUTION), false, &net),
                 "layer l of type Convolution cannot work in place");
}

/* Two layers that do not read each other's value: a slip of who wrote the net. */
static void unrelated_tops_are_refused(void **state)
{
    (void)state;
    qf_net *net;
    assert_fails(context,
                 build(INPUT LAYER("l", "ReLU", "x", "y", "") LAYER("m", "TanH", "y", "z", "")
                           LAYER("n", "ReLU", "z", "y", ""),
                       false, &net),
                 "top blob 'y' is produced by several layers");
}

static int start(void **state)
{
    test_start(state);
    qf_context_set_threads(context, 1); /* blobs are tiny, and passes many */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(every_chain_of_three),
        cmocka_unit_test(others_read_the_blob),
        cmocka_unit_test(names_stand_for_one_blob),
        cmocka_unit_test(unrelated_tops_are_refused),
    };
    return cmocka_run_group_tests(tests, start, test_stop);
}
