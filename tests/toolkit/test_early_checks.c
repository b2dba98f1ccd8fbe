/* What would fail at the end of a retraining is said before it, or does not fail: weights that lack
 * layers, and test sets that are too short for the search of shifts. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char net[] =
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' transform_param { scale: 0.01 } "
    "data_param { source: 'test_lmdb' batch_size: 20 backend: LMDB } }"
    "layer { name: 'c1' type: 'Convolution' bottom: 'x' top: 'c1' convolution_param { "
    "num_output: 4 kernel_size: 5 stride: 3 weight_filler { type: 'msra' } } }"
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c1' top: 'ip' inner_product_param { "
    "num_output: 10 weight_filler { type: 'xavier' } } }"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }";
/* A second judge of training, of which deployed weights know nothing. */
static const char helper[] =
    "layer { name: 'aux' type: 'InnerProduct' bottom: 'c1' top: 'aux' inner_product_param { "
    "num_output: 10 weight_filler { type: 'xavier' } } include { phase: TRAIN } }"
    "layer { name: 'aux_loss' type: 'SoftmaxWithLoss' bottom: 'aux' bottom: 'label' top: "
    "'aux_loss' loss_weight: 0.3 include { phase: TRAIN } }";

static void write_solver(const char *name, const char *model, int batches, const char *prefix)
{
    char *text = test_format("net: '%s' test_iter: %d test_interval: 4 test_initialization: false "
                             "base_lr: 0.001 lr_policy: 'fixed' max_iter: 4 snapshot: 4 "
                             "snapshot_prefix: '%s' random_seed: 1",
                             model, batches, prefix);
    test_write_text(context, name, text);
    qf_free(text);
}

/* The weights file without the layer `lacking`, or with other names for all. */
static void write_weights(const char *name, const char *lacking)
{
    Caffe__NetParameter *weights;
    assert_ok(context, qf_net_param_read_binary(context, "float_iter_4.caffemodel", &weights));
    for (size_t i = 0; i < weights->n_layer; i++)
        if (!lacking || strcmp(weights->layer[i]->name, lacking) == 0)
            weights->layer[i]->name[0] = '_';
    assert_ok(context, qf_wire_write(context, name, weights, 0644));
    qf_message_free(weights);
}

static int set_up(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    setenv("AMCT_LOG_LEVEL", "ERROR", 1);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 1, 60, 1));
    test_write_text(context, "net.prototxt", net);
    char *helped = test_format("%s%s", net, helper);
    test_write_text(context, "helped.prototxt", helped);
    qf_free(helped);
    test_write_text(context, "ten.cfg",
                    "batch_num: 10 retrain_data_quant_config { ulq_quantize { } } "
                    "retrain_weight_quant_config { arq_retrain { channel_wise: true } }");
    write_solver("solver.prototxt", "net.prototxt", 3, "float");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    write_weights("partial.caffemodel", "ip");
    write_weights("other.caffemodel", NULL);
    return 0;
}

#define RUN "qat run --iterations 2 --seed 1 --out run/m "
#define PREPARE(model, weights)                                                                    \
    "qat prepare --model " model " --weights " weights ".caffemodel --config config.json "         \
    "--out-model modified.prototxt --out-weights modified.caffemodel --record record.txt"
#define CONFIGURE(weights)                                                                         \
    "qat config --model net.prototxt --weights " weights ".caffemodel --out config.json "

static void weights_are_looked_at_first(void **state)
{
    (void)state;
    test_command(1,
                 "partial.caffemodel: 1 of 2 layers with parameters got nothing from it: ip; a net "
                 "to quantise is trained as a whole before",
                 "", RUN "--model net.prototxt --weights partial.caffemodel");
    assert_false(qf_file_exists("run/m_float.prototxt"));
    test_command(1, "other.caffemodel: nothing in it is for this net", "",
                 RUN "--model net.prototxt --weights other.caffemodel");
    test_command(1, "missing_lmdb", "",
                 RUN "--model net.prototxt --weights float_iter_4.caffemodel --test-data "
                     "missing_lmdb");
    assert_false(qf_file_exists("run/m_float.prototxt"));
    test_command(0, "", "", CONFIGURE("float_iter_4"));
    test_command(1, "other.caffemodel: nothing in it is for this net, whose layers", "",
                 PREPARE("net.prototxt", "other"));
    test_command(1, "other.caffemodel: nothing in it is for this net, whose layers", "",
                 CONFIGURE("other"));
}

/* What has no weights yet keeps what its filler gives it, and the prepared net can be trained. */
static void layers_of_training_alone_may_lack_weights(void **state)
{
    (void)state;
    test_command(0, "", "", CONFIGURE("float_iter_4"));
    test_command(0, "got nothing: aux", "", PREPARE("helped.prototxt", "float_iter_4"));
    write_solver("qat.prototxt", "modified.prototxt", 3, "qat");
    test_command(0, "keep what their fillers gave them: aux", "",
                 "train --solver qat.prototxt --weights modified.caffemodel");
    assert_non_null(strstr(test_output, "Optimization Done."));
    test_command(0, "Next: ", "", RUN "--model helped.prototxt --weights float_iter_4.caffemodel");
}

/* SSD's Normalize has a scale for each channel, which nets of faces do without. */
static void normalize_of_faces_needs_no_weights(void **state)
{
    (void)state;
    char *faces = test_replace(net, "name: 'ip' type: 'InnerProduct' bottom: 'c1'",
                               "name: 'n' type: 'Normalize' bottom: 'c1' top: 'n' "
                               "normalize_param { normalize_type: 'L2' } } "
                               "layer { name: 'ip' type: 'InnerProduct' bottom: 'n'");
    test_write_text(context, "faces.prototxt", faces);
    qf_free(faces);
    write_solver("faces_solver.prototxt", "faces.prototxt", 3, "faces");
    test_command(0, "Optimization Done.", "", "train --solver faces_solver.prototxt");
    test_command(0, "", "",
                 "qat config --model faces.prototxt --weights faces_iter_4.caffemodel --out "
                 "faces.json");
}

static void searches_come_to_their_end(void **state)
{
    (void)state;
    /* Three batches, ten wanted: the test behind training takes as many as it must. */
    test_command(0, "whole test set: 60 items", "",
                 RUN "--model net.prototxt --weights float_iter_4.caffemodel --config-definition "
                     "ten.cfg");
    assert_null(strstr(test_output, "without shift"));
    assert_true(test_file_has(context, "run/m_record.txt", "shift_bit"));
    assert_true(test_file_has(context, "run/m_solver.prototxt", "test_iter: 10"));

    /* Where the solver is somebody's own, it is said before, and the export does without. */
    test_command(0, "", "", CONFIGURE("float_iter_4") "--config-definition ten.cfg");
    test_command(0, "", "", PREPARE("net.prototxt", "float_iter_4"));
    write_solver("qat.prototxt", "modified.prototxt", 9, "qat");
    test_command(0, "test_iter is 9, but layer c1_search_n searches shifts over 10 batches", "",
                 "train --solver qat.prototxt --weights modified.caffemodel");
    assert_true(strstr(test_output, "set test_iter to at least 10") <
                strstr(test_output, "Starting Optimization"));
    test_command(0, "Layer c1 has no shift factors in the record", "",
                 "qat export --model modified.prototxt --weights qat_iter_4.caffemodel --type Both "
                 "--out short/m --record record.txt --config config.json");
    test_command(0, "0 differ", "", "verify --model short/m --iterations 3");
    write_solver("qat.prototxt", "modified.prototxt", 10, "qat");
    test_command(0, "Optimization Done.", "",
                 "train --solver qat.prototxt --weights modified.caffemodel");
    assert_null(strstr(test_output, "test_iter is"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_looked_at_first),
        cmocka_unit_test(layers_of_training_alone_may_lack_weights),
        cmocka_unit_test(normalize_of_faces_needs_no_weights),
        cmocka_unit_test(searches_come_to_their_end),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
