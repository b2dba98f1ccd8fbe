/* joint_quant: what an Eltwise adds is measured together and gets the same factors; and which
 * layers are not. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/record.h"
#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>

#define LAYER(name, type, from, to, more)                                                          \
    "layer { name: '" name "' type: '" type "' bottom: '" from "' top: '" to "' " more " }\n"
#define CONVOLUTION(name, from, to, more)                                                          \
    LAYER(name, "Convolution", from, to,                                                           \
          "convolution_param { weight_filler { type: 'msra' } " more " }")
#define SUM(name, first, second, more)                                                             \
    "layer { name: '" name "' type: 'Eltwise' bottom: '" first "' bottom: '" second                \
    "' top: '" name "' " more " }\n"

static const char *const layers[] = {
    "layer { name: 'data' type: 'Data' top: 'x' data_param { source: 'test_lmdb' backend: LMDB "
    "batch_size: 4 } transform_param { scale: 0.00390625 } }",
    CONVOLUTION("c0", "x", "c0", "num_output: 4 kernel_size: 5 stride: 2"),
    LAYER("r0", "ReLU", "c0", "c0", ""),
    /* Alike: c2 reads what c0 gives, c1 what c3 gives. */
    CONVOLUTION("c3", "c0", "c3", "num_output: 6 kernel_size: 3 pad: 1"),
    LAYER("r3", "ReLU", "c3", "c3", ""),
    CONVOLUTION("c1", "c3", "c1", "num_output: 8 kernel_size: 3 pad: 1"),
    CONVOLUTION("c2", "c0", "c2", "num_output: 8 kernel_size: 1 bias_term: false"),
    LAYER("c2_bn", "BatchNorm", "c2", "c2_bn", ""),
    SUM("s1", "c2_bn", "c1", ""),
    LAYER("s1_relu", "ReLU", "s1", "s1", ""),
    /* A term that is no layer's own; coefficients; a ReLU between. */
    CONVOLUTION("c4", "s1", "c4", "num_output: 8 kernel_size: 1"),
    SUM("s2", "c4", "s1", ""),
    CONVOLUTION("c5", "s2", "c5", "num_output: 8 kernel_size: 1"),
    CONVOLUTION("c6", "s2", "c6", "num_output: 8 kernel_size: 1"),
    SUM("s3", "c5", "c6", "eltwise_param { coeff: 1 coeff: -1 }"),
    CONVOLUTION("c7", "s3", "c7", "num_output: 8 kernel_size: 1"),
    LAYER("r7", "ReLU", "c7", "c7", ""),
    CONVOLUTION("c8", "s3", "c8", "num_output: 8 kernel_size: 1"),
    SUM("s4", "c7", "c8", ""),
};

static int set_up(void **state)
{
    qf_buffer text = {0};
    qf_net *net;
    test_start_in_folder(state);
    qf_context_set_seed(context, 3);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 8, 8, 1));
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        qf_buffer_print(&text, "%s\n", layers[i]);
    test_write_text(context, "net.prototxt", qf_buffer_text(&text));
    qf_buffer_release(&text);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_forward(net, NULL)); /* so that BatchNorm has statistics */
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
    test_write_text(context, "joint.cfg", "joint_quant: true batch_num: 2");
    qf_quant_options options = {.size = sizeof options};
    qf_quant_set_defaults(&options);
    options.config_definition = "joint.cfg";
    assert_ok(context, qf_create_quant_config(context, "config.json", "net.prototxt",
                                              "net.caffemodel", &options));
    return 0;
}

static void prepare(qf_quant_graph **graph)
{
    assert_ok(context, qf_quant_init(context, "config.json", "net.prototxt", "net.caffemodel",
                                     "record.txt", graph));
    assert_ok(context, qf_quantize_model(context, *graph, "cal.prototxt", "cal.caffemodel"));
}

static void terms_of_a_sum_are_measured_together(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    Caffe__NetParameter *net;
    prepare(&graph);
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_net_param_read(context, "cal.prototxt", &net));
    assert_int_equal(qf_graph_find(net, "c1_ifmr_layer"), QF_NONE);
    const int range = qf_graph_find(net, "c2_ifmr_layer"), last = qf_graph_find(net, "c2");
    assert_int_equal(range, last - 1);
    const Caffe__LayerParameter *layer = net->layer[range];
    assert_int_equal(layer->n_bottom, 2);
    assert_string_equal(layer->bottom[0], "c3");
    assert_string_equal(layer->bottom[1], "c0");
    assert_int_equal(layer->ifmr_param->n_object_layer, 2);
    assert_string_equal(layer->ifmr_param->object_layer[0], "c1");
    assert_string_equal(layer->ifmr_param->object_layer[1], "c2");
    assert_true(qf_graph_find(net, "c1_search_n_layer") > last);
    assert_true(qf_graph_find(net, "c2_search_n_layer") > last);
    static const char *const alone[] = {"c4", "c5", "c6", "c7", "c8"};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        char *name = test_format("%s_ifmr_layer", alone[i]);
        assert_int_equal(net->layer[qf_graph_find(net, name)]->n_bottom, 1);
        qf_free(name);
    }
    qf_message_free(net);
}

static void the_plan_says_with_which_others(void **state)
{
    (void)state;
    qf_plan *plan;
    int joint = 0;
    assert_ok(context,
              qf_quant_plan(context, "net.prototxt", "net.caffemodel", "config.json", &plan));
    for (size_t i = 0; i < plan->rows; i++) {
        const qf_plan_row *row = plan->row[i];
        const char *expected = strcmp(row->layer, "c1") == 0   ? "; jointly with c2"
                               : strcmp(row->layer, "c2") == 0 ? "; jointly with c1"
                                                               : NULL;
        const char *found = strstr(row->detail, "; jointly");
        assert_int_equal(!found, !expected);
        if (found)
            assert_string_equal(found, expected);
        joint += found != NULL;
    }
    assert_int_equal(joint, 2);
    qf_plan_destroy(plan);
}

static void they_have_the_same_scales(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_record *record;
    Caffe__NetParameter *net;
    size_t largest[2] = {0};
    prepare(&graph);
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    assert_ok(context, qf_net_param_read_binary(context, "cal.caffemodel", &net));
    const qf_record_entry *entries[] = {qf_record_find(record, "c1"), qf_record_find(record, "c2")};
    assert_int_equal(entries[0]->n_scale_w, 8);
    for (size_t c = 0; c < 8; c++) {
        assert_true(entries[0]->scale_w[c] == entries[1]->scale_w[c]);
        for (int i = 0; i < 2; i++) { /* one of both uses all codes */
            const Caffe__BlobProto *w = qf_find_layer(net, i ? "c2" : "c1")->blobs[0];
            const size_t inner = w->n_data / 8;
            bool whole = false;
            for (size_t k = 0; k < inner; k++)
                whole = whole || fabsf(w->data[c * inner + k]) > 126.5f * entries[i]->scale_w[c];
            largest[i] += whole;
        }
    }
    assert_true(largest[0] + largest[1] >= 8);
    assert_true(largest[0] < 8 || largest[1] < 8);
    qf_message_free(net);
    qf_message_free(record);
}

/* Of two searches the larger shift is taken for both. */
static void they_have_the_same_shifts(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_record *record;
    qf_verification *found;
    Caffe__NetParameter *net;
    prepare(&graph);
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    for (size_t i = 0; i < record->n_record; i++) {
        qf_record_entry *entry = record->record[i]->value;
        int shift[8];
        for (size_t c = 0; c < entry->n_scale_w; c++)
            shift[c] = strcmp(record->record[i]->key, "c1") == 0 ? 2 + (int)c % 3 : 3;
        entry->has_scale_d = entry->has_offset_d = true;
        entry->scale_d = 0.02f;
        entry->offset_d = -20;
        assert_ok(context, qf_record_set_shifts(context, entry, shift, entry->n_scale_w));
    }
    assert_ok(context, qf_record_write(context, "record.txt", record));
    qf_message_free(record);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "m"));
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_net_param_read_binary(context, "m_deploy_weights.caffemodel", &net));
    const Caffe__BlobProto *first = qf_find_layer(net, "c1_dequant_layer")->blobs[0];
    const Caffe__BlobProto *second = qf_find_layer(net, "c2_dequant_layer")->blobs[0];
    assert_int_equal(first->n_uint64_data, 8);
    for (size_t c = 0; c < 8; c++) {
        assert_true(first->uint64_data[c] == second->uint64_data[c]); /* scale and shift */
        assert_int_equal(first->uint64_data[c] >> 32 & 0xff, 2 + c % 3 > 3 ? 4 : 3);
    }
    qf_message_free(net);
    assert_ok(context, qf_verify(context, "m", NULL, 2, NULL, NULL, NULL, &found));
    assert_int_equal(found->differing, 0);
    qf_verification_destroy(found);
}

static void calibration_finds_one_range(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_net *net;
    qf_record *record;
    qf_verification *found;
    prepare(&graph);
    assert_ok(context, qf_net_create(context, "cal.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "cal.caffemodel"));
    for (int i = 0; i < 2; i++)
        assert_ok(context, qf_net_forward(net, NULL));
    qf_net_destroy(net);
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    const qf_record_entry *first = qf_record_find(record, "c1"),
                          *second = qf_record_find(record, "c2"),
                          *other = qf_record_find(record, "c4");
    assert_true(first->scale_d > 0 && first->scale_d == second->scale_d);
    assert_int_equal(first->offset_d, second->offset_d);
    assert_true(first->scale_d != other->scale_d);
    assert_int_equal(first->channels, 6);
    assert_int_equal(second->channels, 4);
    qf_message_free(record);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "found"));
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_verify(context, "found", NULL, 2, NULL, NULL, NULL, &found));
    assert_int_equal(found->differing, 0);
    qf_verification_destroy(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_of_a_sum_are_measured_together),
        cmocka_unit_test(the_plan_says_with_which_others),
        cmocka_unit_test(they_have_the_same_scales),
        cmocka_unit_test(they_have_the_same_shifts),
        cmocka_unit_test(calibration_finds_one_range),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
