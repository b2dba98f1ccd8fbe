/* A budget in one word: what may be lost, what may be taken. */
#ifndef QF_TOOLKIT_BITS_BUDGET_H
#define QF_TOOLKIT_BITS_BUDGET_H

#include "base/context.h"

/* "0.5", "600K", "60%", or a loss and a size with a comma between, into max_loss, max_bytes and
 * max_share; what it does not say has no limit. */
qf_status qf_bits_budget_take(qf_context *context, const char *budget, qf_bits_options *out);

#endif
