/* Automatic calibration: numbers as Python prints them, lists of layers, strategies. */
#include "base/memory.h"
#include "harness/harness.h"
#include "toolkit/auto/auto_files.h"
#include "toolkit/auto/auto_log.h"
#include "toolkit/auto/auto_search.h"

#include <math.h>
#include <string.h>

/* What Python 3 prints. */
static void numbers_look_like_pythons(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } rows[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {-5, "-5.0"},
        {0.904577, "0.904577"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {1.25e-7, "1.25e-07"},
        {123456.789, "123456.789"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {1.5e300, "1.5e+300"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
    };
    char text[QF_PYTHON_FLOAT];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(qf_python_float(rows[i].number, false, text), rows[i].text);
    assert_string_equal(qf_python_float((double)NAN, false, text), "nan");
    assert_string_equal(qf_python_float((double)NAN, true, text), "NaN");
    assert_string_equal(qf_python_float(-(double)INFINITY, false, text), "-inf");
    assert_string_equal(qf_python_float((double)INFINITY, true, text), "Infinity");
}

static void keep_line(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)level;
    (void)file;
    (void)line;
    qf_buffer_print(user, "%s\n", text);
}

enum { LAYERS = 12 };
static const char *const names[LAYERS] = {"a", "b", "c", "d", "e", "f",
                                          "g", "h", "i", "j", "k", "l"};

static void a_line_has_ten_layers(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_auto_history history = {.layers = LAYERS, .names = names};
    qf_auto_record *record;
    qf_buffer log = {0};
    qf_context_set_log(context, keep_line, &log, QF_INFO);
    assert_ok(context, qf_auto_history_add(context, &history, &record));
    record->quantised[11] = false;
    qf_auto_log_step(context, &history, 3, record);
    qf_auto_log_cost(context, 4 * 3600 + 3 * 60 + 23.26);
    assert_string_equal(
        log.data, "******************** fine search step 3 ********************\n"
                  "quant layers:\n"
                  "[('a', True), ('b', True), ('c', True), ('d', True), ('e', True), ('f', True), "
                  "('g', True), ('h', True), ('i', True), ('j', True)]\n"
                  "[('k', True), ('l', False)]\n"
                  "metric_eval: (False, 0.0)\n"
                  "*****************************************************\n"
                  "#>Func name: accuracy_based_auto_calibration\n"
                  "#>Cost time: 4 hours, 3 minutes, 23.26 seconds\n"
                  "*****************************************************\n");
    qf_buffer_release(&log);
    qf_auto_history_release(&history);
    qf_context_destroy(context);
}

/* Everything of a configuration but the switches stays as the user wrote it. */
static void the_rest_of_a_configuration_stays(void **state)
{
    (void)state;
    static const char given[] =
        "{\"b\": {\"x\": [0.7, 1e-5, []], \"quant_enable\": true}, \"version\": 1, \"a\": {}, "
        "\"c\": {\"quant_enable\": true, \"d\": {\"quant_enable\": true, \"\\u00e9/\": null}}}";
    static const char expected[] =
        "{\n    \"b\":{\n        \"x\":[\n            0.7,\n            1e-05,\n            []\n"
        "        ],\n        \"quant_enable\":false\n    },\n    \"version\":1,\n"
        "    \"a\":{\n        \"quant_enable\":true\n    },\n    \"c\":{\n"
        "        \"quant_enable\":true,\n        \"d\":{\n            \"quant_enable\":true,\n"
        "            \"\xc3\xa9/\":null\n        }\n    }\n}";
    qf_context *context = test_context();
    qf_auto_history history = {.layers = 2, .names = names};
    qf_auto_record *record;
    qf_buffer text = {0};
    char *folder = test_make_directory();
    char *config = test_format("%s/config.json", folder), *out = test_format("%s/out", folder);
    assert_ok(context, qf_file_write(context, config, given, strlen(given), 0640));
    assert_ok(context, qf_auto_history_add(context, &history, &record));
    record->quantised[1] = false;
    assert_ok(context, qf_auto_write_config(context, &history, record, config, out));
    assert_ok(context, qf_file_read(context, out, &text));
    assert_string_equal(text.data, expected);
    qf_buffer_release(&text);
    qf_auto_history_release(&history);
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(config);
    qf_free(out);
    qf_context_destroy(context);
}

/* ---- strategies of users ---- */

/* One layer after the other, from the last; content with the third answer whatever it is. */
static qf_status begin_one_by_one(void *user, qf_context *context, size_t layers,
                                  const char *const *layer_names, const double *sensitivity)
{
    (void)context;
    (void)layer_names;
    (void)sensitivity;
    assert_int_equal(layers, 4);
    *(int *)user = 0;
    return QF_OK;
}

static qf_status one_by_one(void *user, qf_context *context, bool satisfied, double difference,
                            bool *stop, size_t *order, bool *quantised)
{
    int *step = user;
    (void)satisfied;
    (void)difference;
    (void)order;
    if (*step == 3)
        return qf_fail(context, QF_E_VALUE, "asked once too often");
    quantised[3 - *step] = false;
    *stop = ++*step == 3;
    return QF_OK;
}

static qf_status never_good(void *user, size_t index, qf_auto_record *record)
{
    (void)record;
    assert_int_equal(index, ++*(size_t *)user);
    return QF_OK;
}

static void a_strategy_decides_when_to_stop(void **state)
{
    (void)state;
    qf_context *context = test_context();
    int step;
    size_t tried = 0;
    const double sensitivity[4] = {0};
    const qf_strategy strategy = {.size = sizeof strategy,
                                  .user = &step,
                                  .initialize = begin_one_by_one,
                                  .update = one_by_one};
    qf_auto_history history = {.layers = 4, .names = names};
    qf_auto_record *record;
    assert_ok(context, qf_auto_history_add(context, &history, &record));
    qf_auto_search search = {.context = context,
                             .history = &history,
                             .sensitivity = sensitivity,
                             .strategy = &strategy,
                             .attempt = never_good,
                             .user = &tried};
    assert_ok(context, qf_auto_search_run(&search));
    assert_false(search.all_float);
    assert_int_equal(tried, 3);
    assert_int_equal(history.count, 4);
    assert_int_equal(qf_auto_float_layers(&history.records[3], 4), 3);
    qf_auto_history_release(&history);
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_look_like_pythons),
        cmocka_unit_test(a_line_has_ten_layers),
        cmocka_unit_test(the_rest_of_a_configuration_stays),
        cmocka_unit_test(a_strategy_decides_when_to_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
