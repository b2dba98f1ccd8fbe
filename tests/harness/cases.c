#include "harness/cases.h"

#include "harness/gradients.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

double json_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

bool test_agrees(double found, double expected, double rtol, double atol)
{
    if (isnan(expected) || isnan(found))
        return isnan(expected) && isnan(found);
    if (isinf(expected) || isinf(found))
        return expected == found;
    return fabs(found - expected) <= atol + rtol * fabs(expected);
}

/* The entry's array; false, and a line: the shapes differ. */
static bool load_expected(test_case *test, const char *name, const qf_shape *shape,
                          const json_t *entry, test_array *out)
{
    char text[256];
    *out = test_load_npy(json_text(entry, "file"));
    bool same = shape->axes == out->axes;
    for (int i = 0; same && i < shape->axes; i++)
        same = (size_t)shape->dim[i] == out->shape[i];
    if (!same)
        test_failure(test, "  %s has shape %s\n", name, qf_shape_text(shape, text, sizeof text));
    return same;
}

void test_compare_values(test_case *test, const char *what, const char *name, const float *found,
                         const qf_shape *shape, const json_t *entry)
{
    test_array expected;
    double rtol = json_number(entry, "rtol"), atol = json_number(entry, "atol"), worst = 0;
    size_t wrong = 0, first = 0;
    if (load_expected(test, name, shape, entry, &expected)) {
        const float *values = expected.data;
        for (size_t i = 0; i < expected.count; i++)
            if (!test_agrees((double)found[i], (double)values[i], rtol, atol)) {
                first = wrong++ ? first : i;
                worst = fmax(worst, fabs((double)found[i] - (double)values[i]));
            }
        if (wrong)
            test_failure(test,
                         "  %s %s: %zu of %zu differ, first [%zu] %.9g, expected %.9g; worst by %g "
                         "(atol %g)\n",
                         what, name, wrong, expected.count, first, (double)found[first],
                         (double)values[first], worst, atol);
    }
    qf_free(expected.data);
}

void test_compare_blob(test_case *test, const char *what, qf_blob *blob, const json_t *entry)
{
    const float *found;
    if (qf_blob_data(blob, &found) != QF_OK)
        test_failure(test, "  %s %s: %s\n", what, blob->name, qf_error_text(test->context));
    else
        test_compare_values(test, what, blob->name, found, qf_blob_shape(blob), entry);
}

void test_compare_gradient(test_case *test, const char *name, qf_blob *blob, const json_t *entry,
                           const char *zero)
{
    const float *found;
    test_array expected;
    if (qf_blob_diff(blob, &found) != QF_OK) {
        test_failure(test, "  gradient of %s: %s\n", name, qf_error_text(test->context));
        return;
    }
    if (load_expected(test, name, qf_blob_shape(blob), entry, &expected))
        (void)test_gradient_agrees_with(&(test_gradient){.name = name,
                                                         .count = expected.count,
                                                         .of_each = json_number(entry, "rtol"),
                                                         .absolute = json_number(entry, "atol"),
                                                         .zero = zero},
                                        expected.data, found, &test->failures);
    qf_free(expected.data);
}

typedef struct counts {
    int passed, skipped, failed;
} counts;

static void visit(test_case *test, void (*run)(test_case *), counts *counts)
{
    json_error_t error;
    test->context = test_context();
    test->json = json_load_file("case.json", 0, &error);
    if (!test->json)
        fail_msg("%s/%s/case.json:%d: %s", test->folder, test->name, error.line, error.text);
    run(test);
    if (test->skip) {
        counts->skipped++;
    } else if (test->failures.size) {
        counts->failed++;
        print_message("%s/%s:\n%s", test->folder, test->name, qf_buffer_text(&test->failures));
    } else {
        counts->passed++;
    }
    qf_buffer_release(&test->failures);
    json_decref(test->json);
    qf_context_destroy(test->context);
}

static void walk(const char *golden, const char *folder, int depth, void (*run)(test_case *),
                 counts *counts)
{
    char *root = test_format("%s/%s", golden, folder), before[4096];
    struct dirent **entries;
    int count = scandir(root, &entries, NULL, alphasort);
    assert_non_null(getcwd(before, sizeof before));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *path = test_format("%s/%s", root, name), *file = test_format("%s/case.json", path);
        char *below = test_format("%s/%s", folder, name);
        const char *only = getenv("QAFFE_CASE");
        if (name[0] != '.' && access(file, R_OK) == 0 && (!only || strstr(below, only))) {
            test_case test = {.folder = folder, .name = name, .path = path};
            assert_int_equal(chdir(path), 0);
            visit(&test, run, counts);
            assert_int_equal(chdir(before), 0);
        } else if (name[0] != '.' && depth > 1) {
            walk(golden, below, depth - 1, run, counts);
        }
        qf_free(path);
        qf_free(file);
        qf_free(below);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    qf_free(root);
}

void test_walk(const char *golden, const char *folder, int depth, void (*run)(test_case *test))
{
    counts counts = {0};
    walk(golden, folder, depth, run, &counts);
    print_message("%s: %d passed, %d failed, %d skipped (need what is not in this build)\n", folder,
                  counts.passed, counts.failed, counts.skipped);
    assert_int_equal(counts.failed, 0);
    if (!getenv("QAFFE_CASE"))
        assert_true(counts.passed > 0);
}
