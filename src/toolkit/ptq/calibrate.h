/* Passes over a net whose layers look at values. */
#ifndef QF_TOOLKIT_PTQ_CALIBRATE_H
#define QF_TOOLKIT_PTQ_CALIBRATE_H

#include "net/net.h"

/* So many forward passes. A user who stops them gets QF_E_STOPPED. */
qf_status qf_calibrate_net(qf_net *net, int batches, qf_action_function action,
                           qf_progress_function progress, void *user);

#endif
