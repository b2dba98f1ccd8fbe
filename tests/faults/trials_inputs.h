/* The files that trials read, in a folder of their own. */
#ifndef QF_TESTS_TRIALS_INPUTS_H
#define QF_TESTS_TRIALS_INPUTS_H

/* For cmocka_run_group_tests(). */
int trials_start(void **state);
int trials_stop(void **state);

#endif
