/* Layers with parameters or bottoms that cannot be: a sentence that says what was found and what
 * was expected, before anything large is allocated. And what recorded cases cannot show. */
#include "harness/harness.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static qf_context *context;

/* Inputs "x0", "x1", … of the shapes given ("2 3; 4"), and one layer of this text. */
static qf_status build(const char *shapes, const char *layer, qf_phase phase, qf_net **net)
{
    qf_buffer text = {0};
    Caffe__NetParameter *param;
    int dim, used, inputs = 0;
    qf_buffer_print(&text, "state { phase: %s }", phase == QF_TRAIN ? "TRAIN" : "TEST");
    for (const char *at = shapes; *at; inputs++) {
        qf_buffer_print(&text,
                        " layer { name: 'in%d' type: 'Input' top: 'x%d' input_param { shape {",
                        inputs, inputs);
        for (; sscanf(at, "%d%n", &dim, &used) == 1; at += used)
            qf_buffer_print(&text, " dim: %d", dim);
        qf_buffer_print(&text, " } } }");
        at += *at == ';';
    }
    qf_buffer_print(&text, " layer { name: 'it' top: 'y'");
    for (int i = 0; i < inputs; i++)
        qf_buffer_print(&text, " bottom: 'x%d'", i);
    qf_buffer_print(&text, " %s }", layer);
    assert_ok(context, qf_text_parse(context, "net", qf_buffer_text(&text), text.size,
                                     &caffe__net_parameter__descriptor, &param));
    const qf_status status = qf_net_create_from_param(context, param, NULL, net);
    qf_message_free(param);
    qf_buffer_release(&text);
    return status;
}

static void impossible_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *shapes, *layer, *sentence;
    } cases[] = {
        {"2 3; 5 1", "type: 'BatchReindex'", "must have one axis"},
        {"2 3", "type: 'Clip'", "needs clip_param"},
        {"2 3", "type: 'Clip' clip_param { min: 1 max: 0 }", "min not above max"},
        {"2 3", "type: 'Clip' clip_param { min: nan max: 0 }", "min not above max"},
        {"2 3; 2 4; 2", "type: 'ContrastiveLoss'", "do not match"},
        {"2 3 2; 2 3 2; 2", "type: 'ContrastiveLoss'", "no axes (or axes of 1)"},
        {"2 3; 2 3; 4", "type: 'ContrastiveLoss'", "one value for each of the 2 pairs"},
        {"2 3 4; 2 3", "type: 'Crop'", "has 2 axes"},
        {"2 3 4 4; 2 3 5 4", "type: 'Crop'", "too few for 5 from offset 0"},
        {"2 3 4 4; 2 3 2 2", "type: 'Crop' crop_param { offset: 4294967295 }", "too few for 2"},
        {"2 3 4 4; 2 3 2 2", "type: 'Crop' crop_param { axis: 1 offset: 1 offset: 1 }",
         "2 offset for 3 axes"},
        {"2 3 4 4; 2 3 2 2", "type: 'Crop' crop_param { axis: 4 }", "axis 4 does not exist"},
        {"2", "type: 'Embed'", "num_output and input_dim of 1 or more"},
        {"2", "type: 'Embed' embed_param { num_output: 4294967295 input_dim: 3 }", "found -1"},
        {"2", "type: 'Embed' embed_param { num_output: 65536 input_dim: 65536 }", "elements"},
        {"2 3", "type: 'Exp' exp_param { base: 0 }", "exp_param.base is 0"},
        {"2 3", "type: 'Log' log_param { base: 1 }", "must not be 1"},
        {"2 3", "type: 'Log' log_param { base: -2 }", "log_param.base is -2"},
        {"2 3; 2 2", "type: 'Filter'", "one value for each item"},
        {"2 3; 3", "type: 'Filter'", "as many items as the selector"},
        {"16777217; 16777217", "type: 'Filter'", "up to 16777216"},
        {"2 3; 2", "type: 'Filter' top: 'y2'", "needs a top for every bottom but the last"},
        {"2 3; 3", "type: 'HingeLoss'", "one first dimension"},
        {"2 0; 2", "type: 'HingeLoss'", "has no values"},
        {"2 3 4", "type: 'Im2col' convolution_param { kernel_size: 0 }", "kernel_size is 0"},
        {"2 3", "type: 'Im2col' convolution_param { kernel_size: 1 }", "behind the channels"},
        {"1 65536 9", "type: 'Im2col' convolution_param { kernel_size: 65536 }", "are too many"},
        {"1 2 3 3 3 3", "type: 'Im2col' convolution_param { kernel_size: 1 }", "at most 3"},
        {"1 2 9",
         "type: 'Convolution' convolution_param { num_output: 2 kernel_size: 1048576 "
         "dilation: 1048576 stride: 1048576 }",
         "outputs from an input of 9"},
        {"2 3; 2", "type: 'InfogainLoss'", "needs its matrix"},
        {"2 3; 2; 3 2", "type: 'InfogainLoss'", "expected 3 x 3"},
        {"2 3; 2; 3 3", "type: 'InfogainLoss' loss_param { normalize: true }", "use normalization"},
        {"2 3; 2", "type: 'InfogainLoss' infogain_loss_param { source: '/nowhere/h' }",
         "/nowhere/h"},
        {"3 2 4; 3 2", "type: 'LSTM'", "num_output is 0"},
        {"3 2 4; 3 2", "type: 'LSTM' recurrent_param { num_output: 1073741824 }",
         "num_output is 1073741824"},
        {"3 2 4; 3 3", "type: 'LSTM' recurrent_param { num_output: 2 }", "steps x streams"},
        {"3 2; 3 2", "type: 'RNN' recurrent_param { num_output: 2 }", "steps x streams"},
        {"9999 1 1; 9999 1", "type: 'RNN' recurrent_param { num_output: 1 }", "9999 time steps"},
        {"0 2 4; 0 2", "type: 'RNN' recurrent_param { num_output: 1 }", "0 time steps"},
        {"3 2 4; 3 2", "type: 'RNN' recurrent_param { num_output: 1 expose_hidden: true }",
         "needs 3 or 4 bottoms"},
        {"3 2 4; 3 2; 1 2 5",
         "type: 'RNN' top: 'h' recurrent_param { num_output: 1 "
         "expose_hidden: true }",
         "has shape 1 2 5"},
        {"3 2 4; 3 2; 5 2", "type: 'RNN' recurrent_param { num_output: 1 }", "with 2 streams"},
        {"1 3 2; 1 3 6; 1 3", "type: 'LSTMUnit' top: 'h'", "1 x N x 4D"},
        {"1 2 3 4 5", "type: 'MVN'", "at most 4 axes"},
        {"2 3; 2 2", "type: 'MultinomialLogisticLoss'", "one label for each of the 2 items"},
        {"", "type: 'Parameter' parameter_param { shape { dim: -1 } }", "dimension 0 (-1)"},
        {"", "type: 'Parameter' parameter_param { shape { dim: 99999 dim: 99999 } }", "elements"},
        {"2 3 4 4", "type: 'Pooling' pooling_param { kernel_size: 4294967295 }", "found kernel -1"},
        {"2 3 4 4", "type: 'Pooling' pooling_param { kernel_size: 2147483647 pad: 2147483646 }",
         "found kernel 2147483647"},
        {"2 3 4 4", "type: 'Pooling' pooling_param { pool: STOCHASTIC kernel_size: 2 pad: 1 }",
         "cannot have pad"},
        {"2 3 4 4", "type: 'Pooling' top: 'mask' pooling_param { pool: STOCHASTIC kernel_size: 2 }",
         "only MAX pooling has a second top"},
        {"2 3 4", "type: 'Pooling' pooling_param { kernel_size: 2 }", "4 axes"},
        {"2 3", "type: 'Reduction' reduction_param { axis: 2 }", "axis 2 does not exist"},
        {"2 3; 2 4", "type: 'SigmoidCrossEntropyLoss'", "8 targets"},
        {"2 3 4 4", "type: 'SPP'", "pyramid_height is 0"},
        {"2 3 4 4", "type: 'SPP' spp_param { pyramid_height: 4294967295 }", "expected 1 to"},
        {"2 3 4 4", "type: 'SPP' spp_param { pyramid_height: 4 }", "8 bins of 4 pixels"},
        {"2 3 4", "type: 'SPP' spp_param { pyramid_height: 1 }", "4 axes"},
        {"2 3 4 4", "type: 'SPP' spp_param { pyramid_height: 1 pool: STOCHASTIC }",
         "use MAX or AVE"},
        {"2 3", "type: 'Tile'", "tiles is 0"},
        {"2 3", "type: 'Tile' tile_param { tiles: 2147483647 }", "are too many"},
        {"2 3", "type: 'Tile' tile_param { axis: 2 tiles: 2 }", "axis 2 does not exist"},
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_net *net = NULL;
        const qf_status status = build(cases[i].shapes, cases[i].layer, QF_TEST, &net);
        if (status == QF_OK || !strstr(qf_error_text(context), cases[i].sentence)) {
            print_message("%s on %s: expected \"%s\" in: %s\n", cases[i].layer, cases[i].shapes,
                          cases[i].sentence, status == QF_OK ? "success" : qf_error_text(context));
            wrong++;
        }
        qf_net_destroy(net);
    }
    assert_int_equal(wrong, 0);
}

/* Values that only the data can tell. */
static void impossible_values(void **state)
{
    (void)state;
    static const struct {
        const char *shapes, *layer;
        int blob;
        float value;
        const char *sentence;
    } cases[] = {
        {"2 3; 4", "type: 'BatchReindex'", 1, 2, "index 0 is 2"},
        {"2 3; 4", "type: 'BatchReindex'", 1, -1, "index 0 is -1"},
        {"2 3; 4", "type: 'BatchReindex'", 1, (float)NAN, "index 0 is"},
        {"2", "type: 'Embed' embed_param { num_output: 2 input_dim: 3 }", 0, 3, "(0 to 2)"},
        {"2", "type: 'Embed' embed_param { num_output: 2 input_dim: 3 }", 0, (float)NAN, "is"},
        {"2 3; 2", "type: 'HingeLoss'", 1, 3, "label 0 is 3"},
        {"2 3; 2", "type: 'MultinomialLogisticLoss'", 1, -1, "label 0 is -1"},
        {"2 3; 2; 3 3", "type: 'InfogainLoss' loss_param { ignore_label: 7 }", 1, 1e30f,
         "only 3 classes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_net *net;
        float *values;
        assert_ok(context, build(cases[i].shapes, cases[i].layer, QF_TEST, &net));
        qf_blob *blob = net->layers[cases[i].blob]->top[0];
        assert_ok(context, qf_blob_mutable_data(blob, &values));
        for (size_t k = 0; k < qf_blob_count(blob); k++)
            values[k] = cases[i].value;
        assert_fails(context, qf_net_forward(net, NULL), cases[i].sentence);
        qf_net_destroy(net);
    }
}

/* Layers that have not seen what the blobs hold run forward first. */
static void backward_without_forward(void **state)
{
    (void)state;
    static const char *const layers[] = {
        "type: 'Pooling' pooling_param { kernel_size: 2 }", "type: 'ReLU'",
        "type: 'SPP' spp_param { pyramid_height: 2 }", "type: 'Log'"};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        qf_net *net;
        const int smaller[] = {1, 2, 3, 3};
        assert_ok(context, build("2 2 4 4", layers[i], QF_TRAIN, &net));
        net->layer_need_backward[1] = net->layers[1]->propagate_down[0] = true;
        assert_ok(context, qf_net_backward(net));
        assert_ok(context, qf_net_forward(net, NULL));
        assert_ok(context, qf_net_backward(net));
        assert_ok(context, qf_blob_reshape(qf_net_blob(net, "x0"), smaller, 4));
        assert_ok(context, qf_net_reshape(net));
        assert_ok(context, qf_net_backward(net));
        qf_net_destroy(net);
    }
}

/* A draw is one of the window's values, and each of them has its share of the sum as probability.
 */
static void stochastic_pooling_draws_by_share(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    qf_net *net;
    float *x;
    const float *y;
    double counts[4] = {0};
    assert_ok(context, build("1 1 2 2",
                             "type: 'Pooling' pooling_param { pool: STOCHASTIC "
                             "kernel_size: 2 }",
                             QF_TRAIN, &net));
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    for (int i = 0; i < 4; i++)
        x[i] = (float)(i + 1);
    for (int draw = 0; draw < DRAWS; draw++) {
        assert_ok(context, qf_net_forward(net, NULL));
        assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
        assert_true(y[0] == 1 || y[0] == 2 || y[0] == 3 || y[0] == 4);
        counts[(int)y[0] - 1]++;
    }
    for (int i = 0; i < 4; i++) {
        const double share = (i + 1) / 10.0;
        assert_true(fabs(counts[i] / DRAWS - share) < 5 * sqrt(share * (1 - share) / DRAWS));
    }
    qf_net_destroy(net);
    /* In TEST the mean weighted by it: (1 + 4 + 9 + 16) / 10. */
    assert_ok(context, build("1 1 2 2",
                             "type: 'Pooling' pooling_param { pool: STOCHASTIC "
                             "kernel_size: 2 }",
                             QF_TEST, &net));
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    for (int i = 0; i < 4; i++)
        x[i] = (float)(i + 1);
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
    assert_float_equal(y[0], 3, 1e-6);
    qf_net_destroy(net);
}

/* Two nets that share weights: the recurrent layer of the second uses those of the first. */
static void recurrent_layers_share_weights(void **state)
{
    (void)state;
    static const char layer[] =
        "type: 'LSTM' recurrent_param { num_output: 2 weight_filler { type: "
        "'uniform' min: -1 max: 1 } }";
    qf_net *owner, *other;
    const float *expected, *found;
    assert_ok(context, build("3 2 4; 3 2", layer, QF_TRAIN, &owner));
    assert_ok(context, build("3 2 4; 3 2", layer, QF_TEST, &other));
    assert_ok(context, qf_net_share_weights(other, owner));
    qf_net *const nets[] = {owner, other};
    for (int n = 0; n < 2; n++) {
        float *x;
        assert_ok(context, qf_blob_mutable_data(qf_net_blob(nets[n], "x0"), &x));
        for (int i = 0; i < 24; i++)
            x[i] = 0.1f * (float)i - 1;
        assert_ok(context, qf_net_forward(nets[n], NULL));
    }
    assert_ok(context, qf_blob_data(qf_net_blob(owner, "y"), &expected));
    assert_ok(context, qf_blob_data(qf_net_blob(other, "y"), &found));
    assert_memory_equal(found, expected, 12 * sizeof *found);
    assert_true(expected[0] != 0);
    qf_net_destroy(owner); /* its weights live on in the other */
    assert_ok(context, qf_net_forward(other, NULL));
    qf_net_destroy(other);
}

/* The state that goes on from pass to pass is in the snapshot: nothing else restarts a sequence
 * here. */
static void recurrent_state_survives_a_snapshot(void **state)
{
    (void)state;
    char *folder = test_make_directory(), *path = test_format("%s/solver.prototxt", folder);
    char *snapshot = test_format("%s/s_iter_2.solverstate", folder);
    char *text = test_format(
        "base_lr: 0.5 lr_policy: 'fixed' max_iter: 9 snapshot_prefix: '%s/s' random_seed: 3 "
        "net_param { layer { name: 'in' type: 'DummyData' top: 'x' top: 'cont' top: 'z' "
        "dummy_data_param { shape { dim: 2 dim: 3 dim: 4 } shape { dim: 2 dim: 3 } "
        "shape { dim: 2 dim: 3 dim: 2 } data_filler { type: 'gaussian' } data_filler { value: 1 } "
        "data_filler { type: 'gaussian' } } } layer { name: 'lstm' type: 'LSTM' bottom: 'x' "
        "bottom: 'cont' top: 'h' recurrent_param { num_output: 2 weight_filler { type: 'gaussian' "
        "} } } layer { name: 'loss' type: 'EuclideanLoss' bottom: 'h' bottom: 'z' top: 'l' } }",
        folder);
    qf_solver *through, *resumed;
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0640));
    assert_ok(context, qf_solver_create(context, path, &through));
    assert_ok(context, qf_solver_step(through, 2));
    assert_ok(context, qf_solver_snapshot(through));
    assert_ok(context, qf_solver_step(through, 3));
    assert_ok(context, qf_solver_create(context, path, &resumed));
    assert_ok(context, qf_solver_restore(resumed, snapshot));
    assert_ok(context, qf_solver_step(resumed, 3));
    const qf_layer *a = qf_net_find_layer(qf_solver_net(through), "lstm");
    const qf_layer *b = qf_net_find_layer(qf_solver_net(resumed), "lstm");
    for (int i = 0; i < a->param_count; i++) {
        const float *expected, *found;
        assert_ok(context, qf_blob_data(a->params[i].blob, &expected));
        assert_ok(context, qf_blob_data(b->params[i].blob, &found));
        assert_memory_equal(found, expected, qf_blob_count(a->params[i].blob) * sizeof *expected);
    }
    qf_solver_destroy(resumed);
    qf_solver_destroy(through);
    test_remove_directory(folder);
    qf_free(text);
    qf_free(snapshot);
    qf_free(path);
    qf_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_parameters),
        cmocka_unit_test(impossible_values),
        cmocka_unit_test(backward_without_forward),
        cmocka_unit_test(stochastic_pooling_draws_by_share),
        cmocka_unit_test(recurrent_layers_share_weights),
        cmocka_unit_test(recurrent_state_survives_a_snapshot),
    };
    context = test_context();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qf_context_destroy(context);
    return failed;
}
