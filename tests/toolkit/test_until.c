/* Cutting a net: what stays, what is said, and that a part goes through both flows like a net. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/until.h"
#include "net/net.h"

#include <string.h>

/* Two data layers, one for each phase; layers in place; two ends. */
static const char net_text[] =
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' include { phase: TRAIN } "
    "transform_param { scale: 0.01 } data_param { source: 'train_lmdb' batch_size: 10 backend: "
    "LMDB "
    "} }\n"
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' include { phase: TEST } "
    "transform_param { scale: 0.01 } data_param { source: 'test_lmdb' batch_size: 10 backend: LMDB "
    "} }\n"
    "layer { name: 'c1' type: 'Convolution' bottom: 'x' top: 'c1' convolution_param { num_output: "
    "4 kernel_size: 5 stride: 3 weight_filler { type: 'msra' } } }\n"
    "layer { name: 'b1' type: 'BatchNorm' bottom: 'c1' top: 'c1' }\n"
    "layer { name: 's1' type: 'Scale' bottom: 'c1' top: 'c1' scale_param { bias_term: true } }\n"
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }\n"
    "layer { name: 'side' type: 'Convolution' bottom: 'c1' top: 'side' convolution_param { "
    "num_output: 2 kernel_size: 1 weight_filler { type: 'msra' } } }\n"
    "layer { name: 'c2' type: 'Convolution' bottom: 'c1' top: 'c2' convolution_param { num_output: "
    "8 kernel_size: 3 weight_filler { type: 'msra' } } }\n"
    "layer { name: 'r2' type: 'ReLU' bottom: 'c2' top: 'c2' }\n"
    "layer { name: 'quiet' type: 'Silence' bottom: 'side' }\n"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c2' top: 'ip' inner_product_param { "
    "num_output: 10 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n"
    "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { phase: "
    "TEST } }\n";

static int set_up(void **state)
{
    qf_solver *solver;
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 200, 50, 1));
    test_write_text(context, "net.prototxt", net_text);
    test_write_text(context, "solver.prototxt",
                    "net: 'net.prototxt' test_iter: 5 test_interval: 100 test_initialization: "
                    "false base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' max_iter: 30 "
                    "snapshot_prefix: 'float' random_seed: 3");
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    assert_ok(context, qf_solver_solve(solver));
    qf_solver_destroy(solver);
    return 0;
}

static void expect_layers(const char *until, const char *names)
{
    Caffe__NetParameter *net;
    qf_buffer found = {0};
    assert_ok(context, qf_context_set_until(context, until));
    for (int round = 0; round < 2; round++) { /* cutting once more changes nothing */
        assert_ok(context, round == 0 ? qf_until_read(context, "net.prototxt", &net)
                                      : qf_until_cut(context, net));
        found.size = 0;
        for (size_t i = 0; i < net->n_layer; i++)
            qf_buffer_print(&found, "%s%s", i ? " " : "", net->layer[i]->name);
        assert_string_equal(qf_buffer_text(&found), names);
    }
    qf_message_free(net);
    qf_buffer_release(&found);
    assert_ok(context, qf_context_set_until(context, NULL));
}

static void what_stays(void **state)
{
    (void)state;
    expect_layers("c1", "d d c1 unused_by_the_cut");
    expect_layers("r1", "d d c1 b1 s1 r1 unused_by_the_cut");
    expect_layers("c2", "d d c1 b1 s1 r1 c2 unused_by_the_cut");
    expect_layers(" c2 ,side", "d d c1 b1 s1 r1 side c2 unused_by_the_cut");
    expect_layers("acc", "d d c1 b1 s1 r1 c2 r2 ip acc");
    expect_layers("d", "d d");
}

/* What the part computes is what the whole does. */
static void same_values(void **state)
{
    (void)state;
    qf_net *whole, *part;
    const float *a, *b;
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &whole));
    assert_ok(context, qf_context_set_until(context, "side,r2"));
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &part));
    assert_ok(context, qf_context_set_until(context, ""));
    assert_null(qf_net_blob(part, "ip"));
    assert_int_equal(qf_net_output_count(part), 2);
    assert_ok(context, qf_net_load_weights(whole, "float_iter_30.caffemodel"));
    assert_ok(context, qf_net_load_weights(part, "float_iter_30.caffemodel"));
    assert_ok(context, qf_net_forward(whole, NULL));
    assert_ok(context, qf_net_forward(part, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(whole, "c2"), &a));
    assert_ok(context, qf_blob_data(qf_net_blob(part, "c2"), &b));
    assert_memory_equal(a, b, qf_blob_count(qf_net_blob(whole, "c2")) * sizeof *a);
    qf_net_destroy(whole);
    qf_net_destroy(part);
}

static void refused(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context, qf_context_set_until(context, "c2,conv3"));
    assert_fails(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net),
                 "net.prototxt: there is no layer 'conv3' to end at; the nearest names are ");
    assert_null(net);
    assert_ok(context, qf_context_set_until(context, NULL));
    test_command(1, "there is no layer 'ipp' to end at; the nearest names are ip", "",
                 "ptq config --model net.prototxt --weights float_iter_30.caffemodel --out no.json "
                 "--until ipp");
}

#define FLOAT "--model net.prototxt --weights float_iter_30.caffemodel"

static bool ends_after(const char *model, const char *last, const char *absent)
{
    return test_file_has(context, model, last) && !test_file_has(context, model, absent);
}

static void calibrated(void **state)
{
    (void)state;
    test_command(0, "", "", "ptq config " FLOAT " --out c.json --until c2,side");
    test_command(0, "left to your code: 5 layers after c2, side", "",
                 "ptq plan " FLOAT " --config c.json --until c2,side");
    test_command(0, "left to your code", "",
                 "ptq prepare " FLOAT " --config c.json --until c2,side --out-model m.prototxt "
                 "--out-weights m.caffemodel --record r.txt");
    test_command(0, "The record has all", "",
                 "ptq calibrate --model m.prototxt --weights m.caffemodel --until c2,side");
    test_command(0, "", "",
                 "ptq export " FLOAT " --config c.json --record r.txt --out p/m --until c2,side");
    assert_true(ends_after("p/m_deploy_model.prototxt", "c2_dequant_layer", "\"ip\""));
    assert_true(test_file_has(context, "p/m_deploy_model.prototxt", "side_dequant_layer"));
    test_command(0, " 0 differ", "", "verify --model p/m");
    test_command(0, " 0 differ", "", "verify --model p/m --until c1");
    test_command(0, " 0 differ", "", "ptq run " FLOAT " --out run/m --until r2");
    assert_true(ends_after("run/m_deploy_model.prototxt", "\"r2\"", "\"ip\""));
    test_command(0, "c2", "",
                 "test --model run/m_deploy_model.prototxt --weights "
                 "run/m_deploy_weights.caffemodel --until c2");
}

/* The rest trains on, and is tested before; what is deployed is the part. */
static void retrained(void **state)
{
    (void)state;
    test_command(0, "2 layers can be quantised", "",
                 "qat config " FLOAT " --out q.json --until c2");
    test_command(0, "left to your code: 6 layers after c2", "",
                 "qat prepare " FLOAT " --config q.json --until c2 --out-model qm.prototxt "
                 "--out-weights qm.caffemodel --record qr.txt");
    assert_true(test_file_has(context, "qm.prototxt", "SoftmaxWithLoss"));
    assert_false(test_file_has(context, "qm.prototxt", "ip_weight_qat"));
    test_command(0, "The exported models have nothing after c2", "",
                 "qat run " FLOAT " --out q/m --iterations 5 --until c2");
    assert_non_null(strstr(test_output, " 0 differ"));
    assert_non_null(strstr(test_output, "left to your code: 6 layers after c2"));
    assert_true(ends_after("q/m_deploy_model.prototxt", "c2_dequant_layer", "\"ip\""));
    /* A configuration of the whole net is cut, too. */
    test_command(0, "4 layers can be quantised", "", "qat config " FLOAT " --out all.json");
    test_command(0, "2 of 4 layers that can be quantised are", "",
                 "qat prepare " FLOAT " --config all.json --until c2 --out-model qm.prototxt "
                 "--out-weights qm.caffemodel --record qr.txt");
}

static void looked_at(void **state)
{
    (void)state;
    test_command(0, "c2", "", "inspect --model net.prototxt --until c2");
    assert_null(strstr(test_output, "InnerProduct"));
    test_command(0, "side", "",
                 "time --model net.prototxt --phase TEST --iterations 1 --until side");
    assert_null(strstr(test_output, "InnerProduct"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stays), cmocka_unit_test(same_values), cmocka_unit_test(refused),
        cmocka_unit_test(calibrated), cmocka_unit_test(retrained),   cmocka_unit_test(looked_at),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
