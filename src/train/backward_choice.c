/* Choosing float or bf16 for backward, once a run. */
#include "train/backward_choice.h"

#include <string.h>

/* AUTO gives the exact gradients up only for a gain that is more than noise of the measurement. */
#define WORTH_ROUNDING 0.9

/* Other nets have no gradients that could be in bf16. */
static bool has_quantised_weights(const qf_net *net)
{
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->type->name, "WeightQAT") == 0)
            return true;
    return false;
}

/* A processor without bf16 computes in float whatever is asked, without a word. */
static qf_backward decide(qf_context *context, double cost)
{
    const bool automatic = context->backward == QF_BACKWARD_AUTO;
    if (cost == 0)
        return QF_BACKWARD_F32;
    if (automatic) {
        const bool worth = cost <= WORTH_ROUNDING;
        qf_info(context,
                "Gradients of quantised layers are computed in %s: bf16 took %.2f of the time of "
                "float here (%.2f or less is worth its rounding)",
                worth ? "bf16" : "float", cost, WORTH_ROUNDING);
        return worth ? QF_BACKWARD_BF16 : QF_BACKWARD_F32;
    }
    if (cost > 1)
        qf_warning(context,
                   "Gradients in bf16 took %.2f of the time of float on this processor, so they "
                   "are slower and rounded: use --backward f32, or auto, unless bf16 is wanted for "
                   "its numbers",
                   cost);
    return QF_BACKWARD_BF16;
}

qf_status qf_solver_choose_backward(qf_solver *solver)
{
    qf_context *context = solver->context;
    double cost = 0;
    if (solver->backward_chosen)
        return QF_OK;
    if (context->backward != QF_BACKWARD_F32 && has_quantised_weights(solver->net)) {
        QF_TRY(solver->bf16_cost(context, &cost));
        solver->backward = decide(context, cost);
    } else {
        solver->backward = QF_BACKWARD_F32;
    }
    solver->backward_chosen = true;
    return QF_OK;
}

void qf_solver_keep_backward(qf_solver *solver, qf_backward backward)
{
    const qf_backward asked = solver->context->backward;
    solver->backward = backward;
    solver->backward_chosen = true;
    if (backward == QF_BACKWARD_BF16)
        qf_info(solver->context, "Gradients of quantised layers are computed in bf16 where the "
                                 "processor has it, as the run began");
    else if (asked == QF_BACKWARD_BF16)
        qf_warning(solver->context, "Gradients are computed in float, as the run began: "
                                    "--backward bf16 is for new runs (--weights)");
}
