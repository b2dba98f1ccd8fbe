/* What most test programs set up around their tests: a context, and a fresh folder to work in. */
#ifndef QF_TESTS_FIXTURE_H
#define QF_TESTS_FIXTURE_H

#include "harness/harness.h"
#include "tensor/place.h" /* its inline functions call a parameter what is declared below */

extern qf_context *context;

/* For cmocka_run_group_tests(), by themselves or called by a program's own. */
int test_start(void **state);
int test_stop(void **state);
int test_start_in_folder(void **state);
int test_stop_in_folder(void **state);

#endif
