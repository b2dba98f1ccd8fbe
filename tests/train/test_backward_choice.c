/* How a run computes gradients: chosen once by what bf16 costs, kept by snapshots. What is measured
 * is made up here, so that no time matters. */
#include "harness/command.h"
#include "train/solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char net_text[] =
    "layer { name: 'in' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {\n"
    "  shape { dim: 3 dim: 16 dim: 7 dim: 6 } shape { dim: 3 }\n"
    "  data_filler { type: 'gaussian' } data_filler { type: 'constant' value: 1 } } }\n"
    "layer { name: 'b_q' type: 'ActivationQAT' bottom: 'data' top: 'b_q'\n"
    "  retrain_data_quant_param { clip_max: 1.5 clip_min: -0.5 ifmr_init: false } }\n"
    "layer { name: 'b_w' type: 'WeightQAT' bottom: 'b_q' top: 'b_w'\n"
    "  param { name: 'b_codes' decay_mult: 0 } param { name: 'b_master' }\n"
    "  retrain_weight_quant_param { cout: 16 cin: 16 h: 3 w: 3 channel_wise: true } }\n"
    "layer { name: 'b' type: 'Convolution' bottom: 'b_w' top: 'b'\n"
    "  param { name: 'b_codes' decay_mult: 0 } convolution_param { num_output: 16 kernel_size: 3\n"
    "    pad: 1 bias_term: false } }\n"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'b' top: 'ip' inner_product_param {\n"
    "  num_output: 4 weight_filler { type: 'gaussian' std: 0.1 } } }\n"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n";

static int set_up(void **state)
{
    qf_context *context = test_context();
    assert_int_equal(test_enter_folder(state), 0);
    char *solver = test_format("net_param { %s } base_lr: 0.1 lr_policy: 'fixed' max_iter: 4 "
                               "snapshot_prefix: 'run' random_seed: 3",
                               net_text);
    test_write_text(context, "solver.prototxt", solver);
    qf_free(solver);
    qf_context_destroy(context);
    return 0;
}

static double cost;      /* what is measured */
static int measurements; /* how often */
static char said[4096];  /* the lines about gradients */

static qf_status measure(qf_context *context, double *out)
{
    (void)context;
    measurements++;
    *out = cost;
    return QF_OK;
}

static void listen(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user, (void)file, (void)line;
    if (strncmp(text, "Gradients ", 10) == 0)
        snprintf(said, sizeof said, "%c %s", "DIWE"[level], text);
}

static qf_solver *open_solver(qf_backward asked, double measured)
{
    qf_context *context = test_context();
    qf_solver *solver;
    qf_context_set_log(context, listen, NULL, QF_INFO);
    qf_context_set_compute(context, QF_COMPUTE_AUTO, asked);
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    float *w;
    qf_blob *master = qf_net_find_layer(solver->net, "b_w")->params[1].blob;
    assert_ok(context, qf_blob_mutable_data(master, &w));
    for (size_t k = 0; k < qf_blob_count(master); k++)
        w[k] = 0.1f * sinf((float)k * 1.7f);
    solver->bf16_cost = measure;
    cost = measured;
    measurements = 0;
    *said = 0;
    return solver;
}

static void close_solver(qf_solver *solver)
{
    qf_context *context = solver->context;
    qf_solver_destroy(solver);
    qf_context_destroy(context);
}

static void chosen_by_cost(void **state)
{
    (void)state;
    static const struct {
        qf_backward asked;
        double cost;
        qf_backward chosen;
        int measurements;
        const char *said; /* "": nothing */
    } rows[] = {
        {QF_BACKWARD_F32, 0.5, QF_BACKWARD_F32, 0, ""},
        {QF_BACKWARD_AUTO, 0.5, QF_BACKWARD_BF16, 1,
         "I Gradients of quantised layers are computed in bf16: bf16 took 0.50"},
        {QF_BACKWARD_AUTO, 0.95, QF_BACKWARD_F32, 1, "in float: bf16 took 0.95"},
        {QF_BACKWARD_AUTO, 1.28, QF_BACKWARD_F32, 1, "in float: bf16 took 1.28"},
        {QF_BACKWARD_AUTO, 0, QF_BACKWARD_F32, 1, ""}, /* no bf16 here */
        {QF_BACKWARD_BF16, 0, QF_BACKWARD_F32, 1, ""},
        {QF_BACKWARD_BF16, 0.95, QF_BACKWARD_BF16, 1, ""},
        {QF_BACKWARD_BF16, 1.28, QF_BACKWARD_BF16, 1,
         "W Gradients in bf16 took 1.28 of the time of float"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qf_solver *solver = open_solver(rows[i].asked, rows[i].cost);
        assert_ok(solver->context, qf_solver_step(solver, 2));
        assert_int_equal(solver->backward, rows[i].chosen);
        assert_int_equal(measurements, rows[i].measurements);
        assert_int_equal(solver->context->backward, rows[i].asked);
        if (*rows[i].said ? !strstr(said, rows[i].said) : *said)
            fail_msg("row %zu: expected \"%s\" in: %s", i, rows[i].said, said);
        close_solver(solver);
    }
}

static void assert_same_weights(const qf_solver *a, const qf_solver *b)
{
    for (int i = 0; i < a->net->learnable_count; i++) {
        const float *x, *y;
        qf_blob *of_a = a->net->learnables[i].blob, *of_b = b->net->learnables[i].blob;
        assert_ok(a->context, qf_blob_data(of_a, &x));
        assert_ok(b->context, qf_blob_data(of_b, &y));
        assert_memory_equal(x, y, qf_blob_count(of_a) * sizeof *x);
    }
}

/* On another processor, where another choice would be made, whatever is asked for. */
static void snapshots_keep_it(void **state)
{
    (void)state;
    static const struct {
        double first, second;
        qf_backward asked, kept;
        const char *said;
    } rows[] = {
        {0.5, 1.28, QF_BACKWARD_AUTO, QF_BACKWARD_BF16, "in bf16 where the processor has it, as"},
        {0.5, 1.28, QF_BACKWARD_F32, QF_BACKWARD_BF16, "in bf16 where the processor has it, as"},
        {0.5, 1.28, QF_BACKWARD_BF16, QF_BACKWARD_BF16, "in bf16 where the processor has it, as"},
        {1.28, 0.5, QF_BACKWARD_AUTO, QF_BACKWARD_F32, ""},
        {1.28, 0.5, QF_BACKWARD_BF16, QF_BACKWARD_F32, "W Gradients are computed in float, as"},
    };
    static const char *const formats[] = {"", ".h5"};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        const bool hdf5 = i % 2;
        qf_solver *whole = open_solver(QF_BACKWARD_AUTO, rows[i / 2].first);
        whole->param->has_snapshot_format = true;
        whole->param->snapshot_format = hdf5
                                            ? CAFFE__SOLVER_PARAMETER__SNAPSHOT_FORMAT__HDF5
                                            : CAFFE__SOLVER_PARAMETER__SNAPSHOT_FORMAT__BINARYPROTO;
        assert_ok(whole->context, qf_solver_step(whole, 2));
        assert_ok(whole->context, qf_solver_snapshot(whole));
        assert_ok(whole->context, qf_solver_step(whole, 2));

        qf_solver *resumed = open_solver(rows[i / 2].asked, rows[i / 2].second);
        char *name = test_format("run_iter_2.solverstate%s", formats[hdf5]);
        assert_ok(resumed->context, qf_solver_restore(resumed, name));
        qf_free(name);
        assert_ok(resumed->context, qf_solver_step(resumed, 2));
        assert_int_equal(measurements, 0);
        assert_int_equal(resumed->backward, rows[i / 2].kept);
        if (*rows[i / 2].said ? !strstr(said, rows[i / 2].said) : *said)
            fail_msg("row %zu: expected \"%s\" in: %s", i, rows[i / 2].said, said);
        assert_same_weights(whole, resumed);
        close_solver(resumed);
        close_solver(whole);
    }
}

/* The backend's own: 0 without bf16, else a ratio; what was asked stays. */
static void the_backend_measures(void **state)
{
    (void)state;
    qf_context *context = test_context();
    const qf_device *device = qf_device_of(context);
    double measured = -1;
    qf_context_set_compute(context, QF_COMPUTE_AUTO, QF_BACKWARD_AUTO);
    assert_ok(context, device->convolve->bf16_cost(context, &measured));
    assert_true(measured >= 0 && isfinite(measured));
    assert_int_equal(context->backward, QF_BACKWARD_AUTO);
    print_message("bf16 costs %.2f of float\n", measured);
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chosen_by_cost),
        cmocka_unit_test(snapshots_keep_it),
        cmocka_unit_test(the_backend_measures),
    };
    return cmocka_run_group_tests(tests, set_up, test_leave_folder);
}
