/* The base module: memory, buffers, files, random numbers, errors. */
#include "base/names.h"
#include "base/random.h"
#include "harness/harness.h"

#include "base/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_sizes_are_checked(void **state)
{
    (void)state;
    size_t out;
    assert_false(qf_multiply(SIZE_MAX / 2, 3, &out));
    assert_false(qf_add(SIZE_MAX, 1, &out));
    assert_null(qf_alloc(SIZE_MAX / 4, 8));
    char *empty = qf_alloc(0, 8);
    assert_non_null(empty);
    qf_free(empty);
}

static void test_memory_is_counted(void **state)
{
    (void)state;
    size_t before = qf_memory_used();
    qf_memory_peak_reset();
    void *block = qf_alloc(1000, 1000);
    assert_true(qf_memory_used() >= before + 1000000);
    qf_free(block);
    assert_int_equal(qf_memory_used(), before);
    assert_true(qf_memory_peak() >= before + 1000000);
}

static void test_buffer_grows(void **state)
{
    (void)state;
    qf_buffer buffer = {0};
    assert_string_equal(qf_buffer_text(&buffer), "");
    for (int i = 0; i < 1000; i++)
        qf_buffer_print(&buffer, "%d,", i % 10);
    assert_int_equal(buffer.size, 2000);
    assert_memory_equal(buffer.data + 1996, "8,9,", 5);
    qf_buffer_release(&buffer);
}

static void test_error_says_where(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_status status = qf_fail(context, QF_E_SHAPE, "axis %d is missing", 3);
    status = qf_within(context, status, "layer %s", "conv1");
    assert_int_equal(status, QF_E_SHAPE);
    assert_string_equal(qf_error_text(context), "layer conv1: axis 3 is missing");
    assert_string_equal(qf_status_name(status), "shape");
    qf_context_destroy(context);
}

static void count_log(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)level, (void)line;
    assert_null(strchr(file, '/'));
    *(size_t *)user += strlen(text);
}

static void test_log_has_levels_and_no_limit(void **state)
{
    (void)state;
    qf_context *context = test_context();
    size_t logged = 0;
    qf_context_set_log(context, count_log, &logged, QF_INFO);
    qf_debug(context, "not %s", "seen");
    assert_int_equal(logged, 0);
    char *text = malloc(100001);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    qf_info(context, "%s", text);
    assert_int_equal(logged, 100000);
    free(text);
    qf_context_destroy(context);
}

static void test_files_are_written_whole_or_not(void **state)
{
    (void)state;
    qf_context *context = test_context();
    char *folder = test_make_directory();
    char *path = test_format("%s/new/folder/file", folder);
    assert_ok(context, qf_file_write(context, path, "first", 5, 0640));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_ok(context, qf_file_write(context, path, "second", 6, 0640));
    qf_buffer read_back = {0};
    assert_ok(context, qf_file_read(context, path, &read_back));
    assert_string_equal(read_back.data, "second");
    qf_buffer_release(&read_back);

    /* A file where a folder should be, a folder where a file should be. */
    char *below = test_format("%s/below", path), *slash = test_format("%s/", folder);
    assert_fails(context, qf_file_write(context, below, "x", 1, 0644), "cannot");
    assert_fails(context, qf_file_write(context, folder, "x", 1, 0644), "file's name but a path");
    assert_fails(context, qf_file_write(context, slash, "x", 1, 0644), "file's name but a path");
    assert_fails(context, qf_file_read(context, folder, &read_back), "is a directory");
    assert_fails(context, qf_file_read(context, below, &read_back), "cannot open");
    assert_fails(context, qf_output_probe(context, below), "cannot");
    assert_ok(context, qf_output_probe(context, path));
    assert_false(qf_file_exists(below));
    qf_free(below);
    qf_free(slash);
    qf_free(path);
    test_remove_directory(folder);
    qf_free(folder);
    qf_context_destroy(context);
}

static void test_unwritable_folder(void **state)
{
    (void)state;
    /* Not even root can create files in /proc. */
    qf_context *context = test_context();
    assert_fails(context, qf_file_write(context, "/proc/qaffe", "x", 1, 0644), "cannot write");
    qf_context_destroy(context);
}

static void test_random_numbers(void **state)
{
    (void)state;
    qf_random random, again;
    qf_random_seed(&random, 7);
    qf_random_seed(&again, 7);
    double sum = 0, squares = 0;
    int below[5] = {0};
    enum { N = 100000 };
    for (int i = 0; i < N; i++) {
        float x = qf_random_gaussian(&random, 1, 2);
        assert_float_equal(x, qf_random_gaussian(&again, 1, 2), 0);
        sum += x;
        squares += (double)x * x;
        below[qf_random_below(&random, 5)]++;
        assert_int_equal(qf_random_below(&again, 5) < 5, 1);
    }
    assert_true(sum / N > 0.97 && sum / N < 1.03);
    double variance = squares / N - sum / N * (sum / N);
    assert_true(variance > 3.9 && variance < 4.1);
    for (int i = 0; i < 5; i++)
        assert_true(below[i] > N / 5 - 1000 && below[i] < N / 5 + 1000);
}

/* Thousands of names, so that the table grows many times. */
static void test_names_have_numbers(void **state)
{
    (void)state;
    enum { N = 5000 };
    qf_names names = {0};
    char(*text)[24] = qf_alloc(N, sizeof *text);
    assert_non_null(text);
    assert_int_equal(qf_names_get(&names, "blob_0"), -1);
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "blob_%d", i);
        assert_true(qf_names_set(&names, text[i], i));
    }
    for (int i = 0; i < N; i += 2)
        assert_true(qf_names_set(&names, text[i], -2 - i)); /* the old number is forgotten */
    for (int i = 0; i < N; i++)
        assert_int_equal(qf_names_get(&names, text[i]), i % 2 ? i : -2 - i);
    assert_int_equal(qf_names_get(&names, "blob_5000"), -1);
    assert_int_equal(names.count, N);
    qf_names_release(&names);
    qf_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_checked),
        cmocka_unit_test(test_memory_is_counted),
        cmocka_unit_test(test_buffer_grows),
        cmocka_unit_test(test_error_says_where),
        cmocka_unit_test(test_log_has_levels_and_no_limit),
        cmocka_unit_test(test_files_are_written_whole_or_not),
        cmocka_unit_test(test_unwritable_folder),
        cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_names_have_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
