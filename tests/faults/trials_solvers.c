/* Solvers. */
#define QF_TRIAL
#include "faults/trials.h"

#include <stdio.h>
#include <string.h>

static qf_action go_on(void *user)
{
    (void)user;
    return QF_CONTINUE;
}

static void show(void *user, const qf_progress *progress)
{
    (void)user, (void)progress;
}

static qf_status each_iteration(void *user, bool gradients_ready)
{
    *(int *)user += gradients_ready;
    return QF_OK;
}

static qf_status change_settings(qf_context *context, qf_solver *solver)
{
    char settings[4096];
    const char *now = qf_solver_settings(solver);
    if (!now) {
        qf_context_fail(context, "no memory for the settings"); /* they are a string, no status */
        return QF_E_MEMORY;
    }
    snprintf(settings, sizeof settings, "%s", now);
    return qf_solver_change_settings(solver, settings);
}

static qf_status run(qf_context *context, qf_solver *solver, double *result)
{
    int iterations = 0;
    qf_solver_set_iteration_callback(solver, each_iteration, &iterations);
    qf_solver_set_callbacks(solver, go_on, show, NULL);
    qf_solver_keep_blobs(solver, false);
    qf_solver_freeze_batch_norm(solver, 3);
    qf_solver_on_divergence(solver, QF_DIVERGENCE_WARN);
    QF_TRY(qf_solver_load_weights(solver, "given.caffemodel"));
    QF_TRY(qf_solver_step(solver, 2));
    QF_TRY(qf_solver_snapshot(solver));
    QF_TRY(qf_solver_restore(solver, "out/run_iter_2.solverstate"));
    QF_TRY(change_settings(context, solver));
    QF_TRY(qf_solver_solve(solver));
    QF_TRY(qf_solver_test_all(solver));
    QF_TRY(qf_net_forward(qf_solver_net(solver), NULL));
    QF_TRY(qf_net_backward(qf_solver_net(solver)));
    QF_TRY(qf_solver_apply_update(solver));
    *result = (double)qf_solver_loss(solver) + (double)qf_solver_learning_rate(solver) +
              qf_solver_iteration(solver) + qf_solver_test_net_count(solver) + iterations +
              (qf_solver_test_net(solver, 0) != NULL);
    return QF_OK;
}

static qf_status train(qf_context *context, double *result)
{
    qf_solver *solver;
    qf_status status = qf_solver_create(context, "solver.prototxt", &solver);
    if (status == QF_OK)
        status = run(context, solver, result);
    qf_solver_destroy(solver);
    return status;
}

/* The other ways to make one. */
static qf_status make(qf_context *context, double *result)
{
    static const char *const stages[] = {"one"};
    const qf_solver_options options = {.size = sizeof options,
                                       .type = "Nesterov",
                                       .weights = "given.caffemodel",
                                       .set_state = true,
                                       .stages = stages,
                                       .stage_count = 1};
    qf_solver *solver;
    qf_status status = qf_solver_create_as(context, "solver.prototxt", "RMSProp", &solver);
    if (status == QF_OK)
        status = qf_solver_step(solver, 1);
    if (status == QF_OK)
        *result = (double)qf_solver_loss(solver);
    qf_solver_destroy(solver);
    if (status == QF_OK)
        status = qf_solver_create_with(context, "solver.prototxt", &options, &solver);
    else
        solver = NULL;
    if (status == QF_OK)
        *result += (double)qf_net_layer_count(qf_solver_net(solver));
    qf_solver_destroy(solver);
    return status;
}

const trial trials_of_solvers[] = {
    {.name = "a solver's training", .run = train, .places = 150},
    {.name = "solvers of other types", .run = make},
    {.name = NULL},
};
