/* TEST passes that fill the record: it is on disk when a pass returns, what others wrote into it
 * stays, it does not depend on fusions and threads, and memory does not depend on batch_num. */
#include "base/array.h"
#include "harness/fixture.h"
#include "model/record.h"
#include "net/net.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONV(name, from, outputs, more)                                                            \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name                  \
    "' convolution_param { num_output: " outputs " weight_filler { type: 'msra' } " more " } } "
#define NORM(name)                                                                                 \
    "layer { name: '" name "_bn' type: 'BatchNorm' bottom: '" name "' top: '" name                 \
    "' } layer { name: '" name "_scale' type: 'Scale' bottom: '" name "' top: '" name              \
    "' scale_param { bias_term: true filler { type: 'uniform' min: -1.5 max: 1.5 } } } "
#define RELU(name)                                                                                 \
    "layer { name: '" name "_relu' type: 'ReLU' bottom: '" name "' top: '" name "' } "

/* A residual block with a convolution of its own beside it, and layers without BatchNorm. */
static const char net_text[] =
    "layer { name: 'data' type: 'DummyData' top: 'data' dummy_data_param { data_filler { type: "
    "'gaussian' std: 1 } shape { dim: 4 dim: 3 dim: 23 dim: 21 } } } " CONV(
        "c1", "data", "20", "kernel_size: 3 stride: 2") NORM("c1") RELU("c1")
        CONV("a", "c1", "40", "kernel_size: 1") NORM("a")
            CONV("b", "c1", "17", "kernel_size: 3 pad: 1") NORM("b") RELU("b")
                CONV("c", "b", "40", "kernel_size: 1")
                    NORM("c") "layer { name: 's' type: 'Eltwise' "
                              "bottom: 'a' bottom: 'c' top: "
                              "'s' } " RELU("s") CONV("d", "s", "33", "kernel_size: 3")
                                  RELU("d") "layer { name: 'fc' type: "
                                            "'InnerProduct' bottom: 'd' top: "
                                            "'fc' inner_product_param { "
                                            "num_output: 5 weight_filler { "
                                            "type: 'xavier' } } } ";
static const char *const quantised[] = {"c1", "a", "b", "c", "d", "fc"};

/* Weights whose BatchNorm has seen a batch, and the net with the layers of the flow. */
static int start(void **state)
{
    qf_net *net;
    test_start_in_folder(state);
    if (qf_file_write(context, "net.prototxt", net_text, strlen(net_text), 0640) ||
        qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net) ||
        qf_net_forward(net, NULL) || qf_net_save_weights(net, "net.caffemodel"))
        return -1;
    qf_net_destroy(net);
    return 0;
}

static qf_net *open_prepared(int batch_num, bool fusion, bool keep_blobs)
{
    qf_net *net;
    char *config = test_format("batch_num: %d retrain_data_quant_config { ulq_quantize { } } "
                               "retrain_weight_quant_config { arq_retrain { channel_wise: true } }",
                               batch_num);
    assert_ok(context, qf_file_write(context, "config.cfg", config, strlen(config), 0640));
    qf_free(config);
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "net.caffemodel", "config.cfg"));
    assert_ok(context, qf_create_quant_retrain_model(context, "net.prototxt", "net.caffemodel",
                                                     "config.json", "qat.prototxt",
                                                     "qat.caffemodel", "record.txt"));
    setenv("QAFFE_FUSION", fusion ? "1" : "0", 1);
    qf_random_seed(&context->random, 5); /* DummyData draws the same batches each time */
    assert_ok(context, qf_net_create(context, "qat.prototxt", QF_TEST, 0, NULL, 0, &net));
    unsetenv("QAFFE_FUSION");
    assert_ok(context, qf_net_load_weights(net, "qat.caffemodel"));
    qf_net_keep_blobs(net, keep_blobs);
    return net;
}

static qf_record *read_record(void)
{
    qf_record *record;
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    return record;
}

static int layer_index(const qf_net *net, const char *name)
{
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->name, name) == 0)
            return l;
    fail_msg("no layer %s", name);
    return -1;
}

static void a_pass_leaves_its_record_on_disk(void **state)
{
    (void)state;
    qf_net *net = open_prepared(2, true, false);
    assert_ok(context, qf_net_forward(net, NULL));
    qf_record *record = read_record();
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++) {
        const qf_record_entry *entry = qf_record_find(record, quantised[i]);
        assert_true(entry && entry->has_scale_d && entry->channels > 0);
        assert_true(entry->n_shift_bit == 0); /* one batch of two */
    }
    qf_message_free(record);
    assert_ok(context, qf_net_forward(net, NULL));
    record = read_record();
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++) {
        const qf_record_entry *entry = qf_record_find(record, quantised[i]);
        assert_true(entry && entry->n_shift_bit == entry->n_scale_w && entry->n_shift_bit > 0);
    }
    qf_message_free(record);
    qf_net_destroy(net);
}

static void a_part_of_a_pass_does_too(void **state)
{
    (void)state;
    qf_net *net = open_prepared(1, true, true);
    const int last = layer_index(net, "b_search_n");
    assert_ok(context, qf_net_forward_range(net, 0, last, NULL));
    qf_record *record = read_record();
    assert_true(qf_record_find(record, "b") && qf_record_find(record, "b")->n_shift_bit == 17);
    assert_null(qf_record_find(record, "c"));
    qf_message_free(record);
    assert_ok(context, qf_net_forward_range(net, last + 1, net->layer_count - 1, NULL));
    record = read_record();
    assert_true(qf_record_find(record, "c") && qf_record_find(record, "c")->n_shift_bit == 40);
    qf_message_free(record);
    qf_net_destroy(net);
}

/* Another net, or a person, may write into the same file between passes. */
static void what_others_wrote_stays(void **state)
{
    (void)state;
    static const char others[] = "record { key: 'elsewhere' value { scale_d: 0.25 offset_d: 3 } } "
                                 "record { key: 'a' value { scale_d: 9 skip_fusion: true } }";
    qf_net *net = open_prepared(1, true, false);
    assert_ok(context, qf_file_write(context, "record.txt", others, strlen(others), 0640));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_record *record = read_record();
    const qf_record_entry *elsewhere = qf_record_find(record, "elsewhere");
    const qf_record_entry *a = qf_record_find(record, "a");
    assert_true(elsewhere && elsewhere->scale_d == 0.25f && elsewhere->offset_d == 3);
    assert_true(a && a->skip_fusion && a->scale_d < 9 && a->n_shift_bit == 40);
    qf_message_free(record);
    qf_net_destroy(net);
}

/* What could not be written is not lost. */
static void a_missing_file_is_made_up_for(void **state)
{
    (void)state;
    qf_net *net = open_prepared(1, true, false);
    assert_int_equal(rename("record.txt", "away.txt"), 0);
    assert_fails(context, qf_net_forward(net, NULL), "record.txt");
    assert_int_equal(rename("away.txt", "record.txt"), 0);
    assert_ok(context, qf_net_forward(net, NULL));
    qf_record *record = read_record();
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++) {
        const qf_record_entry *entry = qf_record_find(record, quantised[i]);
        assert_true(entry && entry->has_scale_d && entry->n_shift_bit > 0);
    }
    qf_message_free(record);
    qf_net_destroy(net);
}

/* The record after two batches, as text. */
static void searched(int threads, bool fusion, bool keep_blobs, qf_buffer *text)
{
    qf_context_set_threads(context, threads);
    qf_net *net = open_prepared(2, fusion, keep_blobs);
    for (int i = 0; i < 2; i++)
        assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_file_read(context, "record.txt", text));
    qf_net_destroy(net);
}

static void every_way_finds_the_same_record(void **state)
{
    (void)state;
    qf_buffer expected = {0};
    searched(1, false, true, &expected);
    assert_non_null(strstr(qf_buffer_text(&expected), "shift_bit"));
    for (int way = 0; way < 8; way++) {
        qf_buffer found = {0};
        searched(1 + (way & 1), way & 2, way & 4, &found);
        assert_string_equal(qf_buffer_text(&found), qf_buffer_text(&expected));
        qf_buffer_release(&found);
    }
    qf_buffer_release(&expected);
}

/* Bytes in use, at most, during passes after the first, which makes what stays. */
static size_t memory_of_search(int batch_num)
{
    qf_net *net = open_prepared(batch_num, true, false);
    assert_ok(context, qf_net_forward(net, NULL));
    qf_memory_peak_reset();
    qf_pool_peak_reset(context);
    for (int i = 0; i < 12; i++)
        assert_ok(context, qf_net_forward(net, NULL));
    const size_t peak = qf_memory_peak() + qf_pool_peak(context);
    qf_net_destroy(net);
    return peak;
}

/* A batch of the four convolutions is hundreds of KiB. */
static void memory_does_not_grow_with_batch_num(void **state)
{
    (void)state;
    /* Not int8 or float, whichever is faster now. */
    qf_context_set_compute(context, QF_COMPUTE_INT8, QF_BACKWARD_F32);
    memory_of_search(50); /* what the context keeps is there from now on */
    const size_t few = memory_of_search(14), many = memory_of_search(10000);
    assert_in_range(many, few - 4096, few + 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_leaves_its_record_on_disk),
        cmocka_unit_test(a_part_of_a_pass_does_too),
        cmocka_unit_test(what_others_wrote_stays),
        cmocka_unit_test(a_missing_file_is_made_up_for),
        cmocka_unit_test(every_way_finds_the_same_record),
        cmocka_unit_test(memory_does_not_grow_with_batch_num),
    };
    return cmocka_run_group_tests(tests, start, test_stop_in_folder);
}
