/* Public functions where an allocation fails: a status and a sentence of memory, nothing of ours
 * that stays allocated, and the same call succeeds afterwards. The commands:
 * scripts/alloc_failures.py. */
#include "faults/allocations.h"
#include "harness/command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NET                                                                                        \
    "force_backward: true layer { name: 'd' type: 'Data' top: 'x' top: 'label' "                   \
    "data_param { source: 'train_lmdb' batch_size: 4 backend: LMDB } transform_param { scale: "    \
    "0.01 } }"                                                                                     \
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

static char *folder;

static int set_up(void **state)
{
    (void)state;
    qf_context *context = test_context();
    folder = test_make_directory();
    assert_int_equal(chdir(folder), 0);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 16, 8, 1));
    test_write_text(context, "net.prototxt", NET);
    test_write_text(context, "memory.prototxt", MEMORY_NET);
    test_write_text(context, "solver.prototxt",
                    "net: 'net.prototxt' test_iter: 1 test_interval: 10 base_lr: 0.01 lr_policy: "
                    "'fixed' max_iter: 4 snapshot_prefix: 'run' random_seed: 1 type: 'Adam' "
                    "momentum2: 0.999");
    qf_context_destroy(context);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    test_remove_directory(folder);
    qf_free(folder);
    return 0;
}

/* ---- what is tried: each gives back all that it took ---- */

static qf_status run_net(qf_context *context, qf_net *net)
{
    float loss;
    QF_TRY(qf_net_forward(net, &loss));
    QF_TRY(qf_net_backward(net));
    QF_TRY(qf_net_save_weights(net, "net.caffemodel"));
    QF_TRY(qf_net_load_weights(net, "net.caffemodel"));
    const float *values;
    for (int i = 0; i < qf_net_blob_count(net); i++)
        QF_TRY(qf_blob_data(qf_net_blob_at(net, i), &values));
    qf_view *view;
    float *written;
    QF_TRY(qf_blob_view(qf_net_blob_at(net, 0), false, &view, &written));
    qf_status status = qf_views_take(context);
    if (status == QF_OK)
        status = qf_views_show(context);
    qf_view_release(view);
    return status;
}

static qf_status train_net(qf_context *context)
{
    qf_net *net, *other = NULL;
    qf_status status = qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = run_net(context, net);
    if (status == QF_OK)
        status = qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &other);
    if (status == QF_OK)
        status = qf_net_share_weights(other, net);
    qf_scores *scores = NULL;
    if (status == QF_OK)
        status = qf_net_test(other, 2, NULL, NULL, NULL, &scores);
    qf_scores_destroy(scores);
    qf_net_destroy(other);
    qf_net_destroy(net);
    return status;
}

static qf_status run_solver(qf_solver *solver)
{
    QF_TRY(qf_solver_step(solver, 2));
    QF_TRY(qf_solver_snapshot(solver));
    QF_TRY(qf_solver_restore(solver, "run_iter_2.solverstate"));
    char settings[4096];
    const char *now = qf_solver_settings(solver); /* NULL: no memory */
    if (!now)
        return QF_OK;
    snprintf(settings, sizeof settings, "%s", now);
    return qf_solver_change_settings(solver, settings);
}

static qf_status train_by_solver(qf_context *context)
{
    qf_solver *solver;
    qf_status status = qf_solver_create(context, "solver.prototxt", &solver);
    if (status == QF_OK)
        status = run_solver(solver);
    qf_solver_destroy(solver);
    return status;
}

static qf_status feed_memory(qf_context *context)
{
    static const float images[4 * 36], labels[4];
    const int larger[] = {4, 1, 6, 6};
    qf_net *net;
    qf_status status = qf_net_create(context, "memory.prototxt", QF_TEST, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_set_memory_data(net, images, labels, 4);
    if (status == QF_OK)
        status = qf_net_forward(net, NULL);
    if (status == QF_OK)
        status = qf_blob_reshape(qf_net_blob_at(net, 0), larger, 4);
    if (status == QF_OK)
        status = qf_net_reshape(net);
    qf_net_destroy(net);
    return status;
}

static qf_status inspect(qf_context *context)
{
    qf_inspection found;
    qf_status status = qf_inspect(context, "net.prototxt", NULL, "x=1x1x28x28,label=1", QF_TRAIN, 0,
                                  NULL, 0, &found);
    qf_inspection_release(&found);
    return status;
}

/* ---- trying ---- */

typedef qf_status trial(qf_context *context);

static size_t try_once(trial *function, const fault_plan *plan)
{
    qf_context *context = test_context();
    qf_context_set_threads(context, 2);
    fault_begin(plan);
    const qf_status status = function(context);
    const size_t counted = fault_end(NULL);
    if (status != QF_OK && !strstr(qf_error_text(context), "memory"))
        fail_msg("allocation %zu: status %s, \"%s\"", plan->number, qf_status_name(status),
                 qf_error_text(context));
    qf_context_destroy(context);
    return counted;
}

static void try_all(trial *function)
{
    enum { RUNS = 150 };
    fault_plan plan = {.spare = "libgomp libdnnl libhdf5"};
    try_once(function, &plan); /* code is generated, caches are filled */
    const size_t kept = qf_memory_used(), all = try_once(function, &plan);
    for (int i = 0; i < RUNS; i++) {
        plan.number = 1 + (size_t)i * all / RUNS;
        try_once(function, &plan);
        if (qf_memory_used() != kept)
            fail_msg("allocation %zu of %zu: %zu bytes are not given back", plan.number, all,
                     qf_memory_used() - kept);
    }
    plan.number = 0;
    qf_context *context = test_context();
    assert_ok(context, function(context));
    qf_context_destroy(context);
}

static void nets(void **state)
{
    (void)state;
    try_all(train_net);
}

static void solvers(void **state)
{
    (void)state;
    try_all(train_by_solver);
}

static void data_from_memory(void **state)
{
    (void)state;
    try_all(feed_memory);
}

static void inspections(void **state)
{
    (void)state;
    try_all(inspect);
}

static void contexts(void **state)
{
    (void)state;
    qf_context *context;
    fault_begin(&(fault_plan){.number = 1});
    const qf_status status = qf_context_create(&context);
    fault_end(NULL);
    assert_int_equal(status, QF_E_MEMORY);
    assert_null(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts),    cmocka_unit_test(nets),
        cmocka_unit_test(solvers),     cmocka_unit_test(data_from_memory),
        cmocka_unit_test(inspections),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
