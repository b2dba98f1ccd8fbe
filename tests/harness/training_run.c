#include "harness/training_run.h"

#include "harness/gradients.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill_masters(test_run *r)
{
    int number = 0;
    for (int l = 0; l < r->net->layer_count; l++) {
        const qf_layer *layer = r->net->layers[l];
        float *w;
        if (strcmp(layer->type->name, "WeightQAT") != 0)
            continue;
        qf_blob *master = layer->params[1].blob;
        assert_ok(r->context, qf_blob_mutable_data(master, &w));
        for (size_t k = 0; k < qf_blob_count(master); k++)
            w[k] = 0.1f * sinf((float)k * 1.7f + (float)number);
        number++;
    }
}

void test_run_open(test_run *r, const char *text, bool fusion, bool keep)
{
    Caffe__NetParameter *param;
    r->context = test_context();
    qf_context_set_seed(r->context, 7);
    setenv("QAFFE_FUSION", fusion ? "1" : "0", 1);
    assert_ok(r->context, qf_text_parse(r->context, "net", text, strlen(text),
                                        &caffe__net_parameter__descriptor, &param));
    assert_ok(r->context, qf_message_new(r->context, &caffe__net_state__descriptor, &param->state));
    param->state->has_phase = true;
    param->state->phase = CAFFE__PHASE__TRAIN;
    assert_ok(r->context, qf_net_create_from_param(r->context, param, NULL, &r->net));
    qf_message_free(param);
    unsetenv("QAFFE_FUSION");
    qf_net_keep_blobs(r->net, keep);
    fill_masters(r);
}

void test_run_close(test_run *r)
{
    qf_net_destroy(r->net);
    qf_context_destroy(r->context);
}

void test_run_step(test_run *r)
{
    qf_net_clear_param_diffs(r->net);
    assert_ok(r->context, qf_net_forward(r->net, &r->loss));
    assert_ok(r->context, qf_net_backward(r->net));
}

/* Why a parameter has no gradient; NULL: it has one. */
static const char *why_zero(const qf_net *net, const qf_learnable *learnable)
{
    const qf_layer *layer = net->layers[learnable->layer];
    if (strcmp(layer->type->name, "BatchNorm") == 0)
        return "statistics do not learn";
    return strcmp(layer->type->name, "WeightQAT") == 0 && learnable->index == 0
               ? "its gradient becomes the master's"
               : NULL;
}

void test_run_same_gradients(test_run *a, test_run *b, double tolerance, double of_ranges)
{
    qf_buffer wrong = {0};
    for (int i = 0; i < a->net->learnable_count; i++) {
        const qf_learnable *learnable = &a->net->learnables[i];
        const float *x, *y;
        char *name =
            test_format("parameter %d (layer %s)", i, a->net->layers[learnable->layer]->name);
        assert_ok(a->context, qf_blob_diff(learnable->blob, &x));
        assert_ok(b->context, qf_blob_diff(b->net->learnables[i].blob, &y));
        const size_t count = qf_blob_count(learnable->blob);
        (void)test_gradient_agrees_with(
            &(test_gradient){.name = name,
                             .count = count,
                             .of_largest = count == 1 ? of_ranges : tolerance,
                             .zero = why_zero(a->net, learnable)},
            x, y, &wrong);
        qf_free(name);
    }
    if (wrong.size)
        fail_msg("gradients:\n%s", qf_buffer_text(&wrong));
    qf_buffer_release(&wrong);
}
