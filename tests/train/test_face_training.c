/* Nets of faces in training: margins that change by the pass and centres are part of what a
 * snapshot keeps, so that a resumed run is the run that was not stopped. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "net/net.h"
#include "train/solver.h"

#include <string.h>

static const char net_text[] =
    "layer { name: 'in' type: 'DummyData' top: 'x' dummy_data_param { shape { dim: 6 dim: 5 } "
    "data_filler { type: 'uniform' min: -1 } } } "
    "layer { name: 'labels' type: 'DummyData' top: 'label' dummy_data_param { shape { dim: 6 } "
    "data_filler { type: 'uniform' min: 0 max: 3 } } } "
    "layer { name: 'fc5' type: 'InnerProduct' bottom: 'x' top: 'fc5' inner_product_param { "
    "num_output: 4 weight_filler { type: 'xavier' } } } "
    "layer { name: 'fc6' type: 'MarginInnerProduct' bottom: 'fc5' bottom: 'label' top: 'fc6' "
    "top: 'lambda' margin_inner_product_param { num_output: 3 type: QUADRUPLE base: 10 gamma: 0.5 "
    "power: 1 weight_filler { type: 'xavier' } } } "
    "layer { name: 'quiet' type: 'Silence' bottom: 'lambda' } "
    "layer { name: 'cos' type: 'InnerProduct' bottom: 'fc5' top: 'cos' inner_product_param { "
    "num_output: 3 normalize: true bias_term: false weight_filler { type: 'gaussian_unitball' } } "
    "} "
    "layer { name: 'am' type: 'LabelSpecificAdd' bottom: 'cos' bottom: 'label' top: 'am' "
    "label_specific_add_param { bias_base: -0.1 bias_gamma: 0.5 bias_power: -0.2 bias_min: -1 } } "
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'fc6' bottom: 'label' top: 'l' } "
    "layer { name: 'am_loss' type: 'SoftmaxWithLoss' bottom: 'am' bottom: 'label' top: 'al' } "
    "layer { name: 'center' type: 'CenterLoss' bottom: 'fc5' bottom: 'label' top: 'c' loss_weight: "
    "0.1 center_loss_param { num_output: 3 center_filler { type: 'xavier' } } } ";

static qf_solver *open_solver(void)
{
    qf_context *own = test_context();
    qf_solver *solver;
    char *text = test_format("net_param { %s } base_lr: 0.1 lr_policy: 'fixed' momentum: 0.9 "
                             "max_iter: 9 random_seed: 5 snapshot_after_train: false "
                             "snapshot_prefix: 's'",
                             net_text);
    test_write_text(own, "solver.prototxt", text);
    assert_ok(own, qf_solver_create(own, "solver.prototxt", &solver));
    qf_free(text);
    return solver;
}

static void close_solver(qf_solver *solver)
{
    qf_context *own = solver->context;
    qf_solver_destroy(solver);
    qf_context_destroy(own);
}

static void expect_same_params(const qf_net *a, const qf_net *b)
{
    for (int l = 0; l < a->layer_count; l++)
        for (int i = 0; i < a->layers[l]->param_count; i++) {
            const float *x, *y;
            assert_ok(context, qf_blob_data(a->layers[l]->params[i].blob, &x));
            assert_ok(context, qf_blob_data(b->layers[l]->params[i].blob, &y));
            if (memcmp(x, y, qf_blob_count(a->layers[l]->params[i].blob) * sizeof *x) != 0)
                fail_msg("%s: parameter %d is another", a->layers[l]->name, i);
        }
}

static void resumed_is_not_stopped(void **state)
{
    (void)state;
    qf_solver *whole = open_solver(), *half = open_solver();
    assert_ok(whole->context, qf_solver_step(whole, 9));
    assert_ok(half->context, qf_solver_step(half, 4));
    assert_ok(half->context, qf_solver_snapshot(half));
    close_solver(half);
    half = open_solver();
    assert_ok(half->context, qf_solver_restore(half, "s_iter_4.solverstate"));
    assert_ok(half->context, qf_solver_step(half, 5));
    const float *lambda;
    assert_ok(half->context, qf_blob_data(qf_net_blob(half->net, "lambda"), &lambda));
    assert_float_equal(lambda[0], 10 / (1 + 0.5f * 9), 1e-6f);
    expect_same_params(whole->net, half->net);
    close_solver(whole);
    close_solver(half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(resumed_is_not_stopped)};
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
