/* Walking sets of recorded kernels and comparing what they give. */
#include "harness/recorded.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading a case ---- */

static char *path_of(const run *r, const json_t *entry)
{
    return test_format("%s/%s", r->folder, json_string_value(json_object_get(entry, "file")));
}

test_array load(run *r, const json_t *entry)
{
    char *path = path_of(r, entry);
    test_array array = test_load_npy(path);
    qf_free(path);
    return array;
}

static const json_t *input_entry(const run *r, const char *name)
{
    return json_object_get(json_object_get(r->test, "inputs"), name);
}

bool has_input(const run *r, const char *name)
{
    return input_entry(r, name);
}

test_array *input(run *r, const char *name)
{
    const json_t *entry = input_entry(r, name);
    assert_non_null(entry);
    assert_true(r->loaded_count < RECORDED_INPUTS);
    r->loaded[r->loaded_count] = load(r, entry);
    return &r->loaded[r->loaded_count++];
}

char *input_path(const run *r, const char *name)
{
    const json_t *entry = input_entry(r, name);
    return entry ? path_of(r, entry) : NULL;
}

const json_t *param_of(const run *r, const char *name)
{
    return json_object_get(json_object_get(r->test, "params"), name);
}

double number(const run *r, const char *name)
{
    const json_t *value = param_of(r, name);
    const char *text = json_string_value(value);
    return text ? strtod(text, NULL) : json_number_value(value);
}

bool flag(const run *r, const char *name)
{
    return json_is_true(param_of(r, name));
}

/* ---- what a kernel gives ---- */

double *give(run *r, const char *name, size_t count)
{
    assert_true(r->given_count < RECORDED_OUTPUTS);
    double *values = qf_alloc(count, sizeof *values);
    r->given[r->given_count].name = name;
    r->given[r->given_count].values = values;
    r->given[r->given_count++].count = count;
    return values;
}

void give_floats(run *r, const char *name, const float *from, size_t count)
{
    double *to = give(r, name, count);
    for (size_t i = 0; i < count; i++)
        to[i] = (double)from[i];
}

void give_ints(run *r, const char *name, const int32_t *from, size_t count)
{
    double *to = give(r, name, count);
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

void give_text(run *r, const char *name, const char *text)
{
    assert_true(r->given_count < RECORDED_OUTPUTS);
    r->given[r->given_count].name = name;
    r->given[r->given_count++].text = qf_strdup(text);
}

void give_file(run *r, const char *name, const char *path)
{
    qf_buffer file = {0};
    assert_ok(r->context, qf_file_read(r->context, path, &file));
    give_text(r, name, qf_buffer_text(&file));
    qf_buffer_release(&file);
}

void stands_for(run *r, const char *path, const char *word)
{
    assert_true(r->path_count < RECORDED_PATHS);
    r->paths[r->path_count].path = qf_strdup(path);
    r->paths[r->path_count++].stands_for = word;
}

static void release(run *r)
{
    for (int i = 0; i < r->given_count; i++) {
        qf_free(r->given[i].values);
        qf_free(r->given[i].text);
    }
    for (int i = 0; i < r->loaded_count; i++)
        qf_free(r->loaded[i].data);
    for (int i = 0; i < r->path_count; i++)
        qf_free(r->paths[i].path);
    qf_buffer_release(&r->failures);
    qf_context_destroy(r->context);
}

/* ---- comparing ---- */

static bool agrees(const char *mode, double tolerance, double found, double expected)
{
    if (isnan(expected) || isnan(found))
        return isnan(expected) && isnan(found);
    if (found == expected)
        return true;
    if (strcmp(mode, "exact") == 0)
        return false;
    const double distance = fabs(found - expected);
    if (strcmp(mode, "relative") == 0)
        return distance <= tolerance * fabs(expected);
    if (strcmp(mode, "ulp") == 0)
        return distance <=
               tolerance * (double)fabsf(nextafterf((float)expected, INFINITY) - (float)expected);
    return distance <= tolerance;
}

static double element(const test_array *array, size_t i)
{
    return array->type == 'i'   ? ((int32_t *)array->data)[i]
           : array->type == 'd' ? ((double *)array->data)[i]
                                : (double)((float *)array->data)[i];
}

static void compare_values(run *r, int at, const json_t *entry, const char *mode, double tolerance)
{
    const char *name = r->given[at].name;
    test_array expected = load(r, entry);
    if (expected.count != r->given[at].count)
        qf_buffer_print(&r->failures, "  %s has %zu elements, expected %zu\n", name,
                        r->given[at].count, expected.count);
    else
        for (size_t i = 0; i < expected.count; i++)
            if (!agrees(mode, tolerance, r->given[at].values[i], element(&expected, i))) {
                qf_buffer_print(&r->failures, "  %s[%zu] is %.9g, expected %.9g (%s %g)\n", name, i,
                                r->given[at].values[i], element(&expected, i), mode, tolerance);
                break;
            }
    qf_free(expected.data);
}

/* At any depth. */
static void drop_keys(json_t *value, const json_t *keys)
{
    json_t *item;
    const char *name;
    size_t i;
    json_array_foreach((json_t *)keys, i, item) json_object_del(value, json_string_value(item));
    json_object_foreach(value, name, item) drop_keys(item, keys);
    json_array_foreach(value, i, item) drop_keys(item, keys);
}

/* What is to be compared of a JSON text; free() it. */
static char *essence(const char *text, const json_t *ignored, bool ordered)
{
    json_error_t error;
    json_t *root = json_loads(text, JSON_DECODE_ANY, &error);
    if (!root)
        fail_msg("line %d: %s in: %s", error.line, error.text, text);
    drop_keys(root, ignored);
    char *essence = json_dumps(root, JSON_INDENT(1) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) |
                                         (ordered ? 0 : JSON_SORT_KEYS));
    json_decref(root);
    return essence;
}

static void compare_texts(run *r, int at, const char *expected, const char *mode,
                          const json_t *ignored)
{
    const bool json = strncmp(mode, "json", 4) == 0;
    char *a = json ? essence(r->given[at].text, ignored, strcmp(mode, "json_ordered") == 0)
                   : strdup(r->given[at].text);
    char *b =
        json ? essence(expected, ignored, strcmp(mode, "json_ordered") == 0) : strdup(expected);
    size_t same = 0;
    while (a[same] && a[same] == b[same])
        same++;
    if (strcmp(a, b) != 0)
        qf_buffer_print(&r->failures, "  %s differs at byte %zu (%s): '%.60s', expected '%.60s'\n",
                        r->given[at].name, same, mode, a + same, b + same);
    free(a);
    free(b);
}

static void compare(run *r, const char *name, const char *group, const json_t *entry)
{
    char *key = test_format("%s%s", name, group);
    const json_t *how = json_object_get(json_object_get(r->test, "compare"), key);
    qf_free(key);
    if (!how)
        how = json_object_get(json_object_get(r->test, "compare"), name);
    const char *mode = how ? json_string_value(json_object_get(how, "mode")) : "exact";
    int at = 0;
    while (at < r->given_count && strcmp(r->given[at].name, name) != 0)
        at++;
    if (at == r->given_count) {
        qf_buffer_print(&r->failures, "  %s is not computed\n", name);
    } else if (r->given[at].text) {
        char *path = path_of(r, entry);
        qf_buffer expected = {0};
        assert_ok(r->context, qf_file_read(r->context, path, &expected));
        compare_texts(r, at, qf_buffer_text(&expected), mode, json_object_get(how, "ignore_keys"));
        qf_buffer_release(&expected);
        qf_free(path);
    } else {
        compare_values(r, at, entry, mode, json_number_value(json_object_get(how, "tol")));
    }
}

static void check_refusal(run *r, qf_status status)
{
    const char *expected =
        json_string_value(json_object_get(json_object_get(r->test, "error"), "published_text"));
    if (status == QF_OK) {
        qf_buffer_print(&r->failures, "  was accepted, expected a refusal: %s\n",
                        expected ? expected : "");
        return;
    }
    char *found = qf_strdup(qf_error_text(r->context));
    for (int i = 0; i < r->path_count; i++) {
        char *replaced = test_replace(found, r->paths[i].path, r->paths[i].stands_for);
        qf_free(found);
        found = replaced;
    }
    if (expected && strcmp(found, expected) != 0)
        qf_buffer_print(&r->failures, "  refused with: %s\n  expected:     %s\n", found, expected);
    qf_free(found);
}

/* Is it one of these words? */
static bool has_word(const char *words, const char *word)
{
    const size_t length = strlen(word);
    while (*words) {
        const size_t next = strcspn(words, " ");
        if (next == length && strncmp(words, word, length) == 0)
            return true;
        words += next + strspn(words + next, " ");
    }
    return false;
}

static void check(run *r, const kernel *kernel, qf_status status)
{
    const json_t *expect = json_object_get(r->test, "expect"),
                 *intended = json_object_get(r->test, "expect_intended"), *entry;
    const bool must_fail =
        strcmp(json_string_value(json_object_get(r->test, "status")), "error") == 0;
    const char *name;
    if (must_fail && !intended) {
        check_refusal(r, status);
        return;
    }
    if (status != QF_OK) {
        qf_buffer_print(&r->failures, "  %s\n", qf_error_text(r->context));
        return;
    }
    json_object_foreach((json_t *)(intended ? intended : expect), name, entry)
    {
        if (has_word(kernel->elsewhere, name))
            continue;
        compare(r, name, intended ? "_intended" : "", entry);
    }
}

/* ---- walking ---- */

static const kernel *find(const kernel *kernels, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(kernels[i].name, name) == 0)
            return &kernels[i];
    return NULL;
}

static void count_one(json_t *counts, const char *name)
{
    const json_int_t before = json_integer_value(json_object_get(counts, name));
    json_object_set_new(counts, name, json_integer(before + 1));
}

void test_walk_kernels(const char *set, const kernel *kernels, size_t count,
                       bool (*applies)(const run *r))
{
    char *folder = test_format("%s/%s", test_golden_folder(), set);
    char *path = test_format("%s/cases.json", folder);
    json_t *all = json_load_file(path, 0, NULL), *unknown = json_object();
    json_t *elsewhere = json_object(), *test;
    const char *wanted = getenv("QAFFE_CASE"), *name;
    int passed = 0, failed = 0, skipped = 0;
    size_t i;
    if (!all)
        fail_msg("%s cannot be read", path);
    json_array_foreach(json_object_get(all, "cases"), i, test)
    {
        const char *id = json_string_value(json_object_get(test, "id"));
        name = json_string_value(json_object_get(test, "kernel"));
        const kernel *kernel = find(kernels, count, name);
        run r = {.context = test_context(), .folder = folder, .test = test};
        if (!kernel)
            count_one(unknown, name);
        if (kernel && !kernel->run) {
            count_one(elsewhere, kernel->elsewhere);
        } else if ((wanted && !strstr(id, wanted)) || !kernel || (applies && !applies(&r))) {
            skipped++;
        } else {
            check(&r, kernel, kernel->run(&r));
            if (r.failures.size)
                print_message("%s\n%s", id, r.failures.data);
            *(r.failures.size ? &failed : &passed) += 1;
        }
        release(&r);
    }
    json_object_foreach(unknown, name, test) print_message(
        "%s: %d cases skipped, nothing here computes it\n", name, (int)json_integer_value(test));
    json_object_foreach(elsewhere, name, test)
        print_message("%d cases are walked by %s\n", (int)json_integer_value(test), name);
    print_message("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    json_decref(all);
    json_decref(elsewhere);
    json_decref(unknown);
    qf_free(path);
    qf_free(folder);
    assert_int_equal(failed, 0);
    if (!wanted)
        assert_true(passed > 0);
}
