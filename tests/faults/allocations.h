/* Allocations that fail on order. Loaded in front of a program (LD_PRELOAD; the variables are in
 * allocations.c), or linked into a test. */
#ifndef QF_TESTS_ALLOCATIONS_H
#define QF_TESTS_ALLOCATIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fault_plan {
    size_t number;     /* the allocation that fails, counted from 1; 0: none */
    bool all_after;    /* and those behind it */
    size_t budget;     /* bytes that may be held at a time; what needs more fails; 0: any */
    const char *spare; /* names of libraries whose own calls are neither counted nor fail */
    bool show;         /* where the first failure is, on standard error */
} fault_plan;

/* Count from here on. */
void fault_begin(const fault_plan *wanted);
/* Let everything succeed again. How many allocations were counted; the most bytes held. */
size_t fault_end(size_t *peak);

#endif
