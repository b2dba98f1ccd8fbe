/* Recorded results of the other functions of AMCT: calibration without retraining, and what goes
 * with it. A case of a kernel in the table needs no code. */
#include "harness/recorded_kernels.h"

static const kernel kernels[] = {
    {"ifmr", recorded_ifmr, ""},
};

static void every_case(void **state)
{
    (void)state;
    test_walk_kernels("amct", kernels, sizeof kernels / sizeof *kernels, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
