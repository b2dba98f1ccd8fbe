/* A qat run that is killed or stopped and goes on ends in the bytes of one that was not. */
#include "base/file.h"
#include "harness/bars_net.h"
#include "harness/command.h"
#include "harness/fixture.h"

#include <stdlib.h>
#include <string.h>

static const char *const exported[] = {
    "m_deploy_model.prototxt",
    "m_deploy_weights.caffemodel",
    "m_fake_quant_model.prototxt",
    "m_record.txt",
    "m_fake_quant_weights.caffemodel",
    "m_retrained_iter_0.caffemodel",
    "m_progress.prototxt",
    "m_retrained_iter_60.caffemodel",
};

static void expect_same_files(const char *when)
{
    print_message("%s\n", when);
    for (size_t i = 0; i < sizeof exported / sizeof *exported; i++) {
        char *from = test_format("whole/%s", exported[i]), *to = test_format("q/%s", exported[i]);
        test_bars_expect_same(from, to);
        qf_free(from);
        qf_free(to);
    }
}

/* What lies on the disk at some moment is all that is left when a process is killed then. */
typedef struct moments {
    int calls, at; /* of the progress function */
} moments;

static void copy_files(void *user, const qf_progress *now)
{
    moments *m = user;
    (void)now;
    if (m->calls++ == m->at)
        assert_int_equal(system("rm -rf killed; cp -r q killed"), 0);
}

static qf_qat_options resumable(void)
{
    qf_qat_options o = test_bars_options("unclear.prototxt");
    o.weight_bits = 4;
    o.base_lr = 0.2;
    o.patience = 0;
    return o;
}

static int count_calls(const qf_qat_options *o)
{
    moments m = {.at = -1};
    qf_qat_result *result;
    qf_context_set_seed(context, 5);
    assert_int_equal(system("rm -rf q whole"), 0);
    assert_ok(context, qf_qat_run(context, o, NULL, copy_files, &m, &result));
    assert_true(result->kept_iteration > 0 && result->last_iteration == BARS_ITERATIONS);
    qf_qat_result_destroy(result);
    assert_int_equal(rename("q", "whole"), 0);
    return m.calls;
}

static void kill_and_resume(qf_qat_options o, int parts)
{
    const int calls = count_calls(&o);
    assert_true(calls > BARS_ITERATIONS);
    assert_int_equal(system("test -z \"$(ls whole | grep average)\""), 0); /* only on the way */
    for (int part = 1; part < parts; part++) {
        moments m = {.at = calls * part / parts};
        qf_qat_result *result;
        char *when = test_format("killed at %d of %d", m.at, calls);
        qf_context_set_seed(context, 5);
        assert_ok(context, qf_qat_run(context, &o, NULL, copy_files, &m, &result));
        qf_qat_result_destroy(result);
        assert_int_equal(system("rm -r q; mv killed q"), 0);
        const bool begun = qf_file_exists("q/m_progress.prototxt");
        o.resume = true;
        qf_context_set_seed(context, begun ? 77 : 5); /* what lies there says how to go on */
        assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
        qf_qat_result_destroy(result);
        o.resume = false;
        expect_same_files(when);
        qf_free(when);
    }
}

static void a_killed_run_ends_in_the_same_bytes(void **state)
{
    (void)state;
    kill_and_resume(resumable(), 8);
}

/* With a teacher, dropout, and a range whose lower end learns from zero. */
static void so_does_one_with_a_teacher(void **state)
{
    (void)state;
    test_write_text(context, "dropout.prototxt",
                    BARS_DATA("TRAIN", "unclear_lmdb", "shuffle: true") BARS_DATA(
                        "TEST", "test_lmdb",
                        "") "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' "
                            "convolution_param { "
                            "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } } } "
                            "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } "
                            "layer { name: 'drop' type: 'Dropout' bottom: 'conv' top: 'conv' } "
                            "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip' "
                            "inner_product_param { "
                            "num_output: 4 weight_filler { type: 'xavier' } } } "
                            "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: "
                            "'label' top: 'loss' } "
                            "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' "
                            "top: 'acc' include { "
                            "phase: TEST } } ");
    qf_qat_options o = test_bars_options("dropout.prototxt");
    o.distil = QF_DISTIL_ON;
    o.base_lr = 0.1;
    o.keep = QF_KEEP_LAST;
    o.hold_back = 0.125;
    kill_and_resume(o, 5);
}

/* It is in memory between snapshots. */
static void so_does_one_that_keeps_an_average(void **state)
{
    (void)state;
    const qf_qat_options o = test_bars_early("net.prototxt", 2e-3F);
    qf_qat_result *result = test_bars_run(&o);
    assert_true(result->kept_average);
    qf_qat_result_destroy(result);
    kill_and_resume(o, 8);
}

typedef struct patience {
    int left;
} patience;

static qf_action stop_later(void *user)
{
    patience *p = user;
    return p->left-- > 0 ? QF_CONTINUE : QF_STOP;
}

static void a_stopped_run_goes_on(void **state)
{
    (void)state;
    qf_qat_options o = resumable();
    qf_qat_result *result;
    o.patience = 0;
    count_calls(&o);
    qf_status status = QF_E_STOPPED;
    qf_context_set_seed(context, 5);
    int runs = 0;
    for (; status == QF_E_STOPPED && runs < 40; runs++) { /* each a little further */
        patience p = {.left = 90};
        o.resume = runs > 0;
        status = qf_qat_run(context, &o, stop_later, NULL, &p, &result);
        qf_qat_result_destroy(result);
        if (status != QF_OK && qf_file_exists("q/m_progress.prototxt"))
            qf_context_set_seed(context, 70 + runs);
    }
    assert_ok(context, status);
    assert_true(runs > 1);
    expect_same_files("stopped again and again");

    o.resume = true; /* of a run that is through: the same again */
    assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
    expect_same_files("resumed at its end");

    o.base_lr = 0.03;
    test_bars_refuse(&o, "was begun with base_lr 0.2, not with base_lr 0.03");
    test_write_text(context, "q/m_progress.prototxt", "iteration: -3");
    test_bars_refuse(&o, "q/m_progress.prototxt does not say how far a run has come");
    test_write_text(context, "q/m_progress.prototxt", "iteration 3 {");
    test_bars_refuse(&o, "q/m_progress.prototxt:1");
    test_command(
        1, "q/m_progress.prototxt", "",
        "qat run --resume --model unclear.prototxt --weights float_iter_200.caffemodel --out "
        "q/m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_ends_in_the_same_bytes),
        cmocka_unit_test(so_does_one_with_a_teacher),
        cmocka_unit_test(so_does_one_that_keeps_an_average),
        cmocka_unit_test(a_stopped_run_goes_on),
    };
    return cmocka_run_group_tests(tests, test_bars_start, test_stop_in_folder);
}
