/* Recorded cases of BVLC Caffe: layers, blocks of layers, whole nets, random transformations of
 * data, and loading weights. The folders are walked, so a new case needs no code. docs/layers.md
 * says how many cases a layer type has, and is checked here. */
#include "data/stores/hdf5_array.h"
#include "harness/cases.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct run {
    test_case *test;
    qf_context *context;
    qf_net *net;
} run;

static const char *golden;

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
        test_failure(r->test, "  setting %s: %s\n", blob->name, qf_error_text(r->context));
    return status == QF_OK;
}

static qf_blob *blob_named(run *r, const char *name)
{
    qf_blob *blob = qf_net_blob(r->net, name);
    if (!blob)
        test_failure(r->test, "  there is no blob %s\n", name);
    return blob;
}

/* Recorded gradients that are zero everywhere: part of the case's name, the blob ("layer 0" for a
 * parameter), and why. */
static const struct zero {
    const char *folder, *name, *blob, *why;
} zeros[] = {
    {"ContrastiveLoss", "identical_pair", "", "a and b are the same, and Caffe's root has slope 0"},
    {"Eltwise", "max_ties", "c", "a or b holds the largest value, and ties go to the first"},
    {"Eltwise", "sum_zero_coeff", "a", "its coefficient is 0"},
    {"BatchNorm", "train_single_value", "data", "a value is its own mean: the top is 0"},
    {"Power", "zero_", "data", "the top is the same whatever the bottom"},
    {"RNN", "one_step", "rnn 2", "the weights of the state before, which is 0"},
    {"LSTM", "one_step", "lstm 2", "the weights of the state before, which is 0"},
    {"SigmoidCrossEntropyLoss", "all_ignored", "data", "all labels are ignored"},
    {"SoftmaxWithLoss", "all_ignored", "data", "all labels are ignored"},
    {"Softmax", "one_class", "data", "the top is 1 whatever the bottom"},
    {"blocks", "lr_mult_zero", "ip1", "it does not learn, nor does anything below"},
    {"blocks", "lr_mult_zero", "ip2 1", "it does not learn"},
    {"blocks", "propagate_down_false", "ip1", "ip2 passes no gradient on"},
    {"blocks", "shared_weights", "ip1 1", "one bias on both sides of a difference"},
    {"blocks", "shared_weights", "ip2 1", "one bias on both sides of a difference"},
    {"nets", "resnet20_training_step", "Convolution1 1", "BatchNorm takes a bias off again"},
    {"nets", "resnet20_training_step", "Convolution11 1", "BatchNorm takes a bias off again"},
    {"nets", "resnet20_training_step", "Convolution21 1", "BatchNorm takes a bias off again"},
};

static const char *why_zero(const test_case *test, const char *blob)
{
    const char *slash = strrchr(test->folder, '/'), *folder = slash ? slash + 1 : test->folder;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        const struct zero *z = &zeros[i];
        const size_t length = strlen(z->blob);
        if (strcmp(folder, z->folder) == 0 && strncmp(test->name, z->name, strlen(z->name)) == 0 &&
            strncmp(blob, z->blob, length) == 0 && (!length || strchr(" ", blob[length])))
            return z->why;
    }
    return NULL;
}

static void check_params(run *r, const char *what, const json_t *list, bool diff)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        const char *name = json_text(entry, "layer");
        qf_layer *layer = qf_net_find_layer(r->net, name);
        int index = (int)json_number(entry, "index");
        if (!layer || index >= layer->param_count) {
            test_failure(r->test, "  there is no parameter %d of %s\n", index, name);
        } else if (!diff) {
            test_compare_blob(r->test, what, layer->params[index].blob, entry);
        } else {
            char *blob = test_format("%s %d", name, index);
            const bool learns = strcmp(layer->type->name, "BatchNorm") != 0;
            test_compare_gradient(r->test, blob, layer->params[index].blob, entry,
                                  learns ? why_zero(r->test, blob) : "statistics do not learn");
            qf_free(blob);
        }
    }
}

static bool forward_pass(run *r, const json_t *test, int pass)
{
    const json_t *entry;
    size_t i;
    float loss;
    json_array_foreach(json_object_get(test, "inputs"), i, entry)
    {
        qf_blob *blob = blob_named(r, json_text(entry, "blob"));
        if ((int)json_number(entry, "pass") == pass &&
            (!blob || !set_blob(r, blob, false, json_text(entry, "file"))))
            return false;
    }
    if (qf_net_reshape(r->net) != QF_OK || qf_net_forward(r->net, &loss) != QF_OK) {
        test_failure(r->test, "  forward: %s\n", qf_error_text(r->context));
        return false;
    }
    json_array_foreach(json_object_get(test, "outputs"), i, entry)
    {
        qf_blob *blob = blob_named(r, json_text(entry, "blob"));
        if (blob && (int)json_number(entry, "pass") == pass)
            test_compare_blob(r->test, "output", blob, entry);
    }
    const json_t *losses = json_object_get(test, "loss");
    json_array_foreach(losses, i, entry) if ((int)json_number(entry, "pass") == pass &&
                                             !test_agrees((double)loss, json_number(entry, "value"),
                                                          json_number(entry, "rtol"),
                                                          json_number(entry, "atol")))
        test_failure(r->test, "  loss %.9g, expected %.9g\n", (double)loss,
                     json_number(entry, "value"));
    return true;
}

/* Caffe's gradient is not the derivative here; ours is (test_gradients). */
static bool has_wrong_gradient(const json_t *backward)
{
    return json_is_false(json_object_get(backward, "agrees_with_numeric_gradient"));
}

static void backward_pass(run *r, const json_t *backward)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(backward, "top_diffs"), i, entry)
    {
        qf_blob *blob = blob_named(r, json_text(entry, "blob"));
        if (!blob || !set_blob(r, blob, true, json_text(entry, "file")))
            return;
    }
    qf_net_clear_param_diffs(r->net);
    if (qf_net_backward(r->net) != QF_OK) {
        test_failure(r->test, "  backward: %s\n", qf_error_text(r->context));
        return;
    }
    if (has_wrong_gradient(backward))
        return;
    json_array_foreach(json_object_get(backward, "input_diffs"), i, entry)
    {
        qf_blob *blob = blob_named(r, json_text(entry, "blob"));
        if (blob)
            test_compare_gradient(r->test, blob->name, blob, entry, why_zero(r->test, blob->name));
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
    const char *phase = json_text(test, "phase"), *weights = json_text(test, "weights");
    qf_status status = qf_net_create(r->context, json_text(test, "net"),
                                     phase && strcmp(phase, "TRAIN") == 0 ? QF_TRAIN : QF_TEST,
                                     (int)json_number(state, "level"), stages, count, &r->net);
    if (status == QF_OK && weights)
        status = qf_net_load_weights(r->net, weights);
    if (status != QF_OK)
        test_failure(r->test, "  %s\n", qf_error_text(r->context));
    return status == QF_OK;
}

static bool set_memory_data(run *r, const json_t *arrays)
{
    test_array images = test_load_npy(json_text(arrays, "data"));
    test_array labels = test_load_npy(json_text(arrays, "label"));
    qf_status status = qf_net_set_memory_data(r->net, images.data, labels.data, images.shape[0]);
    if (status != QF_OK)
        test_failure(r->test, "  %s\n", qf_error_text(r->context));
    qf_free(images.data);
    qf_free(labels.data);
    return status == QF_OK;
}

static void run_passes(run *r, const json_t *test)
{
    int passes = json_object_get(test, "passes") ? (int)json_number(test, "passes") : 1;
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

static void compare_data_sets(run *r, const char *found, const char *expected, const char *name)
{
    int64_t files[2];
    qf_hdf5_shape shapes[2];
    float *values[2] = {NULL, NULL};
    qf_status status = QF_OK;
    for (int i = 0; i < 2 && status == QF_OK; i++) {
        status = qf_hdf5_open(r->context, i ? expected : found, &files[i]);
        if (status == QF_OK)
            status = qf_hdf5_describe(r->context, files[i], name, &shapes[i]);
        if (status == QF_OK) {
            values[i] = qf_alloc(shapes[i].count, sizeof(float));
            status = qf_hdf5_read(r->context, files[i], name, values[i]);
        }
        qf_hdf5_close(files[i]);
    }
    if (status != QF_OK)
        test_failure(r->test, "  %s: %s\n", found, qf_error_text(r->context));
    else if (shapes[0].axes != shapes[1].axes ||
             memcmp(shapes[0].dim, shapes[1].dim, sizeof shapes[0].dim) != 0 ||
             memcmp(values[0], values[1], shapes[0].count * sizeof(float)) != 0)
        test_failure(r->test, "  %s: the data set %s differs\n", found, name);
    qf_free(values[0]);
    qf_free(values[1]);
}

/* In a copy of the folder; what is written is complete when the net is gone. */
static void run_writing(run *r, const json_t *test, const json_t *writes)
{
    char before[4096], *folder = test_make_directory();
    char *copy = test_format("cp -r . '%s'", folder);
    const json_t *entry;
    size_t i;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(system(copy), 0);
    assert_int_equal(chdir(folder), 0);
    run_passes(r, test);
    qf_net_destroy(r->net);
    r->net = NULL;
    json_array_foreach(writes, i, entry)
    {
        compare_data_sets(r, json_text(entry, "file"), json_text(entry, "like"), "data");
        compare_data_sets(r, json_text(entry, "file"), json_text(entry, "like"), "label");
    }
    assert_int_equal(chdir(before), 0);
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(copy);
}

static void run_case(run *r, const json_t *test)
{
    const json_t *writes = json_object_get(test, "writes");
    if (json_array_size(writes))
        run_writing(r, test, writes);
    else
        run_passes(r, test);
}

/* Which of the choices this is, or -1. */
static int choice_of(const test_array *choices, const float *item)
{
    const size_t size = choices->count / choices->shape[0];
    for (size_t c = 0; c < choices->shape[0]; c++)
        if (memcmp((const float *)choices->data + c * size, item, size * sizeof *item) == 0)
            return (int)c;
    return -1;
}

/* Random transformations: each item is one of the choices, and each choice turns up. */
static void run_random_case(run *r, const json_t *test)
{
    enum { DRAWS = 600, CHOICES_MAX = 64 };
    test_array choices = test_load_npy(json_text(test, "choices"));
    const size_t size = choices.count / choices.shape[0];
    int counts[CHOICES_MAX] = {0}, strange = 0;
    assert_in_range(choices.shape[0], 1, CHOICES_MAX);
    if (!build_net(r, test))
        return;
    for (size_t drawn = 0; drawn < DRAWS && !strange;) {
        qf_blob *blob = blob_named(r, json_text(test, "blob"));
        const float *values;
        if (!blob || qf_net_forward(r->net, NULL) != QF_OK ||
            qf_blob_data(blob, &values) != QF_OK) {
            test_failure(r->test, "  forward: %s\n", qf_error_text(r->context));
            break;
        }
        for (size_t i = 0; i < qf_blob_count(blob); i += size, drawn++) {
            const int choice = choice_of(&choices, values + i);
            strange += choice < 0;
            counts[choice < 0 ? 0 : choice]++;
        }
    }
    if (strange)
        test_failure(r->test, "  an item is none of the %zu choices\n", choices.shape[0]);
    for (size_t c = 0; c < choices.shape[0]; c++)
        if (counts[c] < (int)(DRAWS / choices.shape[0] / 3))
            test_failure(r->test, "  choice %zu came %d times in %d\n", c, counts[c], DRAWS);
    qf_free(choices.data);
}

static void run_weights_case(run *r, const json_t *test)
{
    const json_t *file;
    size_t i;
    qf_status status =
        qf_net_create(r->context, json_text(test, "net"), QF_TEST, 0, NULL, 0, &r->net);
    json_array_foreach(json_object_get(test, "load"), i, file) if (status == QF_OK) status =
        qf_net_load_weights(r->net, json_string_value(file));
    bool refused = json_is_true(json_object_get(test, "refused"));
    if (refused != (status != QF_OK))
        test_failure(r->test, "  %s, expected %s\n",
                     status == QF_OK ? "accepted" : qf_error_text(r->context),
                     refused ? json_text(test, "message") : "success");
    else if (status == QF_OK)
        check_params(r, "parameter of", json_object_get(test, "params"), false);
}

static void execute(test_case *test, void (*how)(run *, const json_t *))
{
    run r = {.test = test, .context = test->context};
    how(&r, test->json);
    qf_net_destroy(r.net);
}

static void run_net(test_case *test)
{
    execute(test, run_case);
}

static void run_random(test_case *test)
{
    execute(test, run_random_case);
}

static void run_weights(test_case *test)
{
    execute(test, run_weights_case);
}

/* ---- layers, and their table in the documentation ---- */

static struct type_count {
    char name[64];
    int forward, backward;
} type_counts[128];

static struct type_count *count_of(const char *type)
{
    size_t i = 0;
    while (i < 127 && type_counts[i].name[0] && strcmp(type_counts[i].name, type) != 0)
        i++;
    snprintf(type_counts[i].name, sizeof type_counts[i].name, "%s", type);
    return &type_counts[i];
}

static void run_layer(test_case *test)
{
    const json_t *backward = json_object_get(test->json, "backward");
    struct type_count *count = count_of(strrchr(test->folder, '/') + 1);
    execute(test, run_case);
    count->forward++;
    count->backward += json_is_object(backward) && !has_wrong_gradient(backward);
}

static void layers_agree(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/layers", 2, run_layer);
}

static void documentation_counts_the_cases(void **unused)
{
    (void)unused;
    if (getenv("QAFFE_CASE") || !test_golden_is_whole()) /* not all were run */
        skip();
    for (const struct type_count *c = type_counts; c->name[0]; c++) {
        test_documented row;
        if (!test_find_documented(c->name, &row))
            fail_msg("docs/layers.md has no row for %s", c->name);
        if (row.forward != c->forward || row.backward != c->backward)
            fail_msg("docs/layers.md: %s has %d forward and %d backward cases, the table says %d "
                     "and %d",
                     c->name, c->forward, c->backward, row.forward, row.backward);
        if (!c->backward && !row.has_remark)
            fail_msg("docs/layers.md: %s has no backward case, and the table gives no reason",
                     c->name);
    }
}

static void blocks_agree(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/blocks", 1, run_net);
}

static void nets_agree(void **unused)
{
    (void)unused;
    if (!test_golden_is_whole()) /* their models are too large for the few */
        skip();
    test_walk(golden, "caffe/nets", 1, run_net);
}

static void random_transformations_agree(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/random", 1, run_random);
}

static void weights_load_as_in_caffe(void **unused)
{
    (void)unused;
    test_walk(golden, "caffe/weights", 1, run_weights);
}

int main(void)
{
    golden = test_golden_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_agree), cmocka_unit_test(documentation_counts_the_cases),
        cmocka_unit_test(blocks_agree), cmocka_unit_test(weights_load_as_in_caffe),
        cmocka_unit_test(nets_agree),   cmocka_unit_test(random_transformations_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
