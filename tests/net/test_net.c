/* Building nets: naming, sharing, splitting, refusing. What layers compute is tested elsewhere. */
#include "harness/fixture.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static qf_status build(const char *text, qf_phase phase, qf_net **out)
{
    Caffe__NetParameter *param;
    *out = NULL;
    QF_TRY(qf_text_parse(context, "test", text, strlen(text), &caffe__net_parameter__descriptor,
                         &param));
    qf_status status = QF_OK;
    if (!param->state)
        status = qf_message_new(context, &caffe__net_state__descriptor, &param->state);
    if (status == QF_OK) {
        param->state->has_phase = true;
        param->state->phase = phase == QF_TRAIN ? CAFFE__PHASE__TRAIN : CAFFE__PHASE__TEST;
        status = qf_net_create_from_param(context, param, NULL, out);
    }
    qf_message_free(param);
    return status;
}

#define INPUT                                                                                      \
    "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 } } }"
#define IP(name, bottom, more)                                                                     \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" bottom "' top: '" name "' " more     \
    " inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } }"

static void test_readers_of_one_blob_get_a_split(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context,
              build(INPUT IP("a", "data", "") IP("b", "data", "") IP("c", "a", ""), QF_TEST, &net));
    assert_int_equal(qf_net_layer_count(net), 5);
    assert_string_equal(qf_net_layer_name(net, 1), "data_data_0_split");
    assert_non_null(qf_net_blob(net, "data_data_0_split_0"));
    assert_non_null(qf_net_blob(net, "data_data_0_split_1"));
    assert_int_equal(qf_net_input_count(net), 1);
    assert_int_equal(qf_net_output_count(net), 2);
    qf_net_destroy(net);
}

static void test_in_place_keeps_one_blob(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context, build(INPUT IP("a", "data", "") "layer { name: 'r' type: 'ReLU' bottom: 'a' "
                                                       "top: 'a' }" IP("b", "a", ""),
                             QF_TEST, &net));
    assert_int_equal(qf_net_layer_count(net), 4);
    assert_ptr_equal(net->layers[2]->bottom[0], net->layers[2]->top[0]);
    qf_net_destroy(net);
}

static void test_shared_parameters_are_one_blob(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context, build(INPUT IP("a", "data", "param { name: 'w' }")
                                 IP("b", "a", "param { name: 'w' }"),
                             QF_TRAIN, &net));
    assert_ptr_equal(qf_net_layer_param(net, 1, 0), qf_net_layer_param(net, 2, 0));
    assert_int_equal(net->learnable_count, 3);
    qf_net_destroy(net);
}

static void test_loss_decides_who_needs_a_gradient(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context, build("layer { name: 'l' type: 'Input' top: 'l' input_param { shape { dim: "
                             "2 dim: 3 } } }" INPUT IP("a", "data", "")
                                 IP("b", "data", "") "layer { name: 'loss' type: 'EuclideanLoss' "
                                                     "bottom: 'a' bottom: 'l' top: 'loss' }",
                             QF_TRAIN, &net));
    for (int i = 0; i < net->layer_count; i++) {
        const char *name = net->layers[i]->name;
        bool expected = strcmp(name, "a") == 0 || strcmp(name, "loss") == 0;
        if (net->layer_need_backward[i] != expected)
            fail_msg("layer %s: backward %d", name, net->layer_need_backward[i]);
    }
    assert_float_equal(qf_net_loss_weight(net, net->blob_count - 1), 1, 0);
    qf_net_destroy(net);
}

/* Every refusal is one sentence that names the layer and what to change. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *net, *sentence;
    } cases[] = {
        {INPUT IP("a", "dta", ""), "layer a: unknown bottom blob 'dta'"},
        {INPUT "layer { name: 'x' type: 'Convolutoin' bottom: 'data' top: 'x' }",
         "layer x: unknown layer type 'Convolutoin'; the nearest are Convolution, "},
        {INPUT "layer { name: 'x' type: 'ReLU' top: 'x' }", "a ReLU layer takes 1 bottom blob"},
        {INPUT IP("a", "data", "") "layer { name: 'b' type: 'ReLU' bottom: 'data' top: 'a' }",
         "top blob 'a' is produced by several layers"},
        {INPUT IP("a", "data", "param {} param {} param {}"), "too many param entries: 3"},
        {INPUT IP("a", "data", "propagate_down: true propagate_down: false"),
         "propagate_down must be given never or once"},
        {INPUT IP("a", "data", "loss_weight: 1 loss_weight: 2"),
         "loss_weight must be given never or once"},
        {INPUT IP("a", "data", "param { name: 'w' lr_mult: 1 }")
             IP("b", "a", "param { name: 'w' lr_mult: 2 }"),
         "the shared param 'w' has lr_mult 2 here and 1 in layer a"},
        {INPUT IP("a", "data", "param { name: 'w' }") "layer { name: 'b' type: 'InnerProduct' "
                                                      "bottom: 'a' top: 'b' param { name: 'w' } "
                                                      "inner_product_param { num_output: 4 } }",
         "cannot share param 'w' owned by layer a: shape 3 3 (9) there, 4 3 (12) here"},
        {INPUT "layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'a' "
               "inner_product_param { num_output: 3 weight_filler { type: 'xavir' } } }",
         "unknown filler type 'xavir'"},
        {INPUT "layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'a' "
               "inner_product_param { num_output: 2147483647 } }",
         "more than"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_net *net;
        assert_fails(context, build(cases[i].net, QF_TEST, &net), cases[i].sentence);
        assert_null(net);
    }
}

static void test_weights_that_do_not_fit_change_nothing(void **state)
{
    (void)state;
    qf_net *net, *other;
    assert_ok(context, build(INPUT IP("a", "data", "") IP("b", "a", ""), QF_TEST, &net));
    assert_ok(context,
              build(INPUT IP("a", "data",
                             "") "layer { name: 'b' type: 'InnerProduct' bottom: 'a' top: 'b' "
                                 "inner_product_param { num_output: 4 } }",
                    QF_TEST, &other));
    float before = 0;
    const float *values;
    assert_ok(context, qf_blob_data(qf_net_layer_param(net, 1, 0), &values));
    before = values[0];
    Caffe__NetParameter *weights;
    assert_ok(context, qf_net_to_proto(other, false, &weights));
    assert_fails(context, qf_net_copy_weights(net, weights),
                 "layer b, blob 0: the net has shape 3 3 (9), the weights file has 4 3 (12)");
    assert_ok(context, qf_blob_data(qf_net_layer_param(net, 1, 0), &values));
    assert_float_equal(values[0], before, 0);
    qf_message_free(weights);
    qf_net_destroy(net);
    qf_net_destroy(other);
}

static char warnings[4096];

static void keep_warning(void *user, qf_log_level level, const char *file, int line,
                         const char *text)
{
    (void)user, (void)level, (void)file, (void)line;
    const size_t used = strlen(warnings);
    snprintf(warnings + used, sizeof warnings - used, "%s\n", text);
}

static void test_weights_survive_a_file(void **state)
{
    (void)state;
    qf_net *net, *again;
    char *folder = test_make_directory();
    char *path = test_format("%s/net.caffemodel", folder);
    assert_ok(context, build(INPUT IP("a", "data", ""), QF_TEST, &net));
    assert_ok(context, build(INPUT IP("a", "data", ""), QF_TEST, &again));
    assert_ok(context, qf_net_save_weights(net, path));
    assert_ok(context, qf_net_load_weights(again, path));
    const float *a, *b;
    assert_ok(context, qf_blob_data(qf_net_layer_param(net, 1, 0), &a));
    assert_ok(context, qf_blob_data(qf_net_layer_param(again, 1, 0), &b));
    assert_memory_equal(a, b, 9 * sizeof *a);

    float *poisoned;
    assert_ok(context, qf_blob_mutable_data(qf_net_layer_param(net, 1, 0), &poisoned));
    poisoned[4] = NAN;
    poisoned[7] = -INFINITY;
    assert_ok(context, qf_net_save_weights(net, path));
    qf_context_set_log(context, keep_warning, NULL, QF_WARNING);
    assert_ok(context, qf_net_load_weights(again, path));
    qf_context_set_log(context, NULL, NULL, QF_WARNING);
    assert_non_null(strstr(warnings, "net.caffemodel: layer a, blob 0: 1 NaN, 1 infinite of 9 "
                                     "values, the first at 4\n"));
    assert_non_null(strstr(warnings, "1 blob with 1 NaN and 1 infinite values"));
    qf_net_destroy(net);
    qf_net_destroy(again);
    test_remove_directory(folder);
    qf_free(path);
    qf_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_of_one_blob_get_a_split),
        cmocka_unit_test(test_in_place_keeps_one_blob),
        cmocka_unit_test(test_shared_parameters_are_one_blob),
        cmocka_unit_test(test_loss_decides_who_needs_a_gradient),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_weights_that_do_not_fit_change_nothing),
        cmocka_unit_test(test_weights_survive_a_file),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
