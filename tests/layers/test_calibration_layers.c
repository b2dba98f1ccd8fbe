/* The layers of a calibration model: ranges and shifts over several batches, what they leave in the
 * record, and that they hold no more for many batches than for few. */
#include "base/array.h"
#include "device/cpu/quantise/quantise_loops.h"
#include "harness/fixture.h"
#include "model/record.h"
#include "net/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RECORD "record_file_path: 'record.txt'"
#define IFMR(name, bottoms, objects, batches)                                                      \
    "layer { name: '" name "' type: 'IFMR' " bottoms " ifmr_param { batch_num: " batches           \
    " with_offset: true search_range_start: 0.7 search_range_end: 1.3 search_step: 0.01 "          \
    "max_percentile: 0.999999 min_percentile: 0.999999 " objects " " RECORD " } } "
#define SEARCH(name, batches)                                                                      \
    "layer { name: '" name "_search_n_layer' type: 'SearchN' bottom: '" name "' top: '" name       \
    "' search_n_param { batch_num: " batches " layer_name: '" name "' " RECORD " } } "
#define INPUT(name, shape)                                                                         \
    "layer { name: '" name "' type: 'Input' top: '" name "' input_param { shape { " shape " } } "  \
    "} "
#define CONV(name, bottom, outputs)                                                                \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name                \
    "' convolution_param { num_output: " outputs " kernel_size: 3 weight_filler { type: 'msra' } " \
    "} } "

enum { CHANNELS = 12, FC = 5 };

/* Three quantised layers, with as many batches as %s says. */
static const char net_text[] = INPUT("data", "dim: 2 dim: 3 dim: 15 dim: 13")
    IFMR("c1_ifmr_layer", "bottom: 'data'", "object_layer: 'c1'", "%s") CONV("c1", "data", "12")
        SEARCH("c1", "%s") "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: '%s' } "
                           "layer { name: 'p_hfmg_layer' type: 'HFMG' bottom: '%s' hfmg_param { "
                           "batch_num: %s with_offset: "
                           "true num_of_bins: 1024 object_layer: 'p' " RECORD " } } "
                           "layer { name: 'p' type: 'Pooling' bottom: '%s' top: 'p' pooling_param "
                           "{ pool: AVE kernel_size: "
                           "2 stride: 2 } } " IFMR(
                               "fc_ifmr_layer", "bottom: 'p'", "object_layer: 'fc'",
                               "%s") "layer { name: 'fc' type: 'InnerProduct' bottom: 'p' top: "
                                     "'fc' inner_product_param { num_output: "
                                     "5 weight_filler { type: 'xavier' } } } " SEARCH("fc", "%s");

/* Not every layer has scales of weights: pooling none. */
static const char record_text[] = "record { key: 'c1' value { %s } } "
                                  "record { key: 'fc' value { scale_w: 0.003 offset_w: 0 } } ";

static float c1_scale(int channel)
{
    return ldexpf(0.001f, channel % 8);
}

static void write_text(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0640));
}

static void write_record(void)
{
    qf_buffer scales = {0};
    for (int c = 0; c < CHANNELS; c++)
        qf_buffer_print(&scales, "scale_w: %.9g offset_w: 0 ", (double)c1_scale(c));
    char *text = test_format(record_text, qf_buffer_text(&scales));
    write_text("record.txt", text);
    qf_free(text);
    qf_buffer_release(&scales);
}

/* `rectified`: the blob behind ReLU, c1 where it is in place. */
static qf_net *open_net(int batches, qf_phase phase, const char *rectified, bool keep_blobs)
{
    qf_net *net;
    char *n = test_format("%d", batches);
    char *text = test_format(net_text, n, n, rectified, rectified, n, rectified, n, n);
    write_text("net.prototxt", text);
    write_record();
    qf_random_seed(&context->random, 3);
    assert_ok(context, qf_net_create(context, "net.prototxt", phase, 0, NULL, 0, &net));
    qf_net_keep_blobs(net, keep_blobs);
    qf_free(text);
    qf_free(n);
    return net;
}

/* Batch i of all: later ones reach farther. */
static void feed(qf_net *net, int i)
{
    float *values;
    for (int l = 0; l < net->layer_count; l++)
        for (int t = 0;
             strcmp(net->layers[l]->type->name, "Input") == 0 && t < net->layers[l]->top_count;
             t++) {
            qf_blob *blob = net->layers[l]->top[t];
            qf_random random;
            qf_random_seed(&random, (uint64_t)(i + 100 * t + 1));
            assert_ok(context, qf_blob_mutable_data(blob, &values));
            for (size_t k = 0; k < qf_blob_count(blob); k++)
                values[k] = qf_random_gaussian(&random, 0.2f, 1 + 0.1f * (float)i);
        }
}

static void run(qf_net *net, int batches)
{
    for (int i = 0; i < batches; i++) {
        feed(net, i);
        assert_ok(context, qf_net_forward(net, NULL));
    }
}

static qf_record *read_record(void)
{
    qf_record *record;
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    return record;
}

static qf_blob *blob_of(const qf_net *net, const char *name)
{
    for (int l = 0; l < net->layer_count; l++)
        for (int t = 0; t < net->layers[l]->top_count; t++)
            if (strcmp(net->layers[l]->top[t]->name, name) == 0)
                return net->layers[l]->top[t];
    fail_msg("no blob %s", name);
    return NULL;
}

/* ---- all values, for a search over them at once ---- */

typedef struct all {
    float *values;
    size_t count, capacity;
} all;

static void append(all *to, const qf_net *net, const char *name, qf_form form)
{
    qf_blob *blob = blob_of(net, name);
    const size_t n = qf_blob_count(blob);
    const float *values;
    assert_ok(context, qf_read(context, blob->data, form, &values));
    assert_true(qf_grow(&to->values, &to->capacity, to->count + n, sizeof *to->values));
    memcpy(to->values + to->count, values, n * sizeof *values);
    to->count += n;
}

static void expect_range(const qf_record *record, const char *name, const all *a)
{
    const qf_record_entry *entry = qf_record_find(record, name);
    float scale;
    int32_t offset;
    assert_true(entry && entry->has_scale_d && entry->has_offset_d);
    assert_ok(context,
              qf_ifmr_exact(context, &qf_ifmr_defaults, a->values, a->count, &scale, &offset));
    assert_true(entry->scale_d == scale && entry->offset_d == offset);
}

/* Channels are the fastest axis; a common shift is of all errors. */
static void expect_shifts(const qf_record *record, const char *name, const all *a, int channels,
                          bool common)
{
    const qf_record_entry *entry = qf_record_find(record, name);
    qf_shift_errors errors[CHANNELS] = {{{0}}};
    assert_int_equal(entry->n_shift_bit, entry->n_scale_w);
    for (size_t i = 0; i < a->count; i++) {
        const int c = (int)(i % (size_t)channels);
        const float deq = entry->scale_d * entry->scale_w[entry->n_scale_w == 1 ? 0 : c];
        qf_shift_errors_add(&errors[common ? 0 : c], qf_shift_accumulator(a->values[i], deq));
    }
    for (size_t c = 0; c < entry->n_shift_bit; c++)
        assert_int_equal(entry->shift_bit[c], qf_shift_best(&errors[common ? 0 : c]));
}

/* ---- tests ---- */

static void the_record_is_that_of_all_values(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 5};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        qf_net *net = open_net(counts[k], QF_TEST, "r1", true);
        all data = {0}, c1 = {0}, p = {0}, fc = {0};
        for (int i = 0; i < counts[k]; i++) {
            qf_record *before = read_record();
            assert_null(qf_record_find(before, "p"));
            qf_message_free(before);
            feed(net, i);
            assert_ok(context, qf_net_forward(net, NULL));
            append(&data, net, "data", QF_NHWC);
            append(&c1, net, "c1", QF_NHWC);
            append(&p, net, "p", QF_NHWC);
            append(&fc, net, "fc", QF_NHWC);
        }
        qf_record *record = read_record();
        expect_range(record, "c1", &data);
        expect_range(record, "fc", &p);
        expect_shifts(record, "c1", &c1, CHANNELS, false);
        expect_shifts(record, "fc", &fc, FC, true);
        const qf_record_entry *pool = qf_record_find(record, "p");
        assert_true(pool && pool->has_scale_d && pool->n_scale_w == 1 && pool->scale_w[0] == 1);
        assert_true(pool->channels == CHANNELS && pool->height == 13 && pool->width == 11);
        assert_int_equal(pool->n_shift_bit, 0);
        assert_int_equal(qf_record_find(record, "c1")->height, 15);
        qf_message_free(record);
        qf_free(data.values);
        qf_free(c1.values);
        qf_free(p.values);
        qf_free(fc.values);
        qf_net_destroy(net);
    }
}

/* The record's text after so many passes of a model that wants `batches`. */
static void calibrated(int batches, int passes, const char *rectified, bool keep_blobs,
                       qf_buffer *text)
{
    qf_net *net = open_net(batches, QF_TEST, rectified, keep_blobs);
    run(net, passes);
    assert_ok(context, qf_file_read(context, "record.txt", text));
    qf_net_destroy(net);
}

static void further_passes_change_nothing(void **state)
{
    (void)state;
    qf_buffer once = {0}, more = {0};
    calibrated(3, 3, "r1", true, &once);
    calibrated(3, 7, "r1", true, &more);
    assert_string_equal(qf_buffer_text(&once), qf_buffer_text(&more));
    qf_buffer_release(&once);
    qf_buffer_release(&more);
}

/* A second calibration replaces what the first one found. */
static void shifts_are_replaced(void **state)
{
    (void)state;
    qf_buffer text = {0};
    calibrated(1, 1, "r1", true, &text);
    qf_net *net;
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    run(net, 1);
    qf_record *record = read_record();
    assert_int_equal(qf_record_find(record, "c1")->n_shift_bit, CHANNELS);
    qf_message_free(record);
    qf_net_destroy(net);
    qf_buffer_release(&text);
}

/* Alone or with ReLU in one sweep, by one thread or more. */
static void every_way_finds_the_same(void **state)
{
    (void)state;
    qf_buffer expected = {0};
    qf_context_set_threads(context, 1);
    setenv("QAFFE_FUSION", "0", 1);
    calibrated(3, 3, "r1", true, &expected);
    unsetenv("QAFFE_FUSION");
    for (int way = 0; way < 6; way++) {
        qf_buffer found = {0};
        qf_context_set_threads(context, 1 + way / 2);
        calibrated(3, 3, "c1", way % 2, &found);
        assert_string_equal(qf_buffer_text(&found), qf_buffer_text(&expected));
        qf_buffer_release(&found);
    }
    qf_buffer_release(&expected);
}

/* ---- values that are looked at where they are made ---- */

/* A residual block: a blob that two measured layers read, a sum behind a measured one. */
static const char block_text[] = INPUT("data", "dim: 2 dim: 3 dim: 40 dim: 41") IFMR(
    "c1_ifmr_layer", "bottom: 'data'", "object_layer: 'c1'", "3") CONV("c1", "data", "12")
    SEARCH("c1", "3") "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' } " IFMR(
        "c2_ifmr_layer", "bottom: 'c1'", "object_layer: 'c2'", "3") CONV("c2", "c1", "12")
        SEARCH("c2", "3") IFMR("c3_ifmr_layer", "bottom: 'c1'", "object_layer: 'c3'", "3")
            CONV("c3", "c1", "12") SEARCH(
                "c3",
                "3") "layer { name: 'sum' type: 'Eltwise' bottom: 'c2' bottom: 'c3' top: 'sum' } "
                     "layer { name: 'r2' type: 'ReLU' bottom: 'sum' top: 'sum' } " IFMR(
                         "fc_ifmr_layer", "bottom: 'sum'", "object_layer: 'fc'",
                         "3") "layer { name: 'fc' type: 'InnerProduct' bottom: 'sum' top: 'fc' "
                              "inner_product_param { num_output: 5 } } " SEARCH("fc", "3");

static qf_net *open_block(bool keep_blobs)
{
    static const char *const names[] = {"c1", "c2", "c3"};
    qf_net *net;
    qf_buffer record = {0};
    for (int i = 0; i < 3; i++) {
        qf_buffer_print(&record, "record { key: '%s' value { ", names[i]);
        for (int c = 0; c < CHANNELS; c++)
            qf_buffer_print(&record, "scale_w: %.9g offset_w: 0 ", (double)c1_scale(c));
        qf_buffer_print(&record, "} } ");
    }
    qf_buffer_print(&record, "record { key: 'fc' value { scale_w: 0.003 offset_w: 0 } } ");
    write_text("net.prototxt", block_text);
    write_text("record.txt", qf_buffer_text(&record));
    qf_buffer_release(&record);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    qf_net_keep_blobs(net, keep_blobs);
    /* Few small numbers, whose sums are exact in any order. */
    for (int l = 0; l < net->layer_count; l++) {
        float *values;
        if (!net->layers[l]->param_count)
            continue;
        qf_blob *weights = net->layers[l]->params[0].blob;
        assert_ok(context, qf_blob_mutable_data(weights, &values));
        for (size_t i = 0; i < qf_blob_count(weights); i++)
            values[i] = (float)((int)(i * 2654435761u >> 7) % 7 - 3) / 8;
    }
    return net;
}

static void feed_exact(qf_net *net, int batch)
{
    float *values;
    qf_blob *data = blob_of(net, "data");
    assert_ok(context, qf_blob_mutable_data(data, &values));
    for (size_t i = 0; i < qf_blob_count(data); i++)
        values[i] = (float)((int)((i + 1) * 40503u * (unsigned)(batch + 3) >> 5) % 33 - 16) / 8;
}

static void calibrated_block(bool keep_blobs, qf_buffer *text)
{
    qf_net *net = open_block(keep_blobs);
    for (int i = 0; i < 3; i++) {
        feed_exact(net, i);
        assert_ok(context, qf_net_forward(net, NULL));
    }
    assert_ok(context, qf_file_read(context, "record.txt", text));
    qf_record *record = read_record(); /* c2 and c3 read the same */
    const qf_record_entry *c2 = qf_record_find(record, "c2"), *c3 = qf_record_find(record, "c3");
    assert_true(c2->has_scale_d && c3->scale_d == c2->scale_d && c3->offset_d == c2->offset_d);
    qf_message_free(record);
    qf_net_destroy(net);
}

static void looking_where_values_are_made_finds_the_same(void **state)
{
    (void)state;
    qf_buffer expected = {0};
    setenv("QAFFE_FUSION", "0", 1);
    calibrated_block(true, &expected);
    unsetenv("QAFFE_FUSION");
    for (int way = 0; way < 6; way++) {
        qf_buffer found = {0};
        qf_context_set_threads(context, 1 + way / 2);
        calibrated_block(way % 2, &found);
        assert_string_equal(qf_buffer_text(&found), qf_buffer_text(&expected));
        qf_buffer_release(&found);
    }
    qf_context_set_threads(context, 0);
    qf_buffer_release(&expected);
}

/* A backward pass takes apart what ran as one, and nobody looks a second time. */
static void backward_looks_at_nothing(void **state)
{
    (void)state;
    qf_buffer expected = {0}, found = {0};
    calibrated_block(true, &expected);
    qf_net *net = open_block(true);
    for (int i = 0; i < 3; i++) {
        feed_exact(net, i);
        assert_ok(context, qf_net_forward(net, NULL));
        assert_ok(context, qf_net_backward(net));
    }
    assert_ok(context, qf_file_read(context, "record.txt", &found));
    assert_string_equal(qf_buffer_text(&found), qf_buffer_text(&expected));
    qf_net_destroy(net);
    qf_buffer_release(&expected);
    qf_buffer_release(&found);
}

static void nan_is_named_where_it_is_made(void **state)
{
    (void)state;
    float *values;
    qf_net *net = open_block(false);
    feed_exact(net, 0);
    assert_ok(context, qf_net_forward(net, NULL));
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->name, "c1") == 0) {
            assert_ok(context, qf_blob_mutable_data(net->layers[l]->params[0].blob, &values));
            values[0] = INFINITY;
        }
    feed_exact(net, 1);
    assert_fails(context, qf_net_forward(net, NULL),
                 "Do IFMR calibration failed: blob 'c1': value");
    qf_net_destroy(net);
}

static void training_looks_at_nothing(void **state)
{
    (void)state;
    qf_net *net = open_net(1, QF_TRAIN, "r1", true);
    run(net, 2);
    qf_record *record = read_record();
    assert_null(qf_record_find(record, "p"));
    assert_false(qf_record_find(record, "c1")->has_scale_d);
    qf_message_free(record);
    qf_net_destroy(net);
}

static void bottoms_are_pooled(void **state)
{
    (void)state;
    qf_net *net;
    all both = {0};
    write_text("net.prototxt", INPUT("x", "dim: 2 dim: 3 dim: 4 dim: 5") INPUT("y", "dim: 2 dim: 7")
                                   IFMR("range", "bottom: 'x' bottom: 'y'",
                                        "object_layer: 'a' object_layer: 'b'", "2"));
    write_text("record.txt", "");
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    for (int i = 0; i < 2; i++) {
        feed(net, i);
        assert_ok(context, qf_net_forward(net, NULL));
        append(&both, net, "x", QF_NHWC);
        append(&both, net, "y", QF_NHWC);
    }
    qf_record *record = read_record();
    expect_range(record, "a", &both);
    expect_range(record, "b", &both);
    const qf_record_entry *a = qf_record_find(record, "a"), *b = qf_record_find(record, "b");
    assert_true(a->channels == 3 && a->height == 4 && a->width == 5);
    assert_true(b->channels == 7 && b->height == 1 && b->width == 1);
    qf_message_free(record);
    qf_free(both.values);
    qf_net_destroy(net);
}

/* A batch that is refused counts for nothing. */
static void nan_is_refused_by_name(void **state)
{
    (void)state;
    qf_net *net = open_net(2, QF_TEST, "r1", true);
    float *values;
    run(net, 1);
    assert_ok(context, qf_blob_mutable_data(blob_of(net, "data"), &values));
    values[4] = NAN;
    assert_fails(context, qf_net_forward(net, NULL),
                 "c1_ifmr_layer: Do IFMR calibration failed: blob 'data': value");
    feed(net, 1);
    assert_fails(context, qf_net_forward(net, NULL), "make the net anew");
    qf_net_destroy(net);
    net = open_net(2, QF_TEST, "r1", true);
    run(net, 2);
    qf_record *record = read_record();
    assert_true(qf_record_find(record, "c1")->has_scale_d);
    qf_message_free(record);
    qf_net_destroy(net);
}

static void expect_refused(const char *text, const char *record, const char *sentence)
{
    qf_net *net = NULL;
    write_text("net.prototxt", text);
    write_text("record.txt", record);
    qf_status status = qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_forward(net, NULL);
    assert_fails(context, status, sentence);
    qf_net_destroy(net);
}

static void mistakes_are_named(void **state)
{
    (void)state;
#define X INPUT("x", "dim: 1 dim: 2 dim: 5 dim: 5")
    expect_refused(X IFMR("r", "bottom: 'x'", "object_layer: 'a' object_layer: 'b'", "1"), "",
                   "names 2 layers, expected one for each of 1 bottoms");
    expect_refused(X IFMR("r", "bottom: 'x'", "", "1"), "", "names no object_layer");
    expect_refused(X "layer { name: 'h' type: 'HFMG' bottom: 'x' hfmg_param { num_of_bins: 1000 "
                     "object_layer: 'a' " RECORD " } }",
                   "", "num_of_bins 1000 must be in [1024, 2048, 4096, 8192]");
    expect_refused(X "layer { name: 'h' type: 'HFMG' bottom: 'x' }", "", "there is no hfmg_param");
    expect_refused(X CONV("a", "x", "1") SEARCH("a", "1"), "", "record.txt has no scale_w of it");
    expect_refused(X CONV("a", "x", "1") SEARCH("a", "1"),
                   "record { key: 'a' value { scale_w: 1 offset_w: 0 } }",
                   "record.txt has no scale_d of layer 'a'");
#undef X
}

/* Bytes in use, at most, in passes after the first few. */
static size_t memory_of(int batches)
{
    qf_net *net = open_net(batches, QF_TEST, "c1", false);
    run(net, 60); /* more than are kept as they are */
    qf_memory_peak_reset();
    qf_pool_peak_reset(context);
    run(net, 30);
    const size_t peak = qf_memory_peak() + qf_pool_peak(context);
    qf_net_destroy(net);
    return peak;
}

static void memory_does_not_grow(void **state)
{
    (void)state;
    memory_of(100);
    const size_t few = memory_of(100), many = memory_of(100000);
    assert_in_range(many, few - 4096, few + 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record_is_that_of_all_values),
        cmocka_unit_test(further_passes_change_nothing),
        cmocka_unit_test(shifts_are_replaced),
        cmocka_unit_test(every_way_finds_the_same),
        cmocka_unit_test(looking_where_values_are_made_finds_the_same),
        cmocka_unit_test(backward_looks_at_nothing),
        cmocka_unit_test(nan_is_named_where_it_is_made),
        cmocka_unit_test(training_looks_at_nothing),
        cmocka_unit_test(bottoms_are_pooled),
        cmocka_unit_test(nan_is_refused_by_name),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(memory_does_not_grow),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
