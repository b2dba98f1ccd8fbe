/* Tables that the qat commands share. */
#ifndef QF_CLI_QAT_H
#define QF_CLI_QAT_H

#include "qaffe/qaffe.h"

void print_plan(void *user, const qf_plan *plan); /* fits qf_qat_options.show_plan; ignores user */
void print_verification(const qf_verification *found);

#endif
