#include "harness/fixture.h"

qf_context *context;

int test_start(void **state)
{
    (void)state;
    context = test_context();
    return 0;
}

int test_stop(void **state)
{
    (void)state;
    qf_context_destroy(context);
    return 0;
}

int test_start_in_folder(void **state)
{
    return test_enter_folder(state) || test_start(state);
}

int test_stop_in_folder(void **state)
{
    return test_leave_folder(state) || test_stop(state);
}
