/* What BVLC Caffe draws, compared as statistics: fillers, Dropout, random crops and mirrors. The
 * draws themselves differ, because the generators do. */
#include "harness/cases.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *golden;

/* Both sides are draws, so the difference of two means is off by √2 standard errors. */
static const double errors = 5 * 1.4143;

static json_t *load_statistics(void)
{
    char *path = test_format("%s/caffe/random/statistics.json", golden);
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    qf_free(path);
    return json;
}

/* ---- fillers ---- */

/* As many draws as the recorded ones: the blob filled again and again. */
static float *draw(qf_context *context, const json_t *entry, size_t count)
{
    const char *text = json_text(entry, "filler");
    const json_t *dims = json_object_get(entry, "shape");
    char *message = test_format("%.*s", (int)strlen(text) - 2, text + 1); /* without the braces */
    float *all = qf_alloc(count, sizeof *all);
    Caffe__FillerParameter *filler;
    qf_shape shape = {.axes = (int)json_array_size(dims)};
    qf_blob *blob;
    for (int i = 0; i < shape.axes; i++)
        shape.dim[i] = (int)json_integer_value(json_array_get(dims, (size_t)i));
    assert_ok(context, qf_text_parse(context, "filler", message, strlen(message),
                                     &caffe__filler_parameter__descriptor, &filler));
    assert_ok(context, qf_blob_create(context, "filled", &blob));
    assert_ok(context, qf_blob_reshape_to(blob, &shape));
    const size_t size = qf_shape_count(&shape);
    for (size_t done = 0; done < count; done += size) {
        const float *values;
        assert_ok(context, qf_fill(blob, filler));
        assert_ok(context, qf_blob_data(blob, &values));
        memcpy(all + done, values, (count - done < size ? count - done : size) * sizeof *all);
    }
    qf_blob_release(blob);
    qf_message_free(filler);
    qf_free(message);
    return all;
}

static void expect_near(const char *name, const char *what, double found, double expected,
                        double most)
{
    if (!(fabs(found - expected) <= most))
        fail_msg("%s: %s is %g, expected %g within %g", name, what, found, expected, most);
}

static void check_filler(qf_context *context, const json_t *entry)
{
    const char *name = json_text(entry, "name");
    const size_t n = (size_t)json_number(entry, "draws");
    const double mean = json_number(entry, "mean"), deviation = json_number(entry, "std");
    const double zero = json_number(entry, "zero_fraction"), root = sqrt((double)n);
    float *values = draw(context, entry, n);
    double sum = 0, squares = 0, fourth = 0, zeros = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)values[i];
    for (size_t i = 0; i < n; i++) {
        const double d = (double)values[i] - sum / (double)n;
        squares += d * d;
        fourth += d * d * d * d;
        zeros += values[i] == 0;
    }
    const double variance = squares / (double)n;
    /* Standard error of a deviation: √((m4 − s⁴) / n) / 2s. */
    const double of_deviation =
        sqrt((fourth / (double)n - variance * variance) / (double)n) / (2 * sqrt(variance));
    expect_near(name, "the mean", sum / (double)n, mean, errors * deviation / root + 1e-9);
    expect_near(name, "the deviation", sqrt(variance), deviation, errors * of_deviation);
    expect_near(name, "the share of zeros", zeros / (double)n, zero,
                errors * sqrt(zero * (1 - zero)) / root);
    for (size_t q = 1; zero == 0 && q <= 9; q++) {
        const double limit =
            json_number_value(json_array_get(json_object_get(entry, "deciles"), q - 1));
        size_t below = 0;
        for (size_t i = 0; i < n; i++)
            below += (double)values[i] < limit;
        expect_near(name, "a decile", (double)below / (double)n, (double)q / 10,
                    errors * 0.5 / root);
    }
    qf_free(values);
}

static void fillers(void **state)
{
    (void)state;
    qf_context *context = test_context();
    json_t *json = load_statistics();
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(json, "fillers"), i, entry) check_filler(context, entry);
    assert_true(i > 0);
    json_decref(json);
    qf_context_destroy(context);
}

/* ---- Dropout ---- */

static qf_net *build(qf_context *context, const char *text)
{
    Caffe__NetParameter *param;
    qf_net *net;
    assert_ok(context, qf_text_parse(context, "net", text, strlen(text),
                                     &caffe__net_parameter__descriptor, &param));
    assert_ok(context, qf_net_create_from_param(context, param, NULL, &net));
    qf_message_free(param);
    return net;
}

static void check_dropout(qf_context *context, const json_t *entry)
{
    const double ratio = json_number(entry, "ratio"), n = json_number(entry, "count");
    const double kept =
        json_number_value(json_array_get(json_object_get(entry, "values_of_kept"), 0));
    char *text = test_format(
        "state { phase: TRAIN } force_backward: true layer { name: 'in' type: 'DummyData' top: 'x' "
        "dummy_data_param { shape { dim: %d } data_filler { value: 1 } } } layer { name: 'drop' "
        "type: 'Dropout' bottom: 'x' top: 'y' dropout_param { dropout_ratio: %g } }",
        (int)n, ratio);
    qf_net *net = build(context, text);
    qf_blob *x = qf_net_blob(net, "x"), *y = qf_net_blob(net, "y");
    const float *top, *dx;
    float *dy;
    double zeros = 0;
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_mutable_diff(y, &dy));
    for (size_t i = 0; i < (size_t)n; i++)
        dy[i] = 1;
    assert_ok(context, qf_net_backward(net));
    assert_ok(context, qf_blob_data(y, &top));
    assert_ok(context, qf_blob_diff(x, &dx));
    for (size_t i = 0; i < (size_t)n; i++) {
        zeros += top[i] == 0;
        if (top[i] != 0)
            expect_near("Dropout", "a value that is kept", (double)top[i], kept, 1e-6 * kept);
        assert_true(dx[i] == top[i]);
    }
    expect_near("Dropout", "the share of zeros", zeros / n, json_number(entry, "zero_fraction"),
                errors * sqrt(ratio * (1 - ratio) / n));
    qf_net_destroy(net);
    qf_free(text);
}

static void dropout(void **state)
{
    (void)state;
    qf_context *context = test_context();
    json_t *json = load_statistics();
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(json, "dropout_train"), i, entry)
        check_dropout(context, entry);
    assert_true(i > 0);
    json_decref(json);
    qf_context_destroy(context);
}

/* ---- crops and mirrors: each item is one of the possible results, and each of them turns up ----
 */

static void run_choices(test_case *test)
{
    qf_net *net = NULL;
    const char *phase = json_text(test->json, "phase");
    const size_t draws = (size_t)json_number(test->json, "draws");
    test_array choices = test_load_npy(json_text(test->json, "choices"));
    const size_t kinds = choices.shape[0], size = choices.count / kinds;
    size_t *seen = qf_alloc(kinds, sizeof *seen);
    qf_status status =
        qf_net_create(test->context, json_text(test->json, "net"),
                      strcmp(phase, "TRAIN") == 0 ? QF_TRAIN : QF_TEST, 0, NULL, 0, &net);
    qf_blob *blob = net ? qf_net_blob(net, json_text(test->json, "blob")) : NULL;
    for (size_t drawn = 0; status == QF_OK && drawn < draws;) {
        const float *values = NULL;
        status = qf_net_forward(net, NULL);
        if (status == QF_OK)
            status = qf_blob_data(blob, &values);
        for (size_t i = 0; status == QF_OK && i < qf_blob_count(blob) / size; i++, drawn++) {
            size_t k = 0;
            while (k < kinds && memcmp(values + i * size, (float *)choices.data + k * size,
                                       size * sizeof *values) != 0)
                k++;
            if (k < kinds)
                seen[k]++;
            else
                test_failure(test, "  item %zu is none of the possible results\n", drawn);
        }
    }
    if (status != QF_OK)
        test_failure(test, "  %s\n", qf_error_text(test->context));
    for (size_t k = 0; k < kinds && status == QF_OK; k++) {
        const double expected = (double)draws / (double)kinds;
        if (fabs((double)seen[k] - expected) > 5 * sqrt(expected))
            test_failure(test, "  result %zu came %zu times in %zu draws, expected about %g\n", k,
                         seen[k], draws, expected);
    }
    qf_net_destroy(net);
    qf_free(seen);
    qf_free(choices.data);
}

static void crops_and_mirrors(void **state)
{
    (void)state;
    test_walk(golden, "caffe/random", 1, run_choices);
}

int main(void)
{
    golden = test_golden_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fillers),
        cmocka_unit_test(dropout),
        cmocka_unit_test(crops_and_mirrors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
