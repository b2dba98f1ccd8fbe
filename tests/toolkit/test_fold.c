/* Folding BatchNorm and Scale: a folded net computes what it did before; and where it may not be.
 */
#include "harness/harness.h"
#include "harness/one_layer.h"
#include "model/model.h"
#include "toolkit/export/fold.h"

#include <math.h>
#include <string.h>

static qf_context *context;

#define INPUT                                                                                      \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 4 dim: 5 dim: 5 " \
    "} } } "
#define NORM(from, to)                                                                             \
    "layer { name: 'bn' type: 'BatchNorm' bottom: '" from "' top: '" to                            \
    "' batch_norm_param { use_global_stats: true } } "
#define SCALE(from, to, more)                                                                      \
    "layer { name: 'sc' type: 'Scale' bottom: '" from "' top: '" to "' scale_param { " more " } "  \
    "} "
#define CONVOLUTION(from, to, more)                                                                \
    "layer { name: 'it' type: 'Convolution' bottom: '" from "' top: '" to "' convolution_param { " \
    "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } " more " } } "
#define PRODUCT(from, to)                                                                          \
    "layer { name: 'it' type: 'InnerProduct' bottom: '" from "' top: '" to                         \
    "' inner_product_param { "                                                                     \
    "num_output: 3 bias_term: false weight_filler { type: 'xavier' } } } "

typedef qf_fold find_function(const Caffe__NetParameter *net, int index);

/* Values of the net's blob 'y', with weights of `file`, which is written first where `make`. */
static float *run(const char *text, const char *file, bool make, size_t *count)
{
    qf_net *net;
    const float *values;
    assert_ok(context, test_net_of(context, text, QF_TEST, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 1);
    for (int l = 0; make && l < qf_net_layer_count(net); l++)
        for (int i = 0; i < qf_net_layer_param_count(net, l); i++) {
            float *values_of;
            qf_blob *blob = qf_net_layer_param(net, l, i);
            assert_ok(context, qf_blob_mutable_data(blob, &values_of));
            for (size_t k = 0; k < qf_blob_count(blob); k++)
                values_of[k] = 0.2f + 0.1f * (float)((k * 7 + (size_t)l * 3 + (size_t)i) % 11);
        }
    assert_ok(context, make ? qf_net_save_weights(net, file) : qf_net_load_weights(net, file));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_blob *out = qf_net_blob(net, "y");
    assert_non_null(out);
    assert_ok(context, qf_blob_data(out, &values));
    *count = qf_blob_count(out);
    float *copy = qf_alloc(*count, sizeof *copy);
    memcpy(copy, values, *count * sizeof *copy);
    qf_net_destroy(net);
    return copy;
}

static qf_status fold_front(Caffe__NetParameter *net, int index, qf_fold fold)
{
    return qf_fold_front(context, net, index, fold);
}

static qf_status fold_behind(Caffe__NetParameter *net, int index, qf_fold fold)
{
    float *factors;
    size_t count;
    QF_TRY(qf_fold_into(context, net, index, fold, &factors, &count));
    qf_free(factors);
    return QF_OK;
}

/* The weights file as a net without its blobs, and the blobs in a file. */
static char *taken_apart(Caffe__NetParameter *net, const char *file)
{
    qf_buffer text = {0};
    assert_ok(context, qf_wire_write(context, file, net, 0640));
    for (size_t i = 0; i < net->n_layer; i++) {
        for (size_t k = 0; k < net->layer[i]->n_blobs; k++)
            qf_message_free(net->layer[i]->blobs[k]);
        net->layer[i]->n_blobs = 0;
    }
    qf_text_print(net, &text);
    return text.data;
}

static void check(const char *text, find_function *find,
                  qf_status (*fold)(Caffe__NetParameter *, int, qf_fold))
{
    size_t count, count_after;
    float *before = run(text, "before.caffemodel", true, &count);
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read_binary(context, "before.caffemodel", &net));
    const int index = qf_graph_find(net, "it");
    const qf_fold found = find(net, index);
    assert_int_not_equal(found.batch_norm, QF_NONE);
    assert_int_not_equal(found.scale, QF_NONE);
    assert_ok(context, fold(net, index, found));
    assert_int_equal(qf_graph_find(net, "bn"), QF_NONE);
    assert_int_equal(qf_graph_find(net, "sc"), QF_NONE);
    char *folded = taken_apart(net, "after.caffemodel");
    float *after = run(folded, "after.caffemodel", false, &count_after);
    assert_int_equal(count, count_after);
    for (size_t i = 0; i < count; i++)
        if (fabsf(before[i] - after[i]) > 2e-5f * (1 + fabsf(before[i])))
            fail_msg("[%zu] is %g, was %g", i, (double)after[i], (double)before[i]);
    qf_message_free(net);
    qf_free(folded);
    qf_free(before);
    qf_free(after);
}

static void folded_nets_compute_the_same(void **state)
{
    (void)state;
    check(INPUT NORM("x", "n") SCALE("n", "s", "bias_term: true") CONVOLUTION("s", "y", ""),
          qf_graph_fold_front, fold_front);
    check(INPUT NORM("x", "n") SCALE("n", "s", "")
              CONVOLUTION("s", "y", "bias_term: false group: 2"),
          qf_graph_fold_front, fold_front);
    check(INPUT "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'h' } " NORM("h", "h")
              SCALE("h", "h", "bias_term: true") CONVOLUTION("h", "y", "stride: 2"),
          qf_graph_fold_front, fold_front);
    check(INPUT PRODUCT("x", "p") NORM("p", "n") SCALE("n", "y", "bias_term: true"),
          qf_graph_fold_product, fold_behind);
    check(INPUT CONVOLUTION("x", "c", "bias_term: false pad: 1") NORM("c", "c")
              SCALE("c", "y", "bias_term: true"),
          qf_graph_fold, fold_behind);
}

static void what_is_left_alone(void **state)
{
    (void)state;
    static const char *const nets[] = {
        /* padding would have come behind Scale */
        INPUT NORM("x", "n") SCALE("n", "s", "") CONVOLUTION("s", "y", "pad: 1"),
        INPUT NORM("x", "n") SCALE("n", "s", "") CONVOLUTION("s", "y", "pad_h: 1"),
        /* somebody else reads what lies between */
        INPUT NORM("x", "n") SCALE("n", "s", "")
            CONVOLUTION("s", "y", "") "layer { name: 'r' type: 'ReLU' bottom: 's' top: 'z' } ",
        INPUT NORM("x", "n") SCALE(
            "n", "s",
            "") "layer { name: 'r' type: 'ReLU' bottom: 'n' top: 'z' } " CONVOLUTION("s", "y", ""),
        /* what BatchNorm read is gone when the convolution runs */
        INPUT NORM("x", "n") SCALE(
            "n", "s",
            "") "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'x' } " CONVOLUTION("s", "y", ""),
        /* not a factor for each channel */
        INPUT NORM("x", "n") SCALE("n", "s", "axis: 2") CONVOLUTION("s", "y", ""),
        /* AMCT folds both or none */
        INPUT NORM("x", "n") CONVOLUTION("n", "y", ""),
    };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        Caffe__NetParameter *net;
        assert_ok(context, qf_text_parse(context, "net", nets[i], strlen(nets[i]),
                                         &caffe__net_parameter__descriptor, &net));
        if (qf_graph_fold_front(net, qf_graph_find(net, "it")).batch_norm != QF_NONE)
            fail_msg("net %zu would be folded", i);
        qf_message_free(net);
    }
}

/* Weights beyond what float holds: a warning, and the net as it was. */
static void what_would_not_be_finite_stays(void **state)
{
    (void)state;
    size_t count;
    Caffe__NetParameter *net;
    qf_free(run(INPUT NORM("x", "n") SCALE("n", "s", "") CONVOLUTION("s", "y", "bias_term: false"),
                "before.caffemodel", true, &count));
    assert_ok(context, qf_net_param_read_binary(context, "before.caffemodel", &net));
    const int index = qf_graph_find(net, "it");
    net->layer[index]->blobs[0]->data[0] = 3e38f;
    net->layer[qf_graph_find(net, "sc")]->blobs[0]->data[0] = 3e38f;
    assert_ok(context, qf_fold_front(context, net, index, qf_graph_fold_front(net, index)));
    assert_int_not_equal(qf_graph_find(net, "bn"), QF_NONE);
    assert_true(net->layer[index]->blobs[0]->data[0] == 3e38f);
    assert_int_equal(net->layer[index]->n_blobs, 1);
    assert_string_equal(net->layer[index]->bottom[0], "s");
    qf_message_free(net->layer[qf_graph_find(net, "sc")]->blobs[0]);
    net->layer[qf_graph_find(net, "sc")]->n_blobs = 0;
    assert_fails(context, qf_fold_front(context, net, index, qf_graph_fold_front(net, index)),
                 "the weights of layer sc are missing or not for 4 channels");
    qf_message_free(net);
}

static int setup(void **state)
{
    context = test_context();
    return test_enter_folder(state);
}

static int teardown(void **state)
{
    qf_context_destroy(context);
    return test_leave_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folded_nets_compute_the_same),
        cmocka_unit_test(what_is_left_alone),
        cmocka_unit_test(what_would_not_be_finite_stays),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
