/* Lists of implementations: the order, reasons, what is forced, what the log says. */
#include "device/choose.h"
#include "device/families.h"
#include "harness/fixture.h"

#include <stdlib.h>
#include <string.h>

static char log_text[1024];

static void collect(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user, (void)level, (void)file, (void)line;
    strncat(log_text, text, sizeof log_text - strlen(log_text) - 2);
    strcat(log_text, "\n");
}

static qf_status only_even(qf_context *unused, const void *call, const char **no)
{
    (void)unused;
    if (*(const int *)call % 2)
        *no = "odd";
    return QF_OK;
}

static qf_status only_large(qf_context *unused, const void *call, const char **no)
{
    (void)unused;
    if (*(const int *)call < 100)
        *no = "less than 100";
    return QF_OK;
}

static qf_status run(qf_context *unused, const void *call)
{
    (void)unused, (void)call;
    return QF_OK;
}

static void describe(const void *call, char *text, size_t size)
{
    snprintf(text, size, "%d", *(const int *)call);
}

static const qf_implementation entries[] = {
    {"halves", only_even, only_large, run},
    {"reference", NULL, NULL, run},
};
static const qf_implementations list = {"count", "up", QF_IMPLEMENTATIONS(entries), describe};

static int start(void **state)
{
    const int result = test_start(state);
    qf_context_set_log(context, collect, NULL, QF_DEBUG);
    return result;
}

static int stop(void **state)
{
    unsetenv("QAFFE_FORCE");
    return test_stop(state);
}

/* QAFFE_FORCE (NULL: unset), the call, who runs, and the line. */
static void assert_choice(const char *forced, int call, const char *name, const char *line)
{
    const qf_implementation *chosen = NULL;
    if (forced)
        setenv("QAFFE_FORCE", forced, 1);
    else
        unsetenv("QAFFE_FORCE");
    log_text[0] = '\0';
    assert_ok(context, qf_choose(context, &list, &call, &chosen));
    assert_string_equal(chosen->name, name);
    assert_string_equal(log_text, line);
    assert_ok(context, qf_choose(context, &list, &call, &chosen)); /* kept: nothing more is said */
    assert_string_equal(log_text, line);
}

static void first_that_accepts(void **state)
{
    (void)state;
    assert_choice(NULL, 100, "halves", "count up 100: halves\n");
    assert_choice(NULL, 101, "reference", "count up 101: reference; not halves: odd\n");
    assert_choice(NULL, 2, "reference", "count up 2: reference; not halves: less than 100\n");
}

/* By `with`, not by the call, and said once. */
static void kept_by_the_context(void **state)
{
    (void)state;
    const qf_implementation *chosen;
    unsetenv("QAFFE_FORCE");
    log_text[0] = '\0';
    for (int call = 100; call <= 101; call++) {
        assert_ok(context, qf_choose_once(context, &list, 1, &call, &chosen));
        assert_string_equal(chosen->name, "halves");
    }
    assert_string_equal(log_text, "count up 100: halves\n");
    assert_ok(context, qf_choose_once(context, &list, 2, &(int){101}, &chosen));
    assert_string_equal(chosen->name, "reference");
    qf_forget_choices(context);
    assert_ok(context, qf_choose_once(context, &list, 1, &(int){101}, &chosen));
    assert_string_equal(chosen->name, "reference");
}

/* By the list and all bytes of the key; the oldest go when there are many. */
static void timings_are_kept(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    const char long_key[QF_TIMED_KEY + 1] = {0};
    bool suits = false;
    qf_forget_choices(context);
    assert_false(qf_timing_known(context, &list, &(int){7}, sizeof(int), &suits));
    assert_ok(context, qf_timing_keep(context, &list, &(int){7}, sizeof(int), true));
    assert_ok(context, qf_timing_keep(context, &list, &(int){8}, sizeof(int), false));
    assert_true(qf_timing_known(context, &list, &(int){7}, sizeof(int), &suits));
    assert_true(suits);
    assert_true(qf_timing_known(context, &list, &(int){8}, sizeof(int), &suits));
    assert_false(suits);
    assert_false(qf_timing_known(context, &list, &(int){7}, 2, &suits));
    assert_false(qf_timing_known(context, NULL, &(int){7}, sizeof(int), &suits));
    assert_ok(context, qf_timing_keep(context, &list, long_key, sizeof long_key, true));
    assert_false(qf_timing_known(context, &list, long_key, sizeof long_key, &suits));
    for (int i = 10; i < MANY; i++)
        assert_ok(context, qf_timing_keep(context, &list, &i, sizeof i, i % 3 == 0));
    for (int i = MANY - 50; i < MANY; i++) {
        assert_true(qf_timing_known(context, &list, &i, sizeof i, &suits));
        assert_int_equal(suits, i % 3 == 0);
    }
    assert_false(qf_timing_known(context, &list, &(int){7}, sizeof(int), &suits));
    qf_forget_choices(context);
    assert_false(qf_timing_known(context, &list, &(int){MANY - 1}, sizeof(int), &suits));
}

static void forced(void **state)
{
    (void)state;
    assert_choice("count:halves", 2, "halves", "count up 2: halves (forced)\n");
    assert_choice("x:y,count:reference", 100, "reference", "count up 100: reference (forced)\n");
    assert_choice("count:halves", 3, "reference",
                  "count up 3: reference; not halves, which is forced: odd\n");
    assert_choice("count:hal,halves", 100, "halves", "count up 100: halves\n");
}

#define FAMILY_NAME(family) "'" #family "', "
#define FAMILY_NAMES QF_FAMILIES(FAMILY_NAME)

static void unknown_names_are_warned_of(void **state)
{
    (void)state;
    const qf_implementations *const lists[] = {&list, NULL};
    log_text[0] = '\0';
    setenv("QAFFE_FORCE", "count:reference,count:thirds,cuont:halves,map:reference,update:loops",
           1);
    qf_check_forced(context, lists);
    assert_string_equal(log_text,
                        "QAFFE_FORCE names count:thirds; there is no such implementation, "
                        "but there are 'halves', 'reference'\n"
                        "QAFFE_FORCE names cuont:halves; there is no such family, but there "
                        "are " FAMILY_NAMES "'count'\n"
                        "QAFFE_FORCE names update:loops; there is no such implementation, but "
                        "there are 'reference'\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_that_accepts),
        cmocka_unit_test(kept_by_the_context),
        cmocka_unit_test(timings_are_kept),
        cmocka_unit_test(forced),
        cmocka_unit_test(unknown_names_are_warned_of),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
