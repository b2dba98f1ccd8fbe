#include "backend/backend.h"

const qf_operations *qf_operations_of(qf_context *context)
{
    (void)context; /* one backend so far; a GPU's table will be chosen here */
    return &qf_cpu_operations;
}
