/* Trainings that diverge, and those that only look like it: what is said, when, and that a resumed
 * run says the same. */
#include "harness/command.h"
#include "train/solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char warned[8192]; /* all warnings of the solver that is open */

static void listen(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user, (void)file, (void)line;
    const size_t used = strlen(warned);
    if (level == QF_WARNING)
        snprintf(warned + used, sizeof warned - used, "%s\n", text);
}

#define FLOAT_NET                                                                                  \
    "layer { name: 'd' type: 'DummyData' top: 'x' top: 't' dummy_data_param { shape { dim: 4 "     \
    "dim: 3 } shape { dim: 4 dim: 1 } data_filler { value: 1 } data_filler { value: 2 } } } "      \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' "                                \
    "inner_product_param { num_output: 1 } } "                                                     \
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'l' } "
#define QUANTISED_NET                                                                              \
    "layer { name: 'd' type: 'DummyData' top: 'x' top: 't' dummy_data_param { shape { dim: 4 "     \
    "dim: 3 } shape { dim: 4 dim: 1 } data_filler { value: 1 } data_filler { value: 2 } } } "      \
    "layer { name: 'a' type: 'ActivationQAT' bottom: 'x' top: 'a' retrain_data_quant_param { "     \
    "clip_max: 2 clip_min: -2 ifmr_init: false } } "                                               \
    "layer { name: 'w' type: 'WeightQAT' bottom: 'a' top: 'w' param { name: 'c' decay_mult: 0 } "  \
    "param { name: 'm' } retrain_weight_quant_param { cout: 1 cin: 3 } } "                         \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'w' top: 'y' param { name: 'c' decay_mult: "  \
    "0 } "                                                                                         \
    "inner_product_param { num_output: 1 bias_term: false } } "                                    \
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'l' } "

static qf_solver *open_solver(const char *net, double rate, const char *more)
{
    qf_context *context = test_context();
    qf_solver *solver;
    char *text = test_format("net_param { %s } base_lr: %g lr_policy: 'fixed' max_iter: 400 "
                             "snapshot_after_train: false snapshot_prefix: 's' %s",
                             net, rate, more);
    *warned = '\0';
    qf_context_set_log(context, listen, NULL, QF_WARNING);
    test_write_text(context, "solver.prototxt", text);
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    qf_free(text);
    const qf_layer *weights = qf_net_find_layer(solver->net, "w");
    float *master;
    if (weights) {
        assert_ok(context, qf_blob_mutable_data(weights->params[1].blob, &master));
        master[0] = master[1] = master[2] = 0.5f;
    }
    return solver;
}

static void close_solver(qf_solver *solver)
{
    qf_context *context = solver->context;
    qf_solver_destroy(solver);
    qf_context_destroy(context);
}

static void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in: %s", part, text);
}

/* ---- real trainings ---- */

static void a_rate_too_large_is_told(void **state)
{
    (void)state;
    qf_solver *solver = open_solver(FLOAT_NET, 0.1, "");
    assert_ok(solver->context, qf_solver_solve(solver));
    assert_string_equal(warned, "");
    close_solver(solver);

    solver = open_solver(FLOAT_NET, 10, "");
    qf_solver_on_divergence(solver, QF_DIVERGENCE_STOP);
    assert_fails(solver->context, qf_solver_solve(solver),
                 "the training diverged: the loss was 2 ");
    assert_says(qf_error_text(solver->context), "at iteration 0 and is ");
    assert_says(qf_error_text(solver->context), "; try base_lr: 0.01 or clip_gradients");
    assert_in_range(solver->iteration, 3, 8); /* long before it is infinite */
    close_solver(solver);

    solver = open_solver(FLOAT_NET, 0.01, "");
    assert_ok(solver->context, qf_solver_solve(solver)); /* the rate that was named */
    assert_true(solver->smoothed_loss < 0.1f);
    close_solver(solver);
}

/* Each reaction, on a loss that grows and on one that becomes infinite in the end. */
static void it_reacts_as_asked(void **state)
{
    (void)state;
    static const struct {
        const char *net;
        qf_divergence reaction;
        int iterations;
        bool fails;
        int warnings;
    } rows[] = {
        {FLOAT_NET, QF_DIVERGENCE_AUTO, 11, false, 1},
        {FLOAT_NET, QF_DIVERGENCE_AUTO, 300, true, 1}, /* infinite */
        {FLOAT_NET, QF_DIVERGENCE_WARN, 11, false, 1},
        {FLOAT_NET, QF_DIVERGENCE_WARN, 300, false, 2},
        {FLOAT_NET, QF_DIVERGENCE_IGNORE, 300, false, 0},
        {FLOAT_NET, QF_DIVERGENCE_STOP, 11, true, 0},
        {QUANTISED_NET, QF_DIVERGENCE_AUTO, 11, true, 0},
        {QUANTISED_NET, QF_DIVERGENCE_STOP, 11, true, 0},
        {QUANTISED_NET, QF_DIVERGENCE_WARN, 7, false, 1},
        {QUANTISED_NET, QF_DIVERGENCE_IGNORE, 7, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qf_solver *solver = open_solver(rows[i].net, 10, "");
        int warnings = 0;
        qf_solver_on_divergence(solver, rows[i].reaction);
        const qf_status status = qf_solver_step(solver, rows[i].iterations);
        for (const char *at = warned; (at = strstr(at, "the training diverged")); at++)
            warnings++;
        if ((status != QF_OK) != rows[i].fails ||
            (rows[i].warnings ? warnings < rows[i].warnings : warnings))
            fail_msg("row %zu: %s, %d warnings: %s%s", i, qf_status_name(status), warnings, warned,
                     qf_error_text(solver->context));
        close_solver(solver);
    }
}

/* ---- the measure ---- */

enum { LENGTH = 400 };

static double noise(unsigned *state) /* 0 … 1 */
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) / 16777216.0;
}

static double heavy_tailed(int i, unsigned *s)
{
    (void)i;
    return 1000 * pow(10, 3 * noise(s) - 2); /* three orders of magnitude, of sums over a batch */
}

static double spikes(int i, unsigned *s)
{
    return i % 97 == 30 ? 1e30 : 2 + noise(s);
}

static double begins_at_zero(int i, unsigned *s)
{
    return i < 20 ? 0 : 3 * noise(s);
}

static double tiny_and_disturbed(int i, unsigned *s)
{
    return i < 15 ? 1e-6 * noise(s) : 0.5 + noise(s);
}

static double falls_below_zero(int i, unsigned *s)
{
    return -(double)i * i - noise(s);
}

static double warm_up(int i, unsigned *s)
{
    return i < 30 ? 6.9 : i < 90 ? 6.9 + 60 * noise(s) : 6.9 * exp(-(i - 90) / 100.0);
}

static double forgets(int i, unsigned *s)
{
    return i < 20 ? 0.03 + 0.1 * noise(s) : 2.3; /* as if untrained: chance, and no more */
}

static double saturates(int i, unsigned *s)
{
    return i < 2 ? 2.3 + noise(s) : 87.3365;
}

static double late(int i, unsigned *s)
{
    return i < 250 ? 0.2 + noise(s) : 0.5 * pow(1.1, i - 250);
}

static double slowly(int i, unsigned *s)
{
    return pow(1.05, i) + noise(s);
}

static double from_a_small_batch(int i, unsigned *s)
{
    return i == 0 ? 0.01 : i < 12 ? 40 * pow(3, i) : 1e7 + noise(s);
}

static double destroyed_at_once(int i, unsigned *s)
{
    static const double first[] = {0.47, 2.02, 441, 280, 146, 28}; /* a real one */
    return i < 6 ? first[i] : 10.2 + noise(s);
}

/* The iteration at which losses count as diverged; -1: none of them. */
static int judged(double (*loss)(int, unsigned *), double weight)
{
    char *net = test_format("%s layer { name: 'more' type: 'EuclideanLoss' bottom: 'y' bottom: 't' "
                            "top: 'l2' loss_weight: %g }",
                            FLOAT_NET, weight - 1);
    qf_solver *solver = open_solver(net, 0.1, "");
    unsigned seed = 1;
    int found = -1;
    qf_solver_on_divergence(solver, QF_DIVERGENCE_STOP);
    for (int i = 0; i < LENGTH && found < 0; i++)
        if (qf_divergence_watch_loss(solver, (float)loss(i, &seed)) != QF_OK)
            found = i;
    close_solver(solver);
    qf_free(net);
    return found;
}

static void only_unbounded_losses_are_found(void **state)
{
    (void)state;
    static const struct {
        double (*loss)(int, unsigned *);
        double weight;
        int earliest, latest; /* -1: never */
    } rows[] = {
        {heavy_tailed, 1, -1, -1},
        {heavy_tailed, 1000, -1, -1},
        {spikes, 1, -1, -1},
        {begins_at_zero, 1, -1, -1},
        {tiny_and_disturbed, 1, -1, -1},
        {falls_below_zero, 1, -1, -1},
        {warm_up, 1, -1, -1},
        {forgets, 1, -1, -1}, /* is told at the end: docs/training.md */
        {saturates, 1, 30, 60},
        {late, 1, 280, 340},
        {slowly, 1, 60, 110},
        {from_a_small_batch, 1, 5, 25},
        {destroyed_at_once, 1, 35, 60},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int found = judged(rows[i].loss, rows[i].weight);
        if (found < rows[i].earliest || found > rows[i].latest)
            fail_msg("row %zu: found at %d, expected %d to %d", i, found, rows[i].earliest,
                     rows[i].latest);
    }
}

/* A range of one of the layers, as an update leaves it. */
static void set_range(qf_solver *solver, float min, float max)
{
    qf_layer *layer = qf_net_find_layer(solver->net, "a");
    float *value;
    assert_ok(solver->context, qf_blob_mutable_data(layer->params[0].blob, &value));
    *value = max;
    assert_ok(solver->context, qf_blob_mutable_data(layer->params[1].blob, &value));
    *value = min;
}

static void ranges_are_watched(void **state)
{
    (void)state;
    static const struct {
        float min, max;
        int found; /* after as many updates; 0: never */
        const char *said;
    } rows[] = {
        {-100, 900, 0, ""},
        {-0.01f, 0.02f, 0, ""},
        {3, -3, 0, ""}, /* the wrong way round: the layer goes back by itself */
        {-1e4f, 1e4f, 9, "of layer a grew from 2 to 10000 (the loss was 1 at iteration 0 and is"},
        {-1e20f, 1e15f, 2, "of layer a grew from 2 to 1e+20"},
        {1e20f, -1e15f, 2, "of layer a grew from 2 to 1e+20"},
        {-1e-5f, 1e-4f, 7, "of layer a shrank from 2 to 0.0001"},
        {0, 0, 1, "of layer a shrank from 2 to 0 "},
        {NAN, 1, 1, "of layer a grew from 2 to nan"},
        {0, INFINITY, 1, "of layer a grew from 2 to inf"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qf_solver *solver = open_solver(QUANTISED_NET, 0.001, "");
        int found = 0;
        assert_ok(solver->context, qf_divergence_watch_loss(solver, 1));
        set_range(solver, rows[i].min, rows[i].max);
        for (int k = 1; k <= 50 && !found; k++)
            if (qf_divergence_watch_ranges(solver) != QF_OK)
                found = k;
        if (found != rows[i].found)
            fail_msg("row %zu: found after %d, expected %d", i, found, rows[i].found);
        assert_says(qf_error_text(solver->context), rows[i].said);
        close_solver(solver);
    }
}

/* The scale of weights, and a pass that fails because of it. */
static void failing_passes_are_explained(void **state)
{
    (void)state;
    qf_solver *solver = open_solver(QUANTISED_NET, 0.001, "");
    float *w;
    qf_blob *master = qf_net_find_layer(solver->net, "w")->params[1].blob;
    assert_ok(solver->context, qf_solver_step(solver, 3));
    assert_ok(solver->context, qf_blob_mutable_data(master, &w));
    w[1] = 1e10f;
    assert_fails(solver->context, qf_solver_step(solver, 1), "Not support scale greater than");
    assert_says(qf_error_text(solver->context),
                "iteration 3: the training diverged: the quantisation range of layer w grew from ");
    assert_says(qf_error_text(solver->context), "(the loss was ");
    assert_says(qf_error_text(solver->context), "; try base_lr: 0.0001 or");
    close_solver(solver);

    /* What has nothing to do with it stays as it is. */
    solver = open_solver(QUANTISED_NET, 0.001, "");
    assert_ok(solver->context, qf_solver_step(solver, 3));
    assert_int_equal(qf_divergence_explain(solver, QF_E_IO), QF_E_IO);
    qf_fail(solver->context, QF_E_VALUE, "a value");
    assert_int_equal(qf_divergence_explain(solver, QF_E_VALUE), QF_E_VALUE);
    assert_string_equal(qf_error_text(solver->context), "a value");
    close_solver(solver);
}

/* ---- snapshots ---- */

static void stop_at(const char *more, char said[QF_ERROR_TEXT_SIZE], int pause)
{
    qf_solver *solver = open_solver(QUANTISED_NET, 0.9, more);
    if (pause) {
        assert_ok(solver->context, qf_solver_step(solver, pause));
        assert_ok(solver->context, qf_solver_snapshot(solver));
        close_solver(solver);
        char *state =
            test_format("s_iter_%d.solverstate%s", pause, strstr(more, "HDF5") ? ".h5" : "");
        solver = open_solver(QUANTISED_NET, 0.9, more);
        assert_ok(solver->context, qf_solver_restore(solver, state));
        qf_free(state);
    }
    assert_int_equal(qf_solver_solve(solver), QF_E_VALUE);
    snprintf(said, QF_ERROR_TEXT_SIZE, "%s", qf_error_text(solver->context));
    close_solver(solver);
}

static void resumed_runs_stop_where_the_other_does(void **state)
{
    (void)state;
    static const char *const formats[] = {"", "snapshot_format: HDF5"};
    char whole[QF_ERROR_TEXT_SIZE], resumed[QF_ERROR_TEXT_SIZE];
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        stop_at(formats[i], whole, 0);
        assert_says(whole, "the training diverged: ");
        const int stopped = (int)strtol(whole + strlen("iteration "), NULL, 10);
        assert_true(stopped > 4);
        for (int pause = 1; pause < stopped; pause += stopped / 4) {
            stop_at(formats[i], resumed, pause);
            assert_string_equal(resumed, whole);
        }
    }
}

static void states_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    qf_solver *solver = open_solver(FLOAT_NET, 0.01, "");
    qf_context *context = solver->context;
    Caffe__SolverState *stored;
    assert_ok(context, qf_solver_step(solver, 2));
    assert_ok(context, qf_solver_snapshot(solver));
    assert_ok(context, qf_wire_read(context, "s_iter_2.solverstate",
                                    &caffe__solver_state__descriptor, &stored));
    stored->run->divergence->start = NAN;
    assert_ok(context, qf_wire_write(context, "s_iter_2.solverstate", stored, 0644));
    assert_fails(context, qf_solver_restore(solver, "s_iter_2.solverstate"), "makes no sense");
    qf_message_free(stored);
    close_solver(solver);
}

/* ---- the command ---- */

static void the_command_has_a_switch(void **state)
{
    (void)state;
    close_solver(open_solver(FLOAT_NET, 0.6, "random_seed: 1"));
    test_command(0, "Optimization Done.", "",
                 "train --solver solver.prototxt --on-divergence warn");
    assert_says(test_output, ": the training diverged: the loss was 2 at iteration 0 and is ");
    test_command(1, "qaffe train: iteration ", "",
                 "train --solver solver.prototxt --on-divergence stop");
    assert_null(strstr(test_output, "Optimization Done."));
    test_command(0, "Optimization Done.", "",
                 "train --solver solver.prototxt --on-divergence ignore");
    assert_null(strstr(test_output, "diverged"));
    test_tool(1, "the loss is not finite", "tools/caffe train -solver solver.prototxt");
    test_tool(0, "Optimization Done.",
              "tools/caffe train -solver solver.prototxt -on_divergence=ignore");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_too_large_is_told),
        cmocka_unit_test(it_reacts_as_asked),
        cmocka_unit_test(only_unbounded_losses_are_found),
        cmocka_unit_test(ranges_are_watched),
        cmocka_unit_test(failing_passes_are_explained),
        cmocka_unit_test(resumed_runs_stop_where_the_other_does),
        cmocka_unit_test(states_that_make_no_sense_are_refused),
        cmocka_unit_test(the_command_has_a_switch),
    };
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
