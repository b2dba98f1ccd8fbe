/* Layers that py-faster-rcnn writes in Python: their settings, and who runs them. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <string.h>

static const qf_layer *last_layer(const qf_net *net)
{
    return net->layers[net->layer_count - 1];
}

/* All ways to write the same. */
static void param_strings(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "'feat_stride': 8\\n'scales': !!python/tuple [4, 8]\\n'rpn_clobber_positives': True",
        "{'feat_stride': 8, 'scales': (4, 8), 'rpn_clobber_positives': true}",
        "feat_stride: 8 # pixels\\nscales:\\n - 4\\n - 8\\nrpn_clobber_positives: yes\\n",
        "\\\"feat_stride\\\" : 8.0, \\\"scales\\\" : [ 4 , 8 ] , rpn_clobber_positives : on",
        "'feat_stride': 8\\n'scales': [4, 8]\\n'unknown': [1, 2]\\n'rpn_clobber_positives': True",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *rest =
            test_format("type: 'Python' python_param { module: 'my.rpn.anchor_target_layer' "
                        "layer: 'AnchorTargetLayer' param_str: \"%s\" }",
                        texts[i]);
        qf_net *net = test_make_layer(
            context, QF_TRAIN, (const char *const[]){"1 12 5 6", "1 5", "1 3", NULL}, rest, 4);
        const Caffe__AnchorTargetParameter *p = last_layer(net)->param->anchor_target_param;
        assert_string_equal(last_layer(net)->type->name, "AnchorTarget");
        assert_true(p->feat_stride == 8 && p->n_scales == 2 && p->scales[1] == 8);
        assert_true(p->rpn_clobber_positives && p->rpn_batchsize == 256);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

static const char *const anchor_shapes[] = {"1 18 5 6", "1 5", "1 3", NULL};

static void wrong_param_strings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
    } rows[] = {
        {"'feat_stride", "a quote without an end"},
        {"'feat_stride' 16", "not of the form 'name': value"},
        {"'scales': [1, 2", "a list without an end"},
        {"'feat_stride': [16, 8]", "feat_stride"},
        {"'feat_stride': sixteen", "sixteen"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *rest = test_format("type: 'Python' python_param { module: 'rpn.anchor_target_layer' "
                                 "layer: 'AnchorTargetLayer' param_str: \"%s\" }",
                                 rows[i].text);
        qf_net *net;
        assert_fails(context, test_one_layer(context, QF_TRAIN, anchor_shapes, rest, 4, &net),
                     rows[i].sentence);
        assert_non_null(strstr(qf_error_text(context), "layer it"));
        qf_free(rest);
    }
}

/* What a net is, its layers know: with hard examples it takes all regions. */
static void settings_of_nets(void **state)
{
    (void)state;
    static const char text[] =
        "layer { name: 'r' type: 'Input' top: 'r' input_param { shape { dim: 1 dim: 5 } } }"
        "layer { name: 'o' type: 'Input' top: 'o' input_param { shape { dim: 1 dim: 5 } } }"
        "layer { name: 't' type: 'Python' bottom: 'r' bottom: 'o' top: 'a' top: 'b' top: 'c' top: "
        "'d' top: 'e' python_param { module: 'rpn.proposal_target_layer' layer: "
        "'ProposalTargetLayer' param_str: \"'num_classes': 2\" } }%s";
    static const char ohem[] =
        "layer { name: 'q' type: 'Input' top: 'q' input_param { shape { dim: 1 } } }"
        "layer { name: 'h' type: 'BoxAnnotatorOHEM' bottom: 'a' bottom: 'q' bottom: 'b' bottom: "
        "'d' top: 'f' top: 'g' box_annotator_ohem_param { roi_per_img: 1 } }";
    for (int i = 0; i < 2; i++) {
        char *whole = test_format(text, i ? ohem : "");
        qf_net *net;
        assert_ok(context, test_net_of(context, whole, QF_TRAIN, &net));
        const Caffe__ProposalTargetParameter *p =
            qf_net_find_layer(net, "t")->param->proposal_target_param;
        assert_true(p->agnostic && p->batch_size == (i ? -1 : 128));
        qf_net_destroy(net);
        qf_free(whole);
    }
}

static bool has_none(void *user, const char *module, const char *layer)
{
    ++*(int *)user;
    return strcmp(module, "rpn.anchor_target_layer") != 0 ||
           strcmp(layer, "AnchorTargetLayer") != 0;
}

static qf_status no_setup(void *user, qf_layer *layer, void **theirs)
{
    (void)user, (void)layer, (void)theirs;
    qf_context_fail(context, "the module's own layer");
    return QF_E_VALUE;
}

/* A program's own module comes first; where it has none, the type here runs. */
static void own_module(void **state)
{
    (void)state;
    int asked = 0;
    const qf_python_layers own = {.size = sizeof own, .setup = no_setup},
                           none = {.size = sizeof none, .setup = no_setup, .has = has_none};
    static const char rest[] = "type: 'Python' python_param { module: 'rpn.anchor_target_layer' "
                               "layer: 'AnchorTargetLayer' param_str: \"'feat_stride': 16\" }";
    qf_net *net;
    assert_ok(context, qf_context_set_python_layers(context, &own, NULL));
    assert_fails(context, test_one_layer(context, QF_TRAIN, anchor_shapes, rest, 4, &net),
                 "the module's own layer");
    assert_ok(context, qf_context_set_python_layers(context, &none, &asked));
    assert_ok(context, test_one_layer(context, QF_TRAIN, anchor_shapes, rest, 4, &net));
    assert_int_equal(asked, 1);
    qf_net_destroy(net);
    assert_ok(context, qf_context_set_python_layers(context, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(param_strings),
        cmocka_unit_test(wrong_param_strings),
        cmocka_unit_test(settings_of_nets),
        cmocka_unit_test(own_module),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
