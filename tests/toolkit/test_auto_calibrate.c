/* Automatic calibration in C, on a net with every pattern of folding: stopped and gone on with, by
 * whoever evaluates. */
#include "harness/fixture.h"
#include "harness/ptq_net.h"
#include "net/net.h"

#include <dirent.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* Counts quantised layers; fails in call number `fails` of evaluate(). */
typedef struct counting {
    double most; /* layers that may be quantised */
    int calls, fails;
} counting;

static qf_status run_model(void *user, qf_context *with, const char *model, const char *weights)
{
    qf_net *net;
    (void)user;
    QF_TRY(qf_net_create(with, model, QF_TEST, 0, NULL, 0, &net));
    qf_status status = qf_net_load_weights(net, weights);
    for (int i = 0; i < 2 && status == QF_OK; i++)
        status = qf_net_forward(net, NULL);
    qf_net_destroy(net);
    return status;
}

static qf_status count_quantised(void *user, qf_context *with, const char *model,
                                 const char *weights, qf_metric *out)
{
    counting *c = user;
    Caffe__NetParameter *net = test_ptq_net(model, NULL);
    int quantised = 0;
    (void)weights;
    for (size_t i = 0; i < net->n_layer; i++)
        quantised += strcmp(net->layer[i]->type, "DeQuant") == 0;
    qf_message_free(net);
    if (++c->calls == c->fails) {
        qf_context_fail(with, "no more power");
        return QF_E_IO;
    }
    out->number = -quantised;
    snprintf(out->text, sizeof out->text, "%d", quantised);
    return QF_OK;
}

static qf_status compare(void *user, qf_context *with, const qf_metric *original,
                         const qf_metric *other, bool *satisfied, double *difference)
{
    const counting *c = user;
    (void)with;
    *difference = original->number - other->number;
    *satisfied = *difference <= c->most;
    return QF_OK;
}

static qf_status calibrate(counting *counts, const char *prefix, qf_auto_result **out)
{
    const qf_evaluator evaluator = {.size = sizeof evaluator,
                                    .user = counts,
                                    .calibrate = run_model,
                                    .evaluate = count_quantised,
                                    .compare = compare,
                                    .name = "counting"};
    qf_auto_options options = {.size = sizeof options};
    qf_auto_set_defaults(&options);
    options.model_file = "net.prototxt";
    options.weights_file = "net.caffemodel";
    options.config_file = "config.json";
    options.save_path = prefix;
    options.evaluator = &evaluator;
    return qf_auto_calibrate(context, &options, NULL, NULL, NULL, out);
}

static size_t quantised_layers(const qf_auto_result *result)
{
    size_t count = 0;
    for (size_t i = 0; i < result->layers; i++)
        count += result->layer[i]->quantised;
    return count;
}

/* Names in a folder with this in them. */
static int count_files(const char *path, const char *part)
{
    int count = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += entry->d_name[0] != '.' && strstr(entry->d_name, part);
    if (folder)
        closedir(folder);
    return count;
}

static void every_pattern_has_a_sensitivity(void **state)
{
    (void)state;
    counting counts = {.most = 1000};
    qf_auto_result *result;
    assert_ok(context, calibrate(&counts, "all/m", &result));
    assert_int_equal(counts.calls, 2);
    assert_true(result->generated && result->layers > 8);
    assert_int_equal(result->steps, 1);
    assert_int_equal(quantised_layers(result), result->layers);
    for (size_t i = 0; i < result->layers; i++) {
        assert_true(result->layer[i]->sensitivity > 0.9 && result->layer[i]->sensitivity <= 1);
        assert_true(i == 0 || result->layer[i]->sensitivity >= result->layer[i - 1]->sensitivity);
    }
    assert_int_equal(count_files("all", "deploy"), 2);
    assert_int_equal(count_files("all", "record.txt"), 1);
    assert_int_equal(count_files("all", "temp"), 0);
    test_ptq_verify("all/m");
    qf_auto_result_destroy(result);
}

/* Whatever call fails, the next run does the rest, and only that. */
static void the_next_call_goes_on(void **state)
{
    (void)state;
    qf_auto_result *whole, *rest;
    counting counts = {.most = 2.5}; /* two layers may be quantised */
    assert_ok(context, calibrate(&counts, "whole/m", &whole));
    const size_t left = quantised_layers(whole);
    assert_true(left == 1 || left == 2); /* those that share weights go together */
    const int calls = counts.calls;
    assert_true(calls <= 2 + (int)floor(log2((double)whole->layers)) + 2);
    for (int fails = 1; fails <= calls; fails++) {
        char *prefix = test_format("part%d/m", fails), *folder = test_format("part%d", fails);
        counting broken = {.most = 2.5, .fails = fails}, again = {.most = 2.5};
        assert_fails(context, calibrate(&broken, prefix, &rest), "no more power");
        assert_null(rest);
        assert_int_equal(count_files(folder, ""), fails > 1); /* the state */
        assert_ok(context, calibrate(&again, prefix, &rest));
        assert_int_equal(again.calls, calls - fails + 1);
        assert_int_equal(rest->resumed, fails > 1);
        assert_int_equal(rest->steps, whole->steps);
        assert_int_equal(quantised_layers(rest), left);
        assert_int_equal(count_files(folder, "state"), 0);
        qf_auto_result_destroy(rest);
        qf_free(prefix);
        qf_free(folder);
    }
    qf_auto_result_destroy(whole);
}

static void a_state_of_something_else_is_not_used(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"key\":\"x\",\"folder\":\"../net.prototxt\"}", "{", "[]",
                                        ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        counting counts = {.most = 1000};
        qf_auto_result *result;
        assert_ok(context,
                  qf_file_write(context, "other/accuracy_based_auto_calibration_state.json",
                                texts[i], strlen(texts[i]), 0640));
        assert_ok(context, calibrate(&counts, "other/m", &result));
        assert_false(result->resumed);
        assert_int_equal(counts.calls, 2);
        qf_auto_result_destroy(result);
    }
    assert_int_equal(access("net.prototxt", F_OK), 0);
}

static void all_in_float_leaves_no_models(void **state)
{
    (void)state;
    counting counts = {.most = 1000};
    qf_auto_result *result;
    assert_ok(context, calibrate(&counts, "none/m", &result));
    qf_auto_result_destroy(result);
    assert_ok(context, qf_file_write(context, "none/n_deploy_model.prototxt", "", 0, 0640));
    counts = (counting){.most = 0.5};
    assert_ok(context, calibrate(&counts, "none/m", &result));
    assert_false(result->generated);
    assert_int_equal(quantised_layers(result), 0);
    assert_string_equal(result->saved, "");
    assert_int_equal(count_files("none", "m_deploy"), 0);
    assert_int_equal(count_files("none", "m_fake_quant"), 0);
    assert_int_equal(count_files("none", "n_deploy"), 1); /* not ours */
    qf_auto_result_destroy(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_has_a_sensitivity),
        cmocka_unit_test(the_next_call_goes_on),
        cmocka_unit_test(a_state_of_something_else_is_not_used),
        cmocka_unit_test(all_in_float_leaves_no_models),
    };
    return cmocka_run_group_tests(tests, test_ptq_start, test_stop_in_folder);
}
