#include "harness/fixture.h"

#include <unistd.h>

qf_context *context;

static char *folder;

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
    folder = test_make_directory();
    assert_int_equal(chdir(folder), 0);
    return test_start(state);
}

int test_stop_in_folder(void **state)
{
    assert_int_equal(chdir("/"), 0);
    test_remove_directory(folder);
    qf_free(folder);
    return test_stop(state);
}
