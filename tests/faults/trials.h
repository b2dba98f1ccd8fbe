/* What test_allocation_failures.c tries. Trials call the public interface through macros that note
 * each function (made by tests/CMakeLists.txt from the header): one that no trial calls is an error
 * of the test. */
#ifndef QF_TESTS_TRIALS_H
#define QF_TESTS_TRIALS_H

#include "harness/harness.h"

/* Gives back all that it took. `result`: a number that says whether what was computed is right, the
 * same whenever the trial succeeds. Files go to out/, which is empty at the start. */
typedef qf_status trial_function(qf_context *context, double *result);

typedef struct trial {
    const char *name;
    trial_function *run;
    bool loose_files;  /* the same contents may be in files of other sizes */
    int places;        /* how many of its allocations fail; 0: TRIAL_PLACES */
    const char *spare; /* libraries whose calls do not fail, besides those of all trials */
} trial;

enum { TRIAL_PLACES = 100 };

/* Up to a NULL name. */
extern const trial trials_of_contexts[], trials_of_nets[], trials_of_solvers[], trials_of_data[],
    trials_of_flow[], trials_of_calibration[];

/* A public function is called. */
void trial_notes(int call);

#ifdef QF_TRIAL /* a file of trials */
#include "public_calls.h"
#endif

#endif
