/* A learning rate that is too large: training stops with what the loss was and a rate to try. */
#include "harness/harness.h"
#include "nn/solver.h"

#include <string.h>

static qf_status train(qf_context *context, double rate)
{
    char *folder = test_make_directory(), *path = test_format("%s/solver.prototxt", folder);
    char *text = test_format(
        "net_param { layer { name: 'd' type: 'DummyData' top: 'x' top: 't' dummy_data_param { "
        "shape { dim: 4 dim: 3 } shape { dim: 4 dim: 1 } data_filler { value: 1 } data_filler { "
        "value: 2 } } } layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' "
        "inner_product_param { num_output: 1 } } layer { name: 'loss' type: 'EuclideanLoss' "
        "bottom: 'y' bottom: 't' top: 'l' } } base_lr: %g lr_policy: 'fixed' max_iter: 400 "
        "snapshot_after_train: false snapshot_prefix: '%s/s'",
        rate, folder);
    qf_solver *solver;
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0640));
    assert_ok(context, qf_solver_create(context, path, &solver));
    const qf_status status = qf_solver_solve(solver);
    qf_solver_destroy(solver);
    test_remove_directory(folder);
    qf_free(text);
    qf_free(path);
    qf_free(folder);
    return status;
}

static void a_rate_too_large_is_told(void **state)
{
    (void)state;
    qf_context *context = test_context();
    assert_ok(context, train(context, 0.1));
    assert_fails(context, train(context, 10), "the training diverged");
    assert_non_null(strstr(qf_error_text(context), "(2 at iteration 0, "));
    assert_non_null(strstr(qf_error_text(context), "base_lr: 1 or"));
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_rate_too_large_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
