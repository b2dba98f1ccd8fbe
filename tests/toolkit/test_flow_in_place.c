/* The flow of quantisation over nets in which layers write over what they read: chains in place in
 * front of a quantised layer, and quantised layers that write over their bottom. Retraining gives
 * the weights of the same net with a name for each value, bit for bit, and the models agree. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/record.h"

#include <string.h>
#include <unistd.h>

#define DATA(phase, source)                                                                        \
    "layer { name: 'digits' type: 'Data' top: 'data#0' top: 'label' include { phase: " phase       \
    " } transform_param { scale: 0.00390625 } data_param { source: '" source                       \
    "' batch_size: 20 backend: LMDB } }\n"
#define CONVOLUTION(name, bottom, top)                                                             \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" top                 \
    "' convolution_param { num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: "          \
    "'xavier' } } }\n"
#define INNER_PRODUCT(name, bottom, top)                                                           \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" bottom "' top: '" top                \
    "' inner_product_param { num_output: 10 weight_filler { type: 'xavier' } } }\n"
#define END(bottom)                                                                                \
    "layer { name: 'accuracy' type: 'Accuracy' bottom: '" bottom                                   \
    "' bottom: 'label' top: 'accuracy' include { phase: TEST } }\n"                                \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: '" bottom                                \
    "' bottom: 'label' top: 'loss' }\n"

/* ---- the flow, for one text in place and apart ---- */

static char *name(const char *what, bool apart)
{
    return test_format("%s_%s", apart ? "apart" : "together", what);
}

static void write_net(const char *text, bool apart)
{
    char *net = test_name_values(text, apart), *path = name("net.prototxt", apart);
    qf_net *built;
    test_write_text(context, path, net);
    qf_random_seed(&context->random, 5);
    if (qf_net_create(context, path, QF_TRAIN, 0, NULL, 0, &built) != QF_OK)
        fail_msg("%s\n%s", qf_error_text(context), net);
    char *weights = name("net.caffemodel", apart);
    assert_ok(context, qf_net_save_weights(built, weights));
    qf_net_destroy(built);
    qf_free(weights);
    qf_free(path);
    qf_free(net);
}

static void retrain(const char *text, bool apart)
{
    const char *const which = apart ? "apart" : "together";
    char *solver_text = test_format(
        "net: '%s_modified.prototxt' test_iter: 1 test_interval: 4 test_initialization: false "
        "base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' max_iter: 4 snapshot: 4 "
        "snapshot_prefix: '%s' random_seed: 3",
        which, which);
    char *solver_file = name("solver.prototxt", apart),
         *prepared = name("modified.caffemodel", apart);
    qf_solver *solver;
    test_write_text(context, solver_file, solver_text);
    assert_ok(context, qf_solver_create(context, solver_file, &solver));
    assert_ok(context, qf_solver_load_weights(solver, prepared));
    qf_solver_keep_blobs(solver, false); /* so that both nets run the same passes */
    if (qf_solver_solve(solver) != QF_OK)
        fail_msg("%s\n%s", qf_error_text(context), text);
    qf_solver_destroy(solver);
    qf_free(prepared);
    qf_free(solver_file);
    qf_free(solver_text);
}

static void run_flow(const char *text, bool apart)
{
    char *net = name("net.prototxt", apart), *weights = name("net.caffemodel", apart),
         *modified = name("modified.prototxt", apart),
         *prepared = name("modified.caffemodel", apart), *record = name("record.txt", apart),
         *trained = name("iter_4.caffemodel", apart), *models = name("models", apart);
    qf_verification *found;
    write_net(text, apart);
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", net, weights, NULL));
    assert_ok(context, qf_create_quant_retrain_model(context, net, weights, "config.json", modified,
                                                     prepared, record));
    retrain(text, apart);
    assert_ok(context, qf_save_quant_retrain_model(context, modified, trained, QF_SAVE_BOTH, models,
                                                   record, "config.json"));
    if (qf_verify(context, models, NULL, 2, NULL, NULL, NULL, &found) != QF_OK)
        fail_msg("%s\n%s", qf_error_text(context), text);
    assert_int_equal(found->differing, 0);
    qf_verification_destroy(found);
    qf_free(net);
    qf_free(weights);
    qf_free(modified);
    qf_free(prepared);
    qf_free(record);
    qf_free(trained);
    qf_free(models);
}

static void compare_weights(const char *text)
{
    qf_net *nets[2];
    for (int apart = 0; apart < 2; apart++) {
        char *modified = name("modified.prototxt", apart),
             *trained = name("iter_4.caffemodel", apart);
        assert_ok(context, qf_net_create(context, modified, QF_TRAIN, 0, NULL, 0, &nets[apart]));
        assert_ok(context, qf_net_load_weights(nets[apart], trained));
        qf_free(modified);
        qf_free(trained);
    }
    for (int l = 0; l < nets[0]->layer_count; l++)
        for (int p = 0; p < nets[0]->layers[l]->param_count; p++) {
            const float *a, *b;
            qf_blob *blob = nets[0]->layers[l]->params[p].blob;
            assert_ok(context, qf_blob_data(blob, &a));
            assert_ok(context, qf_blob_data(nets[1]->layers[l]->params[p].blob, &b));
            if (memcmp(a, b, qf_blob_count(blob) * sizeof *a) != 0)
                fail_msg("layer %s learns something else in place:\n%s", nets[0]->layers[l]->name,
                         text);
        }
    qf_net_destroy(nets[0]);
    qf_net_destroy(nets[1]);
}

/* ---- the flow without training ---- */

static void forward(const char *model, const char *weights, int passes)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, weights));
    for (int i = 0; i < passes; i++)
        assert_ok(context, qf_net_forward(net, NULL));
    qf_net_destroy(net);
}

static void calibrate(const char *text, bool apart)
{
    char *net = name("net.prototxt", apart), *weights = name("net.caffemodel", apart),
         *model = name("calibration.prototxt", apart),
         *prepared = name("calibration.caffemodel", apart), *record = name("ranges.txt", apart),
         *models = name("calibrated", apart);
    qf_quant_graph *graph;
    qf_verification *found;
    assert_ok(context, qf_create_quant_config(context, "ranges.json", net, weights, NULL));
    assert_ok(context, qf_quant_init(context, "ranges.json", net, weights, record, &graph));
    assert_ok(context, qf_quantize_model(context, graph, model, prepared));
    forward(model, prepared, 1);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, models));
    qf_quant_graph_destroy(graph);
    if (qf_verify(context, models, NULL, 2, NULL, NULL, NULL, &found) != QF_OK)
        fail_msg("%s\n%s", qf_error_text(context), text);
    qf_verification_destroy(found);
    qf_free(net);
    qf_free(weights);
    qf_free(model);
    qf_free(prepared);
    qf_free(record);
    qf_free(models);
}

/* Of the factors that training found, without their shifts. */
static void convert(const char *text, bool apart)
{
    char *net = name("net.prototxt", apart), *weights = name("net.caffemodel", apart),
         *record_file = name("record.txt", apart);
    qf_record *record;
    qf_verification *found;
    assert_ok(context, qf_record_read(context, record_file, &record));
    for (size_t i = 0; i < record->n_record; i++) {
        qf_record_entry *entry = record->record[i]->value;
        entry->n_shift_bit = 0;
        if (strcmp(record->record[i]->key, "pool") == 0)
            entry->n_scale_w = entry->n_offset_w = 0;
    }
    assert_ok(context, qf_record_write(context, "factors.txt", record));
    qf_message_free(record);
    assert_ok(context, qf_convert_model(context, net, weights, "factors.txt", "converted"));
    if (qf_verify(context, "converted", NULL, 2, NULL, NULL, NULL, &found) != QF_OK)
        fail_msg("%s\n%s", qf_error_text(context), text);
    qf_verification_destroy(found);
    qf_free(net);
    qf_free(weights);
    qf_free(record_file);
}

static void compare_records(const char *text)
{
    qf_buffer together = {0}, apart = {0};
    assert_ok(context, qf_file_read(context, "together_ranges.txt", &together));
    assert_ok(context, qf_file_read(context, "apart_ranges.txt", &apart));
    assert_true(together.size > 0);
    if (together.size != apart.size || memcmp(together.data, apart.data, apart.size) != 0)
        fail_msg("calibration finds something else in place:\n%s", text);
    qf_buffer_release(&together);
    qf_buffer_release(&apart);
}

static void check(const char *text)
{
    for (int apart = 0; apart < 2; apart++) {
        run_flow(text, apart);
        calibrate(text, apart);
        convert(text, apart);
    }
    compare_weights(text);
    compare_records(text);
}

/* ---- chains ---- */

#define IN_PLACE(type, from, to)                                                                   \
    "layer { name: 'l" to "' type: '" type "' bottom: 'y#" from "' top: 'y#" to "' }\n"

static const char *const chains[] = {
    IN_PLACE("ReLU", "0", "1") IN_PLACE("ReLU", "1", "9"),
    IN_PLACE("ReLU", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("ReLU", "2", "9"),
    IN_PLACE("ReLU", "0", "1") IN_PLACE("Dropout", "1", "2") IN_PLACE("ReLU", "2", "9"),
    IN_PLACE("ReLU", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("Dropout", "2", "9"),
    IN_PLACE("Dropout", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("ReLU", "2", "9"),
    IN_PLACE("BatchNorm", "0", "1") IN_PLACE("Scale", "1", "2") IN_PLACE("ReLU", "2", "3")
        IN_PLACE("ReLU", "3", "9"),
    IN_PLACE("BatchNorm", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("ReLU6", "2", "9"),
    IN_PLACE("ReLU6", "0", "1") IN_PLACE("ReLU", "1", "9"),
    IN_PLACE("ReLU", "0", "1") IN_PLACE("ReLU6", "1", "2") IN_PLACE("ReLU", "2", "9"),
    IN_PLACE("Scale", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("Scale", "2", "3")
        IN_PLACE("ReLU", "3", "9"),
    IN_PLACE("ReLU", "0", "1") IN_PLACE("BatchNorm", "1", "2") IN_PLACE("Scale", "2", "3")
        IN_PLACE("ReLU", "3", "9"),
    IN_PLACE("Sigmoid", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("ReLU", "2", "9"),
    IN_PLACE("LRN", "0", "1") IN_PLACE("ReLU", "1", "2") IN_PLACE("Dropout", "2", "3")
        IN_PLACE("ReLU", "3", "9"),
    IN_PLACE("ELU", "0", "1") IN_PLACE("PReLU", "1", "2") IN_PLACE("ReLU", "2", "3")
        IN_PLACE("ReLU", "3", "9"),
};

static void chains_before_a_quantised_layer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        char *text =
            test_format("%s%s%s",
                        DATA("TRAIN", "train_lmdb") DATA("TEST", "test_lmdb")
                            CONVOLUTION("conv1", "data#0", "y#0"),
                        chains[i],
                        CONVOLUTION("conv2", "y#9",
                                    "z#0") "layer { name: 'end' type: 'ReLU' bottom: 'z#0' top: "
                                           "'z#1' }" INNER_PRODUCT("ip", "z#1", "ip") END("ip"));
        check(text);
        qf_free(text);
    }
}

/* ---- quantised layers in place ---- */

#define POOLING(bottom, top)                                                                       \
    "layer { name: 'pool' type: 'Pooling' bottom: '" bottom "' top: '" top                         \
    "' pooling_param { pool: AVE kernel_size: 2 stride: 2 } }\n"

static const char *const quantised[] = {
    /* all of one name, but for the source's */
    CONVOLUTION("conv1", "data#0", "y#1") IN_PLACE("BatchNorm", "1", "2")
        IN_PLACE("Scale", "2", "3") IN_PLACE("ReLU", "3", "4") POOLING("y#4", "y#5")
            CONVOLUTION("conv2", "y#5", "y#6") IN_PLACE("ReLU", "6", "7")
                INNER_PRODUCT("ip1", "y#7", "y#8") IN_PLACE("ReLU", "8", "9")
                    INNER_PRODUCT("ip2", "y#9", "y#10") END("y#10"),
    /* and that one, too */
    CONVOLUTION("conv1", "data#0", "data#1") CONVOLUTION("conv2", "data#1", "data#2")
        INNER_PRODUCT("ip1", "data#2", "data#3") END("data#3"),
    /* the value before is read by another layer */
    CONVOLUTION("conv1", "data#0", "y#1") CONVOLUTION("conv2", "y#1", "side")
        CONVOLUTION("conv3", "y#1", "y#2")
            IN_PLACE("ReLU", "2", "3") "layer { name: 'sum' type: 'Eltwise' bottom: 'y#3' bottom: "
                                       "'side' top: 'sum' }\n" INNER_PRODUCT("ip1", "sum", "ip")
                                           END("ip"),
    /* and what is overwritten is no quantised layer's */
    CONVOLUTION("conv1", "data#0", "y#1") CONVOLUTION("conv2", "y#1", "side")
        IN_PLACE("ReLU", "1", "2") IN_PLACE("ReLU", "2", "3") CONVOLUTION(
            "conv3", "y#3", "z") "layer { name: 'sum' type: 'Eltwise' bottom: 'z' bottom: 'side' "
                                 "top: 'sum' }\n" INNER_PRODUCT("ip1", "sum", "ip") END("ip"),
};

static void quantised_layers_in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++) {
        char *text = test_format("%s%s", DATA("TRAIN", "train_lmdb") DATA("TEST", "test_lmdb"),
                                 quantised[i]);
        check(text);
        qf_free(text);
    }
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 80, 40, 1));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_before_a_quantised_layer),
        cmocka_unit_test(quantised_layers_in_place),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
