/*
 * Train with a solver, from weights that exist or from none, and show how far it is.
 *   finetune SOLVER.prototxt [WEIGHTS.caffemodel]
 * Snapshots and the last weights lie where the solver's snapshot_prefix says.
 */
#include <qaffe/qaffe.h>
#include <stdio.h>

static void show(void *user, const qf_progress *progress)
{
    (void)user;
    if (progress->testing || progress->iteration % 10 != 0)
        return;
    printf("iteration %d of %d: loss %.4f, rate %g, %.0f images/s\n", progress->iteration,
           progress->total, (double)progress->loss, (double)progress->learning_rate,
           progress->items_per_second);
}

int main(int count, char **argument)
{
    qf_context *context;
    qf_solver *solver = NULL;
    if (count != 2 && count != 3) {
        fprintf(stderr, "usage: finetune SOLVER.prototxt [WEIGHTS.caffemodel]\n");
        return 2;
    }
    if (qf_context_create(&context) != QF_OK)
        return 1;
    qf_status status = qf_solver_create(context, argument[1], &solver);
    if (status == QF_OK && count == 3)
        status = qf_solver_load_weights(solver, argument[2]);
    if (status == QF_OK) {
        qf_solver_set_callbacks(solver, NULL, show, NULL);
        status = qf_solver_solve(solver);
    }
    if (status == QF_OK)
        printf("trained to iteration %d, loss %.4f\n", qf_solver_iteration(solver),
               (double)qf_solver_loss(solver));
    else
        fprintf(stderr, "finetune: %s\n", qf_error_text(context));
    qf_solver_destroy(solver); /* before its context */
    qf_context_destroy(context);
    return status != QF_OK;
}
