/* Items that are held back: the same ones whoever reads, never those that are trained on, all of
 * them together once; whatever the source and its order. */
#include "harness/command.h"
#include "harness/fixture.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/sources/hold_back.h"
#include "data/stores/hdf5_writer.h"
#include "data/stores/sample_store.h"
#include "train/test_set.h"

#include <stdio.h>
#include <string.h>

enum { ITEMS = 47, EVERY = 5, FIRST_FILE = 11, BATCH = 3 };

static void put_store(const char *path, qf_store_format format)
{
    qf_sample_writer *writer;
    assert_ok(context, qf_sample_writer_create(context, path, format, &writer));
    for (int i = 0; i < ITEMS; i++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        uint8_t pixel = (uint8_t)i;
        char key[16];
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = datum.height = datum.width = 1;
        datum.label = i;
        datum.data.data = &pixel;
        datum.data.len = 1;
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

/* One image as often as there are items: their labels tell them apart. */
static void put_list(void)
{
    static const uint8_t image[] = {
        'B', 'M', [10] = 54, [14] = 40, [18] = 1, [22] = 1, [26] = 1, [28] = 24, [57] = 0};
    qf_buffer list = {0}, file = {0};
    qf_buffer_append(&file, image, sizeof image);
    assert_ok(context, qf_file_write(context, "a.bmp", file.data, file.size, 0644));
    for (int i = 0; i < ITEMS; i++)
        qf_buffer_print(&list, "a.bmp %d\n", i);
    test_write_text(context, "list.txt", list.data);
    qf_buffer_release(&list);
    qf_buffer_release(&file);
}

static void put_rows(const char *path, int first, int count)
{
    float labels[ITEMS];
    qf_hdf5_writer writer;
    for (int i = 0; i < count; i++)
        labels[i] = (float)(first + i);
    qf_status status = qf_hdf5_create(context, path, &writer);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "x", (int[]){count, 1, 1, 1}, 4, labels);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "label", &count, 1, labels);
    assert_ok(context, qf_hdf5_finish(&writer, status));
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    put_store("lmdb", QF_STORE_LMDB);
    put_store("leveldb", QF_STORE_LEVELDB);
    put_list();
    put_rows("a.h5", 0, FIRST_FILE);
    put_rows("b.h5", FIRST_FILE, ITEMS - FIRST_FILE);
    test_write_text(context, "files.txt", "a.h5\nb.h5\n");
    return 0;
}

static const char *const sources[] = {
    "type: 'Data' data_param { source: 'lmdb' backend: LMDB batch_size: 3 }",
    "type: 'Data' data_param { source: 'lmdb' backend: LMDB batch_size: 3 shuffle: true }",
    "type: 'Data' data_param { source: 'leveldb' batch_size: 3 rand_skip: 9 }",
    "type: 'Data' data_param { source: 'leveldb' batch_size: 3 shuffle: true }",
    "type: 'ImageData' image_data_param { source: 'list.txt' batch_size: 3 }",
    "type: 'ImageData' image_data_param { source: 'list.txt' batch_size: 3 shuffle: true }",
    "type: 'HDF5Data' hdf5_data_param { source: 'files.txt' batch_size: 3 }",
    "type: 'HDF5Data' hdf5_data_param { source: 'files.txt' batch_size: 3 shuffle: true }",
};

static qf_net *open_net(const char *source, const char *hold_back)
{
    qf_net *net;
    char *text = test_format("layer { name: 'data' %s %s top: 'x' top: 'label' } "
                             "layer { name: 's' type: 'Silence' bottom: 'x' }",
                             source, hold_back);
    test_write_text(context, "net.prototxt", text);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    qf_free(text);
    return net;
}

/* What the next `batches` have; *labels goes on. */
static void read_on(qf_net *net, int batches, float *labels)
{
    for (int b = 0; b < batches; b++) {
        const float *values;
        assert_ok(context, qf_net_forward(net, NULL));
        assert_ok(context, qf_blob_data(qf_net_blob(net, "label"), &values));
        memcpy(labels + b * BATCH, values, BATCH * sizeof *values);
    }
}

/* How often each item came in as many batches as go round BATCH times, and how many there are. */
static uint64_t count_items(const char *source, const char *hold_back, int *seen)
{
    qf_test_set set;
    qf_net *net = open_net(source, hold_back);
    assert_ok(context, qf_test_set_find(net, &set));
    for (uint64_t b = 0; b < set.items; b++) {
        float labels[BATCH];
        read_on(net, 1, labels);
        for (int i = 0; i < BATCH; i++)
            seen[(int)labels[i]]++;
    }
    qf_net_destroy(net);
    return set.items;
}

static void held_and_others_are_all_items(void **state)
{
    (void)state;
    bool first[ITEMS];
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
        int held[ITEMS] = {0}, others[ITEMS] = {0};
        const uint64_t count =
            count_items(sources[s], "hold_back_param { every: 5 seed: 7 held: true }", held);
        const uint64_t rest =
            count_items(sources[s], "hold_back_param { every: 5 seed: 7 }", others);
        assert_int_equal(count + rest, ITEMS);
        assert_true(count == ITEMS / EVERY || count == ITEMS / EVERY + 1);
        for (int i = 0; i < ITEMS; i++) {
            if (held[i] + others[i] != BATCH || (held[i] != 0) == (others[i] != 0))
                fail_msg("%s: item %d came %d and %d times", sources[s], i, held[i], others[i]);
            if (s == 0)
                first[i] = held[i] != 0;
            if (first[i] != (held[i] != 0))
                fail_msg("%s: another share than that of %s", sources[s], sources[0]);
        }
        for (int row = 0; row + EVERY <= ITEMS; row += EVERY) {
            int of_row = 0;
            for (int i = row; i < row + EVERY; i++)
                of_row += held[i] != 0;
            assert_int_equal(of_row, 1);
        }
    }
}

static void another_seed_is_another_share(void **state)
{
    (void)state;
    int a[ITEMS] = {0}, b[ITEMS] = {0};
    count_items(sources[0], "hold_back_param { every: 5 seed: 7 held: true }", a);
    count_items(sources[0], "hold_back_param { every: 5 seed: 8 held: true }", b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void go_to_a_place(const char *source, const char *hold_back)
{
    float all[20 * BATCH], again[8 * BATCH];
    qf_feed feed;
    qf_net *net = open_net(source, hold_back);
    read_on(net, 12, all);
    assert_ok(context, qf_feed_take(net, &feed));
    read_on(net, 8, all + 12 * BATCH);
    qf_net_destroy(net);
    net = open_net(source, hold_back);
    assert_ok(context, qf_feed_give(net, &feed));
    read_on(net, 8, again);
    assert_memory_equal(again, all + 12 * BATCH, sizeof again);
    qf_feed_release(&feed);
    qf_net_destroy(net);
}

/* From any place on, as snapshots do. */
static void a_place_can_be_gone_to(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
        go_to_a_place(sources[s], "hold_back_param { every: 5 seed: 7 }");
        go_to_a_place(sources[s], "hold_back_param { every: 5 seed: 7 held: true }");
    }
}

/* A database of so large values that each has pages of its own, the one of `broken` overwritten. */
static void put_broken(const char *path, int broken)
{
    enum { SIDE = 80, PAGE = 4096, LARGE = SIDE * SIDE };
    static uint8_t pixels[LARGE];
    qf_sample_writer *writer;
    qf_buffer file = {0};
    char *data_file = test_format("%s/data.mdb", path);
    assert_ok(context, qf_sample_writer_create(context, path, QF_STORE_LMDB, &writer));
    for (int i = 0; i < ITEMS; i++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        char key[16];
        memset(pixels, 100 + i, sizeof pixels);
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = 1;
        datum.height = datum.width = SIDE;
        datum.label = i;
        datum.data.data = pixels;
        datum.data.len = sizeof pixels;
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
    assert_ok(context, qf_file_read(context, data_file, &file));
    memset(pixels, 100 + broken, sizeof pixels);
    uint8_t *found = memmem(file.data, file.size, pixels, sizeof pixels);
    assert_non_null(found);
    const size_t page = (size_t)(found - (uint8_t *)file.data) / PAGE * PAGE;
    memset(file.data + page, 0, 16); /* its header */
    assert_ok(context, qf_file_write(context, data_file, file.data, file.size, 0644));
    qf_buffer_release(&file);
    qf_free(data_file);
}

/* Who reads one of many does not read the others: a damaged one among these is not met. */
static void others_are_not_read(void **state)
{
    (void)state;
    const Caffe__HoldBackParameter held = {.every = EVERY, .seed = 7, .held = true};
    int other = 12;
    float labels[20 * BATCH];
    while (qf_hold_back_gives(&held, (uint64_t)other))
        other++;
    put_broken("broken", other);
    qf_net *net = open_net("type: 'Data' data_param { source: 'broken' batch_size: 3 }",
                           "hold_back_param { every: 5 seed: 7 held: true }");
    read_on(net, 20, labels);
    for (int i = 0; i < 20 * BATCH; i++)
        assert_true(qf_hold_back_gives(&held, (uint64_t)labels[i]));
    qf_net_destroy(net);
    net = open_net("type: 'Data' data_param { source: 'broken' batch_size: 3 }",
                   "hold_back_param { every: 5 seed: 7 }");
    qf_status status = QF_OK;
    for (int b = 0; status == QF_OK && b < ITEMS / BATCH; b++)
        status = qf_net_forward(net, NULL);
    assert_fails(context, status, "damaged");
    qf_net_destroy(net);
}

static void refuse(const char *layer, const char *part)
{
    qf_net *net;
    test_write_text(context, "net.prototxt", layer);
    assert_fails(context, qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net), part);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    refuse("layer { name: 'd' type: 'Data' top: 'x' data_param { source: 'lmdb' batch_size: 3 } "
           "hold_back_param { every: 1 } }",
           "hold_back_param.every is 1, expected 2 to ");
    refuse("layer { name: 'd' type: 'HDF5Data' top: 'x' hdf5_data_param { source: 'files.txt' "
           "batch_size: 3 } hold_back_param { every: 0 } }",
           "hold_back_param.every is 0, expected 2 to ");
    refuse("layer { name: 'd' type: 'Data' top: 'x' data_param { source: 'lmdb' batch_size: 3 } "
           "hold_back_param { every: 1048576 held: true } }",
           "there are only 47 items: none is left");
    refuse("layer { name: 'd' type: 'Input' top: 'x' input_param { shape { dim: 1 } } "
           "hold_back_param { every: 5 } }",
           "layers of type Input cannot leave out items");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_and_others_are_all_items),
        cmocka_unit_test(another_seed_is_another_share),
        cmocka_unit_test(a_place_can_be_gone_to),
        cmocka_unit_test(others_are_not_read),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
