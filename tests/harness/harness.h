/* What all tests share: cmocka, where the recorded cases are, arrays in .npy files. */
#ifndef QF_TESTS_HARNESS_H
#define QF_TESTS_HARNESS_H

#include "base/buffer.h"
#include "base/context.h"
#include "base/file.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SKIPPED = 77 }; /* exit status by which CTest knows a skipped test */

/* The recorded cases: where QAFFE_GOLDEN says, else ../shared/golden beside the checkout, else the
 * few of each kind in tests/golden, with a message on stdout. */
const char *test_golden_folder(void);
bool test_golden_is_whole(void); /* not the few */
/* Real models and data: QAFFE_DATA, else ../shared/data; NULL, with a message, where neither is. */
const char *test_data_folder(void);

/* For claims about the host's kernels and memory: skips the running test, with a message, where
 * QAFFE_DEVICE has nets computed elsewhere. */
void test_needs_the_host(void);

qf_context *test_context(void); /* fails the test if it cannot be made */

typedef struct test_array {
    char type; /* 'f': float, 'd': double, 'i': int32 */
    int axes;
    size_t shape[32], count;
    void *data; /* C order; qf_free() */
} test_array;

/* Reads a .npy file of version 1.0; fails the running test on any error. */
test_array test_load_npy(const char *path);

/* A fresh directory under $TMPDIR, and its removal with all that is in it. */
char *test_make_directory(void); /* qf_free() the name */
void test_remove_directory(const char *path);

/* A fresh directory becomes the working directory, and goes; for cmocka_run_group_tests(). */
int test_enter_folder(void **state);
int test_leave_folder(void **state);

/* printf into a string that qf_free() frees. */
char *test_format(const char *format, ...) QF_PRINTF(1, 2);

/* `text` with every `from` made `to`. qf_free() it. */
char *test_replace(const char *text, const char *from, const char *to);

/* A row of the tables in docs/layers.md: | `type` | forward | backward | gradient | remark |, where
 * "-" is 0. False: there is none. */
typedef struct test_documented {
    int forward, backward, gradient;
    bool has_remark;
} test_documented;
bool test_find_documented(const char *type, test_documented *out);

/* Expects the call to fail and its sentence to contain `part`. */
#define assert_fails(context, call, part)                                                          \
    do {                                                                                           \
        assert_int_not_equal((call), QF_OK);                                                       \
        if (!strstr(qf_error_text(context), (part)))                                               \
            fail_msg("expected \"%s\" in: %s", (part), qf_error_text(context));                    \
    } while (0)

#define assert_ok(context, call)                                                                   \
    do {                                                                                           \
        if ((call) != QF_OK)                                                                       \
            fail_msg("%s: %s", #call, qf_error_text(context));                                     \
    } while (0)

#endif
