/* What `qat run` trains with: the solver's file. */
#include "model/model.h"
#include "toolkit/config/json_file.h"
#include "toolkit/run/run.h"

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

qf_status qf_run_write_solver(qf_context *context, const qf_qat_options *o,
                              const qf_run_solver *files)
{
    int32_t test_iterations;
    QF_TRY(batches_at_end(context, files, &test_iterations));
    Caffe__SolverParameter *solver;
    QF_TRY(qf_message_new(context, &caffe__solver_parameter__descriptor, &solver));
    const int display = o->iterations >= 40 ? o->iterations / 20 : 1;
    solver->has_base_lr = solver->has_max_iter = solver->has_test_interval = solver->has_display =
        true;
    solver->has_test_initialization = solver->has_momentum = solver->has_weight_decay = true;
    solver->has_snapshot = solver->has_gamma = solver->has_stepsize = true;
    solver->base_lr = (float)o->base_lr;
    solver->max_iter = solver->test_interval = solver->snapshot = o->iterations;
    solver->display = display;
    solver->test_initialization = false; /* no shifts for an untrained net */
    solver->momentum = (float)o->momentum;
    solver->weight_decay = (float)o->weight_decay;
    solver->gamma = 0.1f;
    solver->stepsize = o->iterations > 2 ? o->iterations - o->iterations / 3 : 1;
    qf_status status = qf_set_string(context, &solver->net, files->model);
    if (status == QF_OK)
        status = qf_set_string(context, &solver->lr_policy, "step");
    if (status == QF_OK)
        status = qf_set_string(context, &solver->snapshot_prefix, files->prefix);
    if (status == QF_OK)
        status = qf_append(context, &solver->n_test_iter, &solver->test_iter, &test_iterations,
                           sizeof test_iterations);
    if (status == QF_OK)
        status = qf_text_write(context, files->path, solver, 0640);
    qf_message_free(solver);
    return status;
}
