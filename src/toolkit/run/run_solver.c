/* What `qat run` trains with: the solver's file. */
#include "model/model.h"
#include "toolkit/config/json_file.h"
#include "toolkit/run/run_settings.h"

/* The TEST phase behind training searches shifts: over batch_num batches, more than the test set
 * has if need be. */
static qf_status batches_at_end(qf_context *context, const qf_run_solver *files, int32_t *out)
{
    json_t *root;
    QF_TRY(qf_json_read(context, files->config, &root));
    const json_int_t wanted = json_integer_value(json_object_get(root, "batch_num"));
    json_decref(root);
    *out = wanted > files->test_batches ? (int32_t)wanted : files->test_batches;
    return QF_OK;
}

/* The rule of `s` with the run's own length, schedule and files. */
static qf_status fill(qf_context *context, const qf_run_settings *s, const qf_run_solver *files,
                      int32_t test_iterations, Caffe__SolverParameter *solver)
{
    solver->has_base_lr = solver->has_max_iter = solver->has_test_interval = solver->has_display =
        true;
    solver->has_test_initialization = solver->has_snapshot = true;
    solver->has_gamma = solver->has_stepsize = true;
    solver->base_lr = (float)s->base_lr;
    solver->max_iter = solver->test_interval = solver->snapshot = s->iterations;
    solver->display = s->iterations >= 40 ? s->iterations / 20 : 1;
    solver->test_initialization = false; /* no shifts for an untrained net */
    solver->gamma = 0.1f;
    solver->stepsize = s->iterations > 2 ? s->iterations - s->iterations / 3 : 1;
    QF_TRY(qf_set_string(context, &solver->net, files->model));
    QF_TRY(qf_set_string(context, &solver->lr_policy, "step"));
    QF_TRY(qf_set_string(context, &solver->snapshot_prefix, files->prefix));
    return qf_append(context, &solver->n_test_iter, &solver->test_iter, &test_iterations,
                     sizeof test_iterations);
}

qf_status qf_run_write_solver(qf_context *context, const qf_run_settings *settings,
                              const qf_run_solver *files)
{
    int32_t test_iterations;
    Caffe__SolverParameter *solver;
    QF_TRY(batches_at_end(context, files, &test_iterations));
    QF_TRY(qf_message_copy(context, settings->solver, &solver));
    qf_status status = fill(context, settings, files, test_iterations, solver);
    if (status == QF_OK)
        status = qf_text_write(context, files->path, solver, 0640);
    qf_message_free(solver);
    return status;
}
