/* States of solvers: those of a solver with two histories, and what else a snapshot of ours holds.
 */
#include "base/file.h"
#include "fuzz.h"
#include "net.h"

#include <string.h>

static qf_context *context;
static qf_solver *solver;

static void make_solver(void)
{
    static const char net[] = FUZZ_NET, settings[] = "net: 'net' type: 'Adam' base_lr: 0.01 "
                                                     "lr_policy: 'fixed' max_iter: 9 "
                                                     "snapshot_prefix: 's' random_seed: 1";
    context = fuzz_context();
    fuzz_enter_folder();
    fuzz_require(qf_file_write(context, "net", net, strlen(net), 0644) == QF_OK &&
                     qf_file_write(context, "solver", settings, strlen(settings), 0644) == QF_OK &&
                     qf_solver_create(context, "solver", &solver) == QF_OK &&
                     qf_net_save_weights(qf_solver_net(solver), "s_iter_0.caffemodel") == QF_OK,
                 context ? qf_error_text(context) : "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!solver)
        make_solver();
    (void)qf_solver_restore(solver, fuzz_file(data, size));
    return 0;
}
