/* Whole runs with ranges that learn: integers stay exact, ranges move, and a run that was stopped
 * ends in the same bits. */
#include "data/stores/hdf5_writer.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 48, SIZE = 8, PIXELS = SIZE * SIZE };

/* Waves of two directions; which of them is the label. */
static void write_images(void)
{
    qf_hdf5_writer writer;
    float *data = qf_alloc(IMAGES * PIXELS, sizeof *data), *label = qf_alloc(IMAGES, sizeof *label);
    for (int i = 0; i < IMAGES * PIXELS; i++) {
        const int image = i / PIXELS, y = i / SIZE % SIZE, x = i % SIZE;
        label[image] = (float)(image % 2);
        data[i] = (float)sin(image + 1.3 * (image % 2 ? x : y));
    }
    qf_status status = qf_hdf5_create(context, "images.h5", &writer);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "data", (int[]){IMAGES, 1, SIZE, SIZE}, 4, data);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "label", (int[]){IMAGES}, 1, label);
    assert_ok(context, qf_hdf5_finish(&writer, status));
    test_write_text(context, "images.txt", "images.h5");
    qf_free(data);
    qf_free(label);
}

static const char net_text[] =
    "layer { name: 'data' type: 'HDF5Data' top: 'data' top: 'label' hdf5_data_param { source: "
    "'images.txt' batch_size: 8 } } "
    "layer { name: 'c1' type: 'Convolution' bottom: 'data' top: 'c1' convolution_param { "
    "num_output: 8 kernel_size: 3 weight_filler { type: 'msra' } } } "
    "layer { name: 'n1' type: 'BatchNorm' bottom: 'c1' top: 'n1' } "
    "layer { name: 's1' type: 'Scale' bottom: 'n1' top: 'n1' scale_param { bias_term: true } } "
    "layer { name: 'r1' type: 'ReLU' bottom: 'n1' top: 'n1' } "
    "layer { name: 'c2' type: 'Convolution' bottom: 'n1' top: 'c2' convolution_param { "
    "num_output: 8 kernel_size: 3 weight_filler { type: 'msra' } } } "
    "layer { name: 'pool' type: 'Pooling' bottom: 'c2' top: 'pool' pooling_param { pool: AVE "
    "kernel_size: 2 stride: 2 } } "
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip' inner_product_param { "
    "num_output: 2 weight_filler { type: 'xavier' } } } "
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }";

static int set_up(void **state)
{
    qf_net *net;
    test_start_in_folder(state);
    qf_context_set_seed(context, 1);
    write_images();
    test_write_text(context, "net.prototxt", net_text);
    if (qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net) ||
        qf_net_forward(net, NULL) || qf_net_save_weights(net, "net.caffemodel"))
        return -1;
    qf_net_destroy(net);
    return 0;
}

static const char *const methods[] = {"amct", "lsq", "lsq+", "pact", "tqt"};
enum { METHODS = sizeof methods / sizeof *methods };

/* The clip ranges that training left. */
static int read_ranges(const char *weights, float *out)
{
    Caffe__NetParameter *net;
    int count = 0;
    assert_ok(context, qf_net_param_read_binary(context, weights, &net));
    for (size_t i = 0; i < net->n_layer; i++)
        if (strstr(net->layer[i]->name, "_activation_qat"))
            out[count++] = net->layer[i]->blobs[0]->data[0];
    qf_message_free(net);
    return count;
}

/* From AMCT's, which stay where they began: by what can be seen in every range. PACT's move where
 * something is clipped. */
static void assert_moved(const char *method, const float *began, const float *ended, int count)
{
    int moved = 0;
    for (int i = 0; i < count; i++) {
        const float share = fabsf(ended[i] / began[i] - 1);
        moved += share > 1e-4f;
        if (!(share < 0.1f))
            fail_msg("%s: range %d went from %g to %g", method, i, (double)began[i],
                     (double)ended[i]);
    }
    if (moved < (strcmp(method, "pact") == 0 ? 1 : count))
        fail_msg("%s: %d of %d ranges moved", method, moved, count);
}

static void integers_stay_exact_and_ranges_move(void **state)
{
    (void)state;
    float began[8], ended[8];
    for (int m = 0; m < METHODS; m++) {
        qf_qat_options options = {.size = sizeof options};
        qf_qat_result *result;
        qf_qat_set_defaults(&options);
        options.model = "net.prototxt";
        options.weights = "net.caffemodel";
        options.iterations = 30;
        options.base_lr = 1e-3;
        options.ranges = methods[m];
        options.save_path = "run/m";
        qf_context_set_seed(context, 1);
        assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
        assert_int_equal(result->verification->differing, 0);
        assert_true(result->verification->compared > 1000);
        qf_qat_result_destroy(result);
        const int count = read_ranges("run/m_retrained_iter_30.caffemodel", m ? ended : began);
        assert_int_equal(count, 4);
        if (m)
            assert_moved(methods[m], began, ended, count);
        assert_int_equal(system("rm -r run"), 0);
    }
}

/* Of 8 bits AMCT's, of fewer LSQ. */
static void fewer_bits_learn_by_lsq(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        qf_qat_options options = {.size = sizeof options};
        qf_qat_result *result;
        qf_qat_set_defaults(&options);
        options.model = "net.prototxt";
        options.weights = "net.caffemodel";
        options.iterations = 5;
        options.weight_bits = options.activation_bits = bits;
        options.save_path = "run/m";
        assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
        assert_int_equal(result->verification->differing, 0);
        qf_qat_result_destroy(result);
        assert_true(test_file_has(context, "run/m_config.json", "\"lsq_quantize\"") == (bits == 4));
        assert_true(test_file_has(context, "run/m_config.json", "\"lsq_retrain\"") == (bits == 4));
        assert_true(test_file_has(context, "run/m_config.json", "\"ulq_quantize\"")); /* edges */
        assert_int_equal(system("rm -r run"), 0);
    }
}

#define RETRAINED_WITH "retrain_data_quant_config { %s { } } retrain_weight_quant_config { %s { } }"

static void a_definition_says_how_ranges_learn(void **state)
{
    (void)state;
    static const struct {
        const char *data, *weights, *learning, *weight_learning;
    } rows[] = {
        {"ulq_quantize", "arq_retrain", NULL, NULL},
        {"lsq_quantize", "lsq_retrain", "range_learning: LSQ\n", "range_learning: LSQ\n"},
        {"lsq_plus_quantize", "lsq_retrain", "range_learning: LSQ_PLUS\n", "range_learning: LSQ\n"},
        {"pact_quantize", "arq_retrain", "range_learning: PACT\n", NULL},
        {"tqt_quantize", "tqt_retrain", "range_learning: TQT\n", "range_learning: TQT\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = test_format(RETRAINED_WITH, rows[i].data, rows[i].weights);
        test_write_text(context, "q.cfg", text);
        qf_free(text);
        assert_ok(context, qf_create_quant_retrain_config(context, "q.json", "net.prototxt",
                                                          "net.caffemodel", "q.cfg"));
        assert_true(test_file_has(context, "q.json", rows[i].data));
        assert_true(test_file_has(context, "q.json", rows[i].weights));
        assert_ok(context,
                  qf_create_quant_retrain_model(context, "net.prototxt", "net.caffemodel", "q.json",
                                                "q.prototxt", "q.caffemodel", "q.txt"));
        assert_true(!rows[i].learning == !test_file_has(context, "q.prototxt", "range_learning"));
        if (rows[i].learning)
            assert_true(test_file_has(context, "q.prototxt", rows[i].learning));
        if (rows[i].weight_learning)
            assert_true(test_file_has(context, "q.prototxt", rows[i].weight_learning));
    }
}

static void another_name_is_refused(void **state)
{
    (void)state;
    test_command(2, "ranges", "",
                 "qat run --model net.prototxt --weights net.caffemodel --ranges dorefa");
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_qat_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.ranges = "dorefa";
    assert_fails(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result),
                 "ranges cannot learn by 'dorefa'; expected auto, amct, lsq, lsq+, pact or tqt");
    qf_qat_result_destroy(result);
}

static void read_file(const char *name, qf_buffer *out)
{
    assert_ok(context, qf_file_read(context, name, out));
}

/* The normalisers of TQT's gradients are in the snapshot. */
static void a_stopped_run_ends_in_the_same_bits(void **state)
{
    (void)state;
    qf_buffer whole = {0}, parts = {0};
    char *text = test_format(RETRAINED_WITH, "tqt_quantize", "tqt_retrain");
    test_write_text(context, "t.cfg", text);
    qf_free(text);
    assert_ok(context, qf_create_quant_retrain_config(context, "t.json", "net.prototxt",
                                                      "net.caffemodel", "t.cfg"));
    assert_ok(context,
              qf_create_quant_retrain_model(context, "net.prototxt", "net.caffemodel", "t.json",
                                            "t.prototxt", "t.caffemodel", "t.txt"));
    test_write_text(context, "t_solver.prototxt",
                    "net: 't.prototxt' test_iter: 1 test_interval: 100 test_initialization: false "
                    "base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' max_iter: 12 snapshot: 6 "
                    "snapshot_prefix: 't' random_seed: 3");
    test_command(0, "Optimization Done.", "",
                 "train --solver t_solver.prototxt --weights t.caffemodel");
    read_file("t_iter_12.caffemodel", &whole);
    test_command(0, "Optimization Done.", "",
                 "train --solver t_solver.prototxt --snapshot t_iter_6.solverstate");
    read_file("t_iter_12.caffemodel", &parts);
    assert_int_equal(whole.size, parts.size);
    assert_memory_equal(whole.data, parts.data, whole.size);
    qf_buffer_release(&whole);
    qf_buffer_release(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_stay_exact_and_ranges_move),
        cmocka_unit_test(fewer_bits_learn_by_lsq),
        cmocka_unit_test(a_definition_says_how_ranges_learn),
        cmocka_unit_test(another_name_is_refused),
        cmocka_unit_test(a_stopped_run_ends_in_the_same_bits),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
