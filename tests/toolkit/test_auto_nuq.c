/* auto_nuq: which layers keep few codes for an evaluator that wants no more than so many of them.
 */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/ptq_net.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#define NUQ                                                                                        \
    "\"quant_enable\":true, \"weight_quant_params\":{\"wts_algo\":\"nuq_quantize\", "              \
    "\"num_steps\":16, \"num_of_iteration\":1}"
#define CONFIG                                                                                     \
    "{\"version\":1, \"batch_num\":2, \"c0\":{" NUQ "}, \"c1\":{" NUQ "}, \"ip\":{" NUQ            \
    "}, \"c3\":{\"quant_enable\":true}}"

static const char *const names[] = {"c0", "c1", "ip"}; /* in the order of their weights */
enum { NAMES = 3 };

typedef struct judge {
    int most; /* layers with few codes that are good enough */
    int calibrated, judged, batches;
    qf_status fails;
    const char *sentence;
} judge;

static bool has_few_codes(const char *weights, const char *name)
{
    Caffe__NetParameter *net = test_ptq_net(NULL, weights);
    const ProtobufCBinaryData bytes = test_ptq_layer(net, name)->blobs[0]->int8_data;
    bool seen[256] = {false};
    int found = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        found += !seen[bytes.data[i]];
        seen[bytes.data[i]] = true;
    }
    qf_message_free(net);
    return found <= 16;
}

static int few_coded_layers(void)
{
    int found = 0;
    for (int i = 0; i < NAMES; i++)
        found += has_few_codes("nuq/m_deploy_weights.caffemodel", names[i]);
    return found;
}

static void name_it(const char *file, const char *name)
{
    unlink(name);
    assert_int_equal(symlink(file, name), 0);
}

static qf_status evaluate(void *user, qf_context *its, const char *model, const char *weights,
                          int batches, qf_metric *out)
{
    judge *j = user;
    assert_true(qf_file_exists(model) && qf_file_exists(weights));
    if (strstr(model, "calibration_model")) {
        j->calibrated++;
        assert_int_equal(batches, 2);
        if (j->sentence)
            qf_context_fail(its, j->sentence);
        if (j->fails != QF_OK)
            return j->fails;
        name_it(model, "cal.prototxt");
        name_it(weights, "cal.caffemodel");
        test_ptq_fill_record("record.txt", true);
        return QF_OK;
    }
    assert_int_equal(batches, j->batches);
    j->judged++;
    out->number = strstr(model, "fake_quant") ? few_coded_layers() : -1;
    snprintf(out->text, sizeof out->text, "%g", out->number);
    return QF_OK;
}

static qf_status is_satisfied(void *user, qf_context *its, const qf_metric *original,
                              const qf_metric *other, bool *out)
{
    const judge *j = user;
    (void)its;
    assert_true(original->number == -1);
    *out = other->number <= j->most;
    return QF_OK;
}

static qf_status search(judge *j, const char *config, qf_nuq_result **out)
{
    const qf_nuq_evaluator evaluator = {.size = sizeof evaluator,
                                        .user = j,
                                        .evaluate = evaluate,
                                        .is_satisfied = is_satisfied,
                                        .evaluate_batches = j->batches == 2 ? 0 : j->batches};
    return qf_auto_nuq(context, "net.prototxt", "net.caffemodel", config, "record.txt", "nuq/m",
                       &evaluator, out);
}

static size_t files_in(const char *path)
{
    DIR *folder = opendir(path);
    size_t count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* The fewest weights give up first; as few layers as it takes. */
static void as_many_as_are_good_enough(void **state)
{
    static const struct {
        int most, attempts;
        bool satisfied;
        const char *list;
    } rows[] = {
        {3, 1, true, "\"c0\",\n        \"c1\",\n        \"ip\"\n    ]"},
        {2, 3, true, "[\n        \"c1\",\n        \"ip\"\n    ]"},
        {1, 4, true, "[\n        \"ip\"\n    ]"},
        {0, 3, true, "\"nuq_layers\":[]"},
        {-1, 3, false, "\"nuq_layers\":[]"},
    };
    (void)state;
    test_write_text(context, "nuq.json", CONFIG);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        judge j = {.most = rows[i].most, .batches = i % 2 ? 7 : 2};
        qf_nuq_result *found;
        assert_ok(context, search(&j, "nuq.json", &found));
        const int few = rows[i].most < 0 ? 0 : rows[i].most;
        assert_int_equal(found->attempts, rows[i].attempts);
        assert_int_equal(found->satisfied, rows[i].satisfied);
        assert_true(found->metric.number == few);
        assert_int_equal(few_coded_layers(), few);
        assert_int_equal(found->layers, NAMES);
        for (int k = 0; k < NAMES; k++) {
            assert_string_equal(found->layer[k]->name, names[k]);
            assert_int_equal(found->layer[k]->non_uniform, k >= NAMES - few);
            assert_true(k == 0 || found->layer[k]->weights > found->layer[k - 1]->weights);
        }
        assert_int_equal(j.calibrated, rows[i].attempts);
        assert_int_equal(j.judged, rows[i].attempts + 1); /* the original, too */
        assert_true(test_file_has(context, "nuq/m_nuq_layers.json", rows[i].list));
        assert_int_equal(files_in("nuq"), 6); /* two models, quant.json and the list */
        test_ptq_verify("nuq/m");
        qf_nuq_result_destroy(found);
        test_remove_directory("nuq");
    }
}

static void failures_leave_nothing(void **state)
{
    judge j = {.most = 3, .batches = 2, .fails = QF_E_VALUE, .sentence = "no such images"};
    qf_nuq_result *found;
    (void)state;
    test_write_text(context, "nuq.json", CONFIG);
    assert_fails(context, search(&j, "nuq.json", &found), "no such images");
    qf_nuq_result_destroy(found);
    j.sentence = NULL;
    assert_fails(context, search(&j, "nuq.json", &found), "the evaluator failed at ");
    qf_nuq_result_destroy(found);
    assert_int_equal(files_in("nuq"), 0);
    assert_fails(context, search(&j, "config.json", &found),
                 "No layer in config.json has wts_algo nuq_quantize");
    qf_nuq_result_destroy(found);
    const qf_nuq_evaluator empty = {.size = sizeof empty};
    assert_fails(context,
                 qf_auto_nuq(context, "net.prototxt", "net.caffemodel", "nuq.json", "record.txt",
                             "nuq/m", &empty, &found),
                 "the evaluator lacks a function");
    qf_nuq_result_destroy(found);
}

/* With the evaluator of the command; a data layer gives it something to judge by. */
static void the_command_judges_by_itself(void **state)
{
    (void)state;
    assert_ok(context, qf_make_digits(context, "few_lmdb", "few_test_lmdb", 40, 40, 1));
    test_write_text(
        context, "digits.prototxt",
        "layer { name: 'd' type: 'Data' top: 'x' top: 'label' transform_param { scale: 0.01 } "
        "data_param { source: 'few_lmdb' batch_size: 20 backend: LMDB } }"
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { "
        "num_output: 4 kernel_size: 5 stride: 3 weight_filler { type: 'msra' } } }"
        "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }"
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'c' top: 'ip' inner_product_param { "
        "num_output: 10 weight_filler { type: 'xavier' } } }"
        "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { "
        "phase: TEST } }"
        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }");
    test_write_text(context, "solver.prototxt",
                    "net: 'digits.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: 4 "
                    "snapshot: 4 snapshot_prefix: 'digits' random_seed: 1 test_iter: 1 "
                    "test_interval: 100");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
#define DIGITS "--model digits.prototxt --weights digits_iter_4.caffemodel "
    test_write_text(context, "few.json",
                    "{\"version\":1, \"batch_num\":2, \"c\":{" NUQ "}, \"ip\":{" NUQ "}}");
    test_command(0, "next: qaffe verify --model few/m", "",
                 "ptq nuq " DIGITS "--config few.json --record few.txt --out few/m "
                 "--max-loss 1000000 --test-iterations 1");
    assert_non_null(strstr(test_output, "few codes"));
    assert_null(strstr(test_output, "quantised uniformly"));
    assert_true(test_file_has(context, "few/m_nuq_layers.json", "ip"));
    test_command(0, "0 differ", "", "verify --model few/m --iterations 2");
    test_write_text(context, "none.json",
                    "{\"version\":1, \"batch_num\":2, \"c\":{\"quant_enable\":true}}");
    test_command(1, "nuq", "",
                 "ptq nuq " DIGITS "--config none.json --record few.txt --out none/m");
    test_command(2, "--record FILE is missing", "", "ptq nuq " DIGITS "--config few.json");
#undef DIGITS
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_are_good_enough),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(the_command_judges_by_itself),
    };
    return cmocka_run_group_tests(tests, test_ptq_start, test_stop_in_folder);
}
