/* Recorded cases of BVLC Caffe: layers, blocks of layers, whole nets, and loading weights. The
 * folders are walked, so a new case needs no code. Cases with a layer type that this build does not
 * have are skipped and counted by type. */
#include "harness/harness.h"
#include "nn/net.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct run {
    qf_context *context;
    qf_net *net;
    const char *name;
    qf_buffer failures;
} run;

static const char *golden;
static int passed, skipped, failed;

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static bool agrees(double found, double expected, double rtol, double atol)
{
    if (isnan(expected) || isnan(found))
        return isnan(expected) && isnan(found);
    if (isinf(expected) || isinf(found))
        return expected == found;
    return fabs(found - expected) <= atol + rtol * fabs(expected);
}

/* Compare a blob's array with a file. */
static void compare(run *r, const char *what, qf_blob *blob, bool diff, const json_t *entry)
{
    test_array expected = test_load_npy(text_of(entry, "file"));
    const qf_shape *shape = qf_blob_shape(blob);
    const float *found;
    double rtol = number_of(entry, "rtol"), atol = number_of(entry, "atol"), worst = 0;
    size_t wrong = 0, first = 0;
    char text[256];
    bool same = shape->axes == expected.axes;
    for (int i = 0; same && i < shape->axes; i++)
        same = (size_t)shape->dim[i] == expected.shape[i];
    if (!same) {
        qf_buffer_print(&r->failures, "  %s %s has shape %s\n", what, blob->name,
                        qf_shape_text(shape, text, sizeof text));
    } else if ((diff ? qf_blob_diff : qf_blob_data)(blob, &found) != QF_OK) {
        qf_buffer_print(&r->failures, "  %s %s: %s\n", what, blob->name, qf_error_text(r->context));
    } else {
        const float *values = expected.data;
        for (size_t i = 0; i < expected.count; i++)
            if (!agrees((double)found[i], (double)values[i], rtol, atol)) {
                first = wrong++ ? first : i;
                worst = fmax(worst, fabs((double)found[i] - (double)values[i]));
            }
        if (wrong)
            qf_buffer_print(
                &r->failures,
                "  %s %s: %zu of %zu differ, first [%zu] %.9g, expected %.9g; worst by %g "
                "(atol %g)\n",
                what, blob->name, wrong, expected.count, first, (double)found[first],
                (double)values[first], worst, atol);
    }
    qf_free(expected.data);
}

static bool set_blob(run *r, qf_blob *blob, bool diff, const char *file)
{
    test_array array = test_load_npy(file);
    int dims[32];
    float *values;
    for (int i = 0; i < array.axes; i++)
        dims[i] = (int)array.shape[i];
    qf_status status = diff ? QF_OK : qf_blob_reshape(blob, dims, array.axes);
    if (status == QF_OK)
        status = (diff ? qf_blob_mutable_diff : qf_blob_mutable_data)(blob, &values);
    if (status == QF_OK && array.count)
        memcpy(values, array.data, array.count * sizeof *values);
    qf_free(array.data);
    if (status != QF_OK)
        qf_buffer_print(&r->failures, "  setting %s: %s\n", blob->name, qf_error_text(r->context));
    return status == QF_OK;
}

static qf_blob *blob_named(run *r, const char *name)
{
    qf_blob *blob = qf_net_blob(r->net, name);
    if (!blob)
        qf_buffer_print(&r->failures, "  there is no blob %s\n", name);
    return blob;
}

static void check_params(run *r, const char *what, const json_t *list, bool diff)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        qf_layer *layer = qf_net_find_layer(r->net, text_of(entry, "layer"));
        int index = (int)number_of(entry, "index");
        if (!layer || index >= layer->param_count)
            qf_buffer_print(&r->failures, "  there is no parameter %d of %s\n", index,
                            text_of(entry, "layer"));
        else
            compare(r, what, layer->params[index].blob, diff, entry);
    }
}

static bool forward_pass(run *r, const json_t *test, int pass)
{
    const json_t *entry;
    size_t i;
    float loss;
    json_array_foreach(json_object_get(test, "inputs"), i, entry)
    {
        qf_blob *blob = blob_named(r, text_of(entry, "blob"));
        if ((int)number_of(entry, "pass") == pass &&
            (!blob || !set_blob(r, blob, false, text_of(entry, "file"))))
            return false;
    }
    if (qf_net_reshape(r->net) != QF_OK || qf_net_forward(r->net, &loss) != QF_OK) {
        qf_buffer_print(&r->failures, "  forward: %s\n", qf_error_text(r->context));
        return false;
    }
    json_array_foreach(json_object_get(test, "outputs"), i, entry)
    {
        qf_blob *blob = blob_named(r, text_of(entry, "blob"));
        if (blob && (int)number_of(entry, "pass") == pass)
            compare(r, "output", blob, false, entry);
    }
    const json_t *losses = json_object_get(test, "loss");
    json_array_foreach(losses, i,
                       entry) if ((int)number_of(entry, "pass") == pass &&
                                  !agrees((double)loss, number_of(entry, "value"),
                                          number_of(entry, "rtol"), number_of(entry, "atol")))
        qf_buffer_print(&r->failures, "  loss %.9g, expected %.9g\n", (double)loss,
                        number_of(entry, "value"));
    return true;
}

static void backward_pass(run *r, const json_t *backward)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(backward, "top_diffs"), i, entry)
    {
        qf_blob *blob = blob_named(r, text_of(entry, "blob"));
        if (!blob || !set_blob(r, blob, true, text_of(entry, "file")))
            return;
    }
    qf_net_clear_param_diffs(r->net);
    if (qf_net_backward(r->net) != QF_OK) {
        qf_buffer_print(&r->failures, "  backward: %s\n", qf_error_text(r->context));
        return;
    }
    if (json_is_false(json_object_get(backward, "agrees_with_numeric_gradient")))
        return; /* ours is the derivative (test_gradients) */
    json_array_foreach(json_object_get(backward, "input_diffs"), i, entry)
    {
        qf_blob *blob = blob_named(r, text_of(entry, "blob"));
        if (blob)
            compare(r, "gradient of", blob, true, entry);
    }
    check_params(r, "gradient of parameter of", json_object_get(backward, "param_diffs"), true);
}

static bool build_net(run *r, const json_t *test)
{
    const json_t *state = json_object_get(test, "state"), *stage;
    const char *stages[16];
    size_t count = 0, i;
    json_array_foreach(json_object_get(state, "stages"), i, stage) if (count < 16) stages[count++] =
        json_string_value(stage);
    const char *phase = text_of(test, "phase"), *weights = text_of(test, "weights");
    qf_status status = qf_net_create(r->context, text_of(test, "net"),
                                     phase && strcmp(phase, "TRAIN") == 0 ? QF_TRAIN : QF_TEST,
                                     (int)number_of(state, "level"), stages, count, &r->net);
    if (status == QF_OK && weights)
        status = qf_net_load_weights(r->net, weights);
    if (status != QF_OK)
        qf_buffer_print(&r->failures, "  %s\n", qf_error_text(r->context));
    return status == QF_OK;
}

static bool set_memory_data(run *r, const json_t *arrays)
{
    test_array images = test_load_npy(text_of(arrays, "data"));
    test_array labels = test_load_npy(text_of(arrays, "label"));
    qf_status status = qf_net_set_memory_data(r->net, images.data, labels.data, images.shape[0]);
    if (status != QF_OK)
        qf_buffer_print(&r->failures, "  %s\n", qf_error_text(r->context));
    qf_free(images.data);
    qf_free(labels.data);
    return status == QF_OK;
}

static void run_case(run *r, const json_t *test)
{
    int passes = json_object_get(test, "passes") ? (int)number_of(test, "passes") : 1;
    const json_t *arrays = json_object_get(test, "memory_data");
    if (!build_net(r, test) || (arrays && !set_memory_data(r, arrays)))
        return;
    for (int pass = 0; pass < passes; pass++)
        if (!forward_pass(r, test, pass))
            return;
    const json_t *backward = json_object_get(test, "backward");
    if (json_object_get(test, "param_diffs")) /* nets/ have these at the top */
        backward = test;
    if (json_is_object(backward))
        backward_pass(r, backward);
    check_params(r, "after all passes,", json_object_get(test, "params_after"), false);
}

static void run_weights_case(run *r, const json_t *test)
{
    const json_t *file;
    size_t i;
    qf_status status =
        qf_net_create(r->context, text_of(test, "net"), QF_TEST, 0, NULL, 0, &r->net);
    json_array_foreach(json_object_get(test, "load"), i, file) if (status == QF_OK) status =
        qf_net_load_weights(r->net, json_string_value(file));
    bool refused = json_is_true(json_object_get(test, "refused"));
    if (refused != (status != QF_OK))
        qf_buffer_print(&r->failures, "  %s, expected %s\n",
                        status == QF_OK ? "accepted" : qf_error_text(r->context),
                        refused ? text_of(test, "message") : "success");
    else if (status == QF_OK)
        check_params(r, "parameter of", json_object_get(test, "params"), false);
}

/* Why a case cannot run here, or NULL. */
static const char *reason_to_skip(const run *r)
{
    const char *text = qf_buffer_text(&r->failures), *unknown = strstr(text, "unknown layer type");
    if (unknown)
        return "layer types that are not in this build";
    return strstr(text, "LEVELDB") ? "LEVELDB" : NULL;
}

static void visit(const char *folder, const char *name, void (*execute)(run *, const json_t *))
{
    json_error_t error;
    json_t *test = json_load_file("case.json", 0, &error);
    run r = {.context = test_context(), .name = name};
    if (!test)
        fail_msg("%s/%s/case.json:%d: %s", folder, name, error.line, error.text);
    execute(&r, test);
    if (!r.failures.size) {
        passed++;
    } else if (reason_to_skip(&r)) {
        skipped++;
    } else {
        failed++;
        print_message("%s/%s:\n%s", folder, name, qf_buffer_text(&r.failures));
    }
    qf_buffer_release(&r.failures);
    qf_net_destroy(r.net);
    qf_context_destroy(r.context);
    json_decref(test);
}

/* Every folder with a case.json below golden/caffe/<folder>, `depth` levels down. */
static void walk(const char *folder, int depth, void (*execute)(run *, const json_t *))
{
    char *root = test_format("%s/caffe/%s", golden, folder), before[4096];
    struct dirent **entries;
    int count = scandir(root, &entries, NULL, alphasort);
    assert_non_null(getcwd(before, sizeof before));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *path = test_format("%s/%s", root, name), *file = test_format("%s/case.json", path);
        char *below = test_format("%s/%s", folder, name);
        const char *only = getenv("QAFFE_CASE"); /* for a single case while working on it */
        if (name[0] != '.' && access(file, R_OK) == 0 && (!only || strstr(below, only))) {
            assert_int_equal(chdir(path), 0);
            visit(folder, name, execute);
            assert_int_equal(chdir(before), 0);
        } else if (name[0] != '.' && depth > 1) {
            walk(below, depth - 1, execute);
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

static void walk_and_count(const char *folder, int depth, void (*execute)(run *, const json_t *))
{
    passed = skipped = failed = 0;
    walk(folder, depth, execute);
    print_message("%s: %d passed, %d failed, %d skipped (need what is not in this build)\n", folder,
                  passed, failed, skipped);
    assert_int_equal(failed, 0);
    if (!getenv("QAFFE_CASE"))
        assert_true(passed > 0);
}

static void layers_agree(void **unused)
{
    (void)unused;
    walk_and_count("layers", 2, run_case);
}

static void blocks_agree(void **unused)
{
    (void)unused;
    walk_and_count("blocks", 1, run_case);
}

static void nets_agree(void **unused)
{
    (void)unused;
    walk_and_count("nets", 1, run_case);
}

static void weights_load_as_in_caffe(void **unused)
{
    (void)unused;
    walk_and_count("weights", 1, run_weights_case);
}

int main(void)
{
    golden = test_golden_folder();
    if (!golden)
        return SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_agree),
        cmocka_unit_test(blocks_agree),
        cmocka_unit_test(weights_load_as_in_caffe),
        cmocka_unit_test(nets_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
