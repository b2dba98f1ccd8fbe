/* Recorded training runs of BVLC Caffe: weights, rates, losses, history, snapshots in both formats,
 * resuming. The folder is walked, so a new case needs no code. */
#include "harness/cases.h"
#include "train/solver.h"
#include "train/state_hdf5.h"

#include <string.h>

static const char *golden;

/* NULL, with a line, where it cannot be made. */
static qf_solver *new_solver(test_case *test, const char *weights)
{
    qf_solver *solver;
    qf_status status = qf_solver_create(test->context, json_text(test->json, "solver"), &solver);
    if (status == QF_OK && weights)
        status = qf_net_load_weights(qf_solver_net(solver), weights);
    if (status == QF_OK)
        return solver;
    test_failure(test, "  %s\n", qf_error_text(test->context));
    qf_solver_destroy(solver);
    return NULL;
}

static void compare_weights(test_case *test, qf_solver *solver, const char *what,
                            const json_t *list)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        qf_layer *layer = qf_net_find_layer(solver->net, json_text(entry, "layer"));
        int index = (int)json_number(entry, "index");
        if ((int)json_number(entry, "iter") != solver->iteration)
            continue;
        if (!layer || index >= layer->param_count)
            test_failure(test, "  there is no parameter %d of %s\n", index,
                         json_text(entry, "layer"));
        else
            test_compare_blob(test, what, layer->params[index].blob, entry);
    }
}

static void compare_history(test_case *test, qf_solver *solver)
{
    const json_t *entry, *list = json_object_get(test->json, "history_at_end");
    size_t i;
    if ((int)json_array_size(list) != solver->net->learnable_count * solver->rule->histories)
        test_failure(test, "  expected %zu history blobs\n", json_array_size(list));
    else
        json_array_foreach(list, i, entry)
        {
            qf_tensor *tensor = solver->history[(int)json_number(entry, "index")];
            const float *found;
            assert_ok(test->context, qf_read(test->context, tensor, QF_PLAIN, &found));
            test_compare_values(test, "history", json_text(entry, "file"), found, &tensor->shape,
                                entry);
        }
}

/* Single iterations to the end. `recorded` has learning_rate and loss from `start` on. */
static void train(test_case *test, qf_solver *solver, const char *what, const json_t *recorded,
                  const json_t *tolerances)
{
    const json_t *rates = json_object_get(recorded, "learning_rate");
    const json_t *losses = json_object_get(recorded, "loss");
    const json_t *atol = json_object_get(tolerances, "loss_atol");
    double rate_rtol = json_number(tolerances, "learning_rate_rtol");
    double loss_rtol = json_number(tolerances, "loss_rtol");
    for (size_t i = 0; i < json_array_size(losses); i++) {
        int iteration = solver->iteration;
        double expected = json_number_value(json_array_get(rates, i));
        double rate = (double)qf_solver_learning_rate(solver);
        if (!test_agrees(rate, expected, rate_rtol, 0))
            test_failure(test, "  %s: rate of iteration %d is %.9g, expected %.9g\n", what,
                         iteration, rate, expected);
        if (qf_solver_step(solver, 1) != QF_OK) {
            test_failure(test, "  %s: %s\n", what, qf_error_text(test->context));
            return;
        }
        double loss = (double)qf_solver_loss(solver);
        expected = json_number_value(json_array_get(losses, i));
        if (!test_agrees(loss, expected, loss_rtol,
                         json_number_value(json_array_get(atol, (size_t)iteration))))
            test_failure(test, "  %s: loss of iteration %d is %.9g, expected %.9g\n", what,
                         iteration, loss, expected);
        compare_weights(test, solver, what, json_object_get(recorded, "weights"));
    }
}

/* ---- states ---- */

static qf_status read_state(qf_context *context, const char *path, Caffe__SolverState **out)
{
    return strstr(path, ".h5") ? qf_state_read_hdf5(context, path, out)
                               : qf_wire_read(context, path, &caffe__solver_state__descriptor, out);
}

static void compare_state(test_case *test, const char *path, const json_t *expected)
{
    Caffe__SolverState *state;
    const char *ours, *theirs = json_text(expected, "learned_net");
    assert_ok(test->context, read_state(test->context, path, &state));
    ours = strrchr(state->learned_net, '/');
    ours = ours ? ours + 1 : state->learned_net;
    if (state->iter != (int)json_number(expected, "iter") ||
        state->current_step != (int)json_number(expected, "current_step") ||
        (int)state->n_history != (int)json_number(expected, "history_blobs") ||
        strcmp(ours, theirs) != 0)
        test_failure(test,
                     "  %s holds iteration %d, step %d, %zu history blobs and %s, expected %s\n",
                     path, state->iter, state->current_step, state->n_history, ours, theirs);
    qf_message_free(state);
}

static void assert_same_run(test_case *test, const char *what, qf_solver *a, qf_solver *b)
{
    for (int i = 0; i < a->net->learnable_count; i++) {
        qf_blob *left = a->net->learnables[i].blob, *right = b->net->learnables[i].blob;
        const float *x, *y;
        assert_ok(test->context, qf_blob_data(left, &x));
        assert_ok(test->context, qf_blob_data(right, &y));
        if (memcmp(x, y, qf_blob_count(left) * sizeof *x) != 0)
            test_failure(test, "  %s: %s is not bit for bit that of the run without a break\n",
                         what, left->name);
    }
}

/* Our own snapshots, in both formats: written at `at`, resumed, and the end is the same. */
static void resume_our_own(test_case *test, qf_solver *uninterrupted, const char *init, int at)
{
    static const char *const formats[] = {"BINARYPROTO", "HDF5"}, *const ends[] = {"", ".h5"};
    for (int f = 0; f < 2; f++) {
        char *folder = test_make_directory();
        qf_solver *solver = new_solver(test, init), *resumed = new_solver(test, NULL);
        char *path = test_format("%s/snap_iter_%d.solverstate%s", folder, at, ends[f]);
        qf_buffer settings = {0};
        assert_non_null(solver);
        assert_non_null(resumed);
        qf_buffer_print(&settings, "%s", qf_solver_settings(solver));
        char *field = strstr(settings.data, "snapshot_format:");
        if (field) /* a field may be given but once */
            memset(field, ' ', strcspn(field, "\n"));
        field = strstr(settings.data, "snapshot_prefix:");
        assert_non_null(field);
        memset(field, ' ', strcspn(field, "\n"));
        qf_buffer_print(&settings, "snapshot_prefix: \"%s/snap\" snapshot_format: %s", folder,
                        formats[f]);
        assert_ok(test->context, qf_solver_change_settings(solver, settings.data));
        assert_ok(test->context, qf_solver_step(solver, at));
        assert_ok(test->context, qf_solver_snapshot(solver));
        assert_ok(test->context, qf_solver_restore(resumed, path));
        assert_int_equal(resumed->iteration, at);
        assert_ok(test->context, qf_solver_step(resumed, uninterrupted->iteration - at));
        assert_same_run(test, formats[f], resumed, uninterrupted);
        assert_ok(test->context,
                  qf_solver_step(solver, uninterrupted->iteration - solver->iteration));
        assert_ok(test->context, qf_solver_snapshot(solver));
        qf_free(path);
        path = test_format("%s/snap_iter_%d.solverstate%s", folder, solver->iteration, ends[f]);
        json_t *state = json_copy(json_object_get(test->json, "state_at_end"));
        char *model = test_format("snap_iter_%d.caffemodel%s", solver->iteration, ends[f]);
        json_object_set_new(state, "learned_net", json_string(model));
        compare_state(test, path, state);
        json_decref(state);
        qf_free(model);
        qf_free(path);
        qf_buffer_release(&settings);
        qf_solver_destroy(solver);
        qf_solver_destroy(resumed);
        test_remove_directory(folder);
        qf_free(folder);
    }
}

/* Every pair of files that Caffe wrote is taken. */
static void load_snapshots(test_case *test)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(test->json, "snapshots"), i, entry)
    {
        qf_solver *solver = new_solver(test, json_text(entry, "model"));
        if (solver && qf_solver_restore(solver, json_text(entry, "state")) != QF_OK)
            test_failure(test, "  %s\n", qf_error_text(test->context));
        else if (solver && solver->iteration != (int)json_number(entry, "iter"))
            test_failure(test, "  %s restores iteration %d\n", json_text(entry, "state"),
                         solver->iteration);
        qf_solver_destroy(solver);
    }
}

static void resume_theirs(test_case *test)
{
    const json_t *resume = json_object_get(test->json, "resume");
    qf_solver *solver = resume ? new_solver(test, NULL) : NULL;
    if (!solver)
        return;
    if (qf_solver_restore(solver, json_text(resume, "from")) != QF_OK)
        test_failure(test, "  %s\n", qf_error_text(test->context));
    else
        train(test, solver, "resumed", resume, test->json);
    qf_solver_destroy(solver);
}

static void run(test_case *test)
{
    const char *init = json_text(test->json, "init");
    qf_context_set_threads(test->context, 1); /* the nets are tiny */
    if (json_is_true(json_object_get(test->json, "refused"))) {
        qf_solver *solver;
        if (qf_solver_create(test->context, json_text(test->json, "solver"), &solver) == QF_OK)
            test_failure(test, "  the solver was not refused\n");
        qf_solver_destroy(solver);
        return;
    }
    qf_solver *solver = new_solver(test, init);
    if (!solver)
        return;
    if (strcmp(solver->rule->name, json_text(test->json, "type")) != 0)
        test_failure(test, "  the solver is %s\n", solver->rule->name);
    train(test, solver, "run", test->json, test->json);
    compare_history(test, solver);
    load_snapshots(test);
    resume_theirs(test);
    resume_our_own(test, solver, init, 6);
    qf_solver_destroy(solver);
}

static void training_agrees(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/solvers", 1, run);
}

int main(void)
{
    golden = test_golden_folder();
    const struct CMUnitTest tests[] = {cmocka_unit_test(training_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
