/* Whole test sets: whatever the batch, each item counts once, and the means are those of one batch
 * with all items; whatever the source. */
#include "harness/fixture.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/stores/hdf5_writer.h"
#include "data/stores/sample_store.h"
#include "train/test_set.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 17, PIXELS = 12, CLASSES = 4 };

static void put_text(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0644));
}

static int label_of(int item)
{
    return item * item % CLASSES;
}

static void put_store(const char *path, qf_store_format format, int items)
{
    qf_sample_writer *writer;
    assert_ok(context, qf_sample_writer_create(context, path, format, &writer));
    for (int i = 0; i < items; i++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        uint8_t pixels[PIXELS];
        char key[16];
        for (int k = 0; k < PIXELS; k++)
            pixels[k] = (uint8_t)(i * 37 + k * 11);
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = 1;
        datum.height = 3;
        datum.width = 4;
        datum.label = label_of(i);
        datum.data.data = pixels;
        datum.data.len = sizeof pixels;
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

/* The same images as files, grey. */
static void put_images(void)
{
    qf_buffer list = {0};
    for (int i = 0; i < ITEMS; i++) {
        char path[32];
        qf_buffer file = {0};
        snprintf(path, sizeof path, "%d.bmp", i);
        uint8_t head[54] = {
            'B', 'M', [10] = 54, [14] = 40, [18] = 4, [22] = 3, [26] = 1, [28] = 24};
        qf_buffer_append(&file, head, sizeof head);
        for (int h = 2; h >= 0; h--)
            for (int w = 0; w < 4; w++) {
                const uint8_t grey = (uint8_t)(i * 37 + (h * 4 + w) * 11);
                const uint8_t pixel[3] = {grey, grey, grey};
                qf_buffer_append(&file, pixel, sizeof pixel);
            }
        assert_ok(context, qf_file_write(context, path, file.data, file.size, 0644));
        qf_buffer_release(&file);
        qf_buffer_print(&list, "%s %d\n", path, label_of(i));
    }
    put_text("list.txt", list.data);
    qf_buffer_release(&list);
}

/* And as rows of an HDF5 file. */
static void put_rows(const char *path, int first, int count)
{
    float x[ITEMS * PIXELS], labels[ITEMS];
    qf_hdf5_writer writer;
    for (int i = 0; i < count; i++) {
        labels[i] = (float)label_of(first + i);
        for (int k = 0; k < PIXELS; k++)
            x[i * PIXELS + k] = (float)(uint8_t)((first + i) * 37 + k * 11);
    }
    qf_status status = qf_hdf5_create(context, path, &writer);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "x", (int[]){count, 1, 3, 4}, 4, x);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "label", &count, 1, labels);
    assert_ok(context, qf_hdf5_finish(&writer, status));
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    put_store("lmdb", QF_STORE_LMDB, ITEMS);
    put_store("leveldb", QF_STORE_LEVELDB, ITEMS);
    put_store("short_lmdb", QF_STORE_LMDB, ITEMS - 1);
    put_images();
    put_rows("a.h5", 0, 6);
    put_rows("b.h5", 6, ITEMS - 6);
    put_text("files.txt", "a.h5\nb.h5\n");
    return 0;
}

#define TOPS "top: 'x' top: 'label' "
#define LMDB "type: 'Data' " TOPS "data_param { source: 'lmdb' batch_size: %d backend: LMDB }"

/* A loss and an accuracy that leave out the labels 3, an accuracy for each class, another of two
 * guesses, a sum. */
static const char judges[] =
    "layer { name: 'small' type: 'Power' bottom: 'x' top: 'small' power_param { scale: 0.01 } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'small' top: 'ip' inner_product_param { "
    "num_output: 4 weight_filler { type: 'gaussian' std: 1 } } }"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' "
    "loss_weight: 2 loss_param { ignore_label: 3 } }"
    "layer { name: 'sum' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'sum' "
    "loss_param { normalization: NONE } }"
    "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' top: 'each' "
    "accuracy_param { ignore_label: 3 } }"
    "layer { name: 'top2' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'top2' "
    "accuracy_param { top_k: 2 } }";

static qf_net *open_net(const char *source, int batch, const char *more)
{
    qf_net *net;
    char *layer = test_format(source, batch);
    char *text = test_format("layer { name: 'data' %s } %s %s", layer, more, judges);
    put_text("net.prototxt", text);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    if (qf_file_exists("w.caffemodel"))
        assert_ok(context, qf_net_load_weights(net, "w.caffemodel"));
    else
        assert_ok(context, qf_net_save_weights(net, "w.caffemodel"));
    qf_net_keep_blobs(net, false);
    qf_free(layer);
    qf_free(text);
    return net;
}

/* All items in one batch, as Caffe tests them. */
static qf_scores *reference(void)
{
    qf_scores *scores;
    qf_net *net = open_net(LMDB, ITEMS, "");
    assert_ok(context, qf_net_test(net, 1, NULL, NULL, NULL, &scores));
    qf_net_destroy(net);
    return scores;
}

static void assert_whole(const qf_scores *scores, const qf_scores *expected, int batch)
{
    assert_int_equal(qf_scores_items(scores), ITEMS);
    assert_int_equal(qf_scores_count(scores), qf_scores_count(expected));
    double losses = 0;
    for (int i = 0; i < qf_scores_count(scores); i++) {
        double value = qf_scores_value(scores, i);
        if (strcmp(qf_scores_name(scores, i), "loss") == 0)
            losses += 2 * value;
        if (strcmp(qf_scores_name(scores, i), "sum") == 0) {
            losses += value; /* of a batch: caffe test gives the mean of those */
            value *= (double)ITEMS / batch;
        }
        if (!(fabs(value - qf_scores_value(expected, i)) < 1e-5))
            fail_msg("batch %d: %s is %g, expected %g", batch, qf_scores_name(scores, i), value,
                     qf_scores_value(expected, i));
    }
    assert_true(fabs(qf_scores_loss(scores) - losses) < 1e-5);
}

static void each_item_counts_once(void **state)
{
    (void)state;
    static const char *const sources[] = {
        LMDB,
        "type: 'Data' " TOPS "data_param { source: 'leveldb' batch_size: %d backend: LEVELDB }",
        "type: 'Data' " TOPS "data_param { source: 'lmdb' batch_size: %d rand_skip: 9 }",
        "type: 'Data' " TOPS "data_param { source: 'lmdb' batch_size: %d shuffle: true }",
        "type: 'Data' " TOPS "data_param { source: 'leveldb' batch_size: %d shuffle: true "
        "rand_skip: 9 }",
        "type: 'ImageData' " TOPS
        "image_data_param { source: 'list.txt' batch_size: %d is_color: false }",
        "type: 'ImageData' " TOPS "image_data_param { source: 'list.txt' batch_size: %d "
        "is_color: false shuffle: true rand_skip: 9 }",
        "type: 'HDF5Data' " TOPS "hdf5_data_param { source: 'files.txt' batch_size: %d }",
        "type: 'HDF5Data' " TOPS "hdf5_data_param { source: 'files.txt' batch_size: %d "
        "shuffle: true }",
    };
    static const int batches[] = {1, 4, 5, ITEMS, 20};
    qf_scores *expected = reference(), *scores;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            qf_net *net = open_net(sources[i], batches[b], "");
            for (int round = 0; round < 2; round++) { /* the second from the first item, too */
                assert_ok(context, qf_net_test(net, 0, NULL, NULL, NULL, &scores));
                assert_whole(scores, expected, batches[b]);
                qf_scores_destroy(scores);
                assert_ok(context, qf_net_forward(net, NULL)); /* a whole batch again */
                assert_int_equal(qf_blob_dimension(qf_net_blob(net, "x"), 0), batches[b]);
            }
            qf_net_destroy(net);
        }
    qf_scores_destroy(expected);
}

static void memory_data_is_tested_whole(void **state)
{
    (void)state;
    float images[4 * PIXELS] = {0}, labels[4] = {0, 1, 2, 3};
    qf_scores *scores;
    qf_net *net = open_net("type: 'MemoryData' " TOPS "memory_data_param { batch_size: %d "
                           "channels: 1 height: 3 width: 4 }",
                           2, "");
    assert_fails(context, qf_net_test(net, 0, NULL, NULL, NULL, &scores), "no data layer");
    qf_scores_destroy(scores);
    assert_ok(context, qf_net_set_memory_data(net, images, labels, 4));
    assert_ok(context, qf_net_test(net, 0, NULL, NULL, NULL, &scores));
    assert_int_equal(qf_scores_items(scores), 4);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
}

static void keep_warning(void *user, qf_log_level level, const char *file, int line,
                         const char *text)
{
    (void)file, (void)line;
    if (level == QF_WARNING)
        snprintf(user, 1024, "%s", text);
}

/* What cannot be done whole is done as far as it goes, and said. */
static void what_is_left_out_is_said(void **state)
{
    (void)state;
    char warning[1024] = "";
    qf_scores *scores;
    qf_context_set_log(context, keep_warning, warning, QF_WARNING);
    qf_net *net = open_net("type: 'Data' " TOPS "data_param { source: 'lmdb' batch_size: %d }", 5,
                           "layer { name: 'fixed' type: 'Reshape' bottom: 'label' top: 'fixed' "
                           "reshape_param { shape { dim: 5 } } }");
    assert_ok(context, qf_net_test(net, 0, NULL, NULL, NULL, &scores));
    assert_int_equal(qf_scores_items(scores), 15);
    assert_non_null(strstr(warning, "The last 2 of 17 items are left out"));
    qf_scores_destroy(scores);
    qf_net_destroy(net);

    net = open_net(LMDB, 5,
                   "layer { name: 'other' type: 'Data' top: 'y' data_param { source: 'short_lmdb' "
                   "batch_size: 5 } } layer { name: 's' type: 'Silence' bottom: 'y' }");
    assert_ok(context, qf_net_test(net, 0, NULL, NULL, NULL, &scores));
    assert_int_equal(qf_scores_items(scores), ITEMS);
    assert_non_null(strstr(warning, "Layer data has 17 items, layer other has 16"));
    qf_scores_destroy(scores);
    qf_net_destroy(net);

    net = open_net("type: 'DummyData' " TOPS "dummy_data_param { shape { dim: %d dim: 12 } "
                   "shape { dim: 3 } }",
                   3, "");
    assert_fails(context, qf_net_test(net, 0, NULL, NULL, NULL, &scores), "no data layer");
    assert_ok(context, qf_net_test(net, 2, NULL, NULL, NULL, &scores));
    assert_int_equal(qf_scores_items(scores), 0);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    qf_context_set_log(context, NULL, NULL, QF_ERROR);
}

/* Two nets see the same batches, whatever is drawn at random. */
static void feeds_are_the_same(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "type: 'ImageData' " TOPS "image_data_param { source: 'list.txt' batch_size: %d "
        "is_color: false shuffle: true } transform_param { mirror: true crop_size: 2 }",
        "type: 'Data' " TOPS "data_param { source: 'lmdb' batch_size: %d rand_skip: 9 } "
        "transform_param { mirror: true }",
        "type: 'Data' " TOPS "data_param { source: 'leveldb' batch_size: %d shuffle: true }",
        "type: 'HDF5Data' " TOPS "hdf5_data_param { source: 'files.txt' batch_size: %d "
        "shuffle: true }",
        "type: 'DummyData' " TOPS "dummy_data_param { shape { dim: %d dim: 12 } shape { dim: 5 } "
        "data_filler { type: 'gaussian' } }",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        qf_feed feed;
        char *layer = test_format(sources[i], 5);
        char *text = test_format("layer { name: 'data' %s }", layer);
        qf_net *nets[2];
        float seen[2][4][5 * PIXELS];
        put_text("source.prototxt", text);
        for (int n = 0; n < 2; n++) {
            assert_ok(context,
                      qf_net_create(context, "source.prototxt", QF_TEST, 0, NULL, 0, &nets[n]));
            if (n == 0)
                assert_ok(context, qf_feed_take(nets[0], &feed));
            else
                assert_ok(context, qf_feed_give(nets[1], &feed));
            for (int b = 0; b < 4; b++) {
                const float *values;
                assert_ok(context, qf_net_forward(nets[n], NULL));
                qf_blob *x = qf_net_blob(nets[n], "x");
                assert_ok(context, qf_blob_data(x, &values));
                memcpy(seen[n][b], values, qf_blob_count(x) * sizeof *values);
                for (size_t k = 0; n == 1 && k < qf_blob_count(x); k++)
                    if (seen[0][b][k] != seen[1][b][k])
                        fail_msg("%s: batch %d differs", layer, b);
            }
        }
        qf_feed_release(&feed);
        qf_net_destroy(nets[0]);
        qf_net_destroy(nets[1]);
        qf_free(layer);
        qf_free(text);
    }
}

/* The whole flow tests all three models so, whatever is shuffled: float as the reference says, and
 * both exported models alike in every output. */
static void the_flow_tests_whole_sets(void **state)
{
    (void)state;
    static const char *const sources[] = {
        LMDB,
        "type: 'ImageData' " TOPS "image_data_param { source: 'list.txt' batch_size: %d "
        "is_color: false }",
        "type: 'HDF5Data' " TOPS "hdf5_data_param { source: 'files.txt' batch_size: %d }",
    };
    enum { BATCH = 5 };
    qf_scores *expected = reference();
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        qf_qat_options options = {.size = sizeof options};
        qf_qat_result *result;
        qf_qat_set_defaults(&options);
        qf_net_destroy(open_net(sources[i], BATCH, "")); /* writes net.prototxt */
        options.model = "net.prototxt";
        options.weights = "w.caffemodel";
        options.iterations = 2;
        options.save_path = "flow/q";
        assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
        assert_int_equal(result->test_items, ITEMS);
        assert_int_equal(result->test_batches, (ITEMS + BATCH - 1) / BATCH);
        assert_int_equal(result->scores, qf_scores_count(expected));
        assert_string_equal(result->score[0]->name, "acc"); /* the main one */
        for (int k = 0; k < result->scores; k++) {
            const qf_qat_score *score = result->score[k];
            assert_true(score->fake_quant_score == score->deploy_score);
            for (int e = 0; e < qf_scores_count(expected); e++)
                if (strcmp(score->name, qf_scores_name(expected, e)) == 0 &&
                    strcmp(score->name, "sum") != 0)
                    assert_true(fabs(score->float_score - qf_scores_value(expected, e)) < 1e-5);
        }
        qf_qat_result_destroy(result);
    }
    qf_scores_destroy(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_counts_once),     cmocka_unit_test(memory_data_is_tested_whole),
        cmocka_unit_test(what_is_left_out_is_said),  cmocka_unit_test(feeds_are_the_same),
        cmocka_unit_test(the_flow_tests_whole_sets),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
