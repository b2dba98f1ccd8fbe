/* Where batches come from: databases (test_databases.c), lists of images, windows. A run that was
 * stopped goes on with the same batches; what does not fit together is an error with a sentence. */
#include "data/sources/prefetch.h"
#include "data/sources/window_list.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "harness/store.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_text(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0644));
}

/* A BMP of 24 bits: blue = 10 · column, green = 10 · row, red = `red`. */
static void put_bmp(const char *path, int height, int width, int red)
{
    const int row_bytes = (3 * width + 3) / 4 * 4, size = 54 + row_bytes * height;
    uint8_t *file = qf_alloc((size_t)size, 1);
    memcpy(file, "BM", 2);
    file[10] = 54;
    file[14] = 40;
    file[18] = (uint8_t)width;
    file[22] = (uint8_t)height;
    file[26] = 1;
    file[28] = 24;
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++) {
            uint8_t *pixel = file + 54 + (height - 1 - h) * row_bytes + 3 * w;
            pixel[0] = (uint8_t)(10 * w);
            pixel[1] = (uint8_t)(10 * h);
            pixel[2] = (uint8_t)red;
        }
    assert_ok(context, qf_file_write(context, path, file, (size_t)size, 0644));
    qf_free(file);
}

static void bitmaps_are_decoded(void **state)
{
    (void)state;
    qf_image image;
    put_bmp("a.bmp", 4, 5, 99);
    assert_ok(context, qf_image_read(context, "a.bmp", QF_COLOR_AS_STORED, &image));
    assert_int_equal(image.channels, 3);
    for (int h = 0; h < 4; h++)
        for (int w = 0; w < 5; w++) {
            const uint8_t *pixel = image.bytes + (size_t)h * image.row_step + 3 * w;
            assert_int_equal(pixel[0], 10 * w);
            assert_int_equal(pixel[1], 10 * h);
            assert_int_equal(pixel[2], 99);
        }
    qf_image_release(&image);
}

/* ---- sources ---- */

/* The labels and first values of `count` batches. */
static void take(qf_prefetch *prefetch, int count, float *labels, float *values)
{
    for (int b = 0; b < count; b++) {
        const qf_batch *batch;
        assert_ok(context, qf_prefetch_next(context, prefetch, &batch));
        for (int i = 0; i < batch->size; i++) {
            *labels++ = batch->labels[i];
            *values++ =
                batch->images[(size_t)i * (size_t)(batch->channels * batch->height * batch->width)];
        }
    }
}

typedef qf_status open_source(uint64_t seed, qf_data_source *out);

static qf_prefetch *start(open_source *open, uint64_t seed, int batch_size)
{
    qf_data_source source;
    qf_prefetch *prefetch;
    qf_random random;
    qf_random_seed(&random, seed);
    assert_ok(context, open(seed, &source));
    assert_ok(context, qf_prefetch_create(context, &source, batch_size, 3, &random, &prefetch));
    return prefetch;
}

/* Another process, with other random numbers, takes up the state and goes on as the first did. */
static void check_resuming(open_source *open, bool varies)
{
    enum { BATCH = 5, BATCHES = 6, ALL = BATCH * BATCHES };
    float labels[2][ALL], values[2][ALL], first[2][ALL];
    qf_prefetch *one = start(open, 1, BATCH), *other = start(open, 2, BATCH);
    take(one, 4, first[0], first[1]);
    const qf_data_state state = qf_prefetch_state(one);
    take(one, BATCHES, labels[0], values[0]);
    take(other, 1, labels[1], values[1]);
    assert_ok(context, qf_prefetch_restore(context, other, &state));
    take(other, BATCHES, labels[1], values[1]);
    assert_memory_equal(labels[0], labels[1], sizeof labels[0]);
    assert_memory_equal(values[0], values[1], sizeof values[0]);
    if (varies)
        assert_memory_not_equal(labels[0], first[0], 4 * BATCH * sizeof(float));
    qf_prefetch_destroy(one);
    qf_prefetch_destroy(other);
}

static Caffe__TransformationParameter crop_and_mirror(void)
{
    Caffe__TransformationParameter param = CAFFE__TRANSFORMATION_PARAMETER__INIT;
    param.crop_size = 3;
    param.mirror = true;
    return param;
}

static qf_status open_store(uint64_t seed, qf_data_source *out)
{
    static Caffe__DataParameter param = CAFFE__DATA_PARAMETER__INIT;
    static Caffe__TransformationParameter transform;
    qf_random random;
    qf_random_seed(&random, seed);
    transform = crop_and_mirror();
    param.source = "some_db"; /* 4 items: fewer than a batch */
    return qf_store_source_open(context, &param, &transform, true, &random, out);
}

static qf_status open_shuffled(const char *path, uint64_t seed, qf_data_source *out)
{
    static Caffe__DataParameter param = CAFFE__DATA_PARAMETER__INIT;
    static Caffe__TransformationParameter transform;
    qf_random random;
    qf_random_seed(&random, seed);
    transform = crop_and_mirror();
    param.source = (char *)path;
    param.shuffle = true;
    param.rand_skip = 1000;
    return qf_store_source_open(context, &param, &transform, true, &random, out);
}

static qf_status open_shuffled_lmdb(uint64_t seed, qf_data_source *out)
{
    return open_shuffled("shuffled_lmdb", seed, out);
}

static qf_status open_shuffled_leveldb(uint64_t seed, qf_data_source *out)
{
    return open_shuffled("shuffled_leveldb", seed, out);
}

static const char image_list[] =
    "\xEF\xBB\xBF"
    "a.bmp 0\r\nb c.bmp \t 1\r\n \r\na.bmp\t2\nb c.bmp 3.0  \na.bmp 4\na.bmp 5\n"
    "b c.bmp 6";

static qf_status open_images(uint64_t seed, qf_data_source *out)
{
    static Caffe__ImageDataParameter param = CAFFE__IMAGE_DATA_PARAMETER__INIT;
    static Caffe__TransformationParameter transform;
    qf_random random;
    qf_random_seed(&random, seed);
    transform = crop_and_mirror();
    param.source = "images.txt";
    param.shuffle = true;
    param.rand_skip = 3;
    return qf_image_source_open(context, &param, &transform, true, &random, out);
}

static qf_status open_windows(uint64_t seed, qf_data_source *out)
{
    static Caffe__WindowDataParameter param = CAFFE__WINDOW_DATA_PARAMETER__INIT;
    static Caffe__TransformationParameter transform;
    (void)seed;
    transform = crop_and_mirror();
    param.source = "windows.txt";
    param.fg_fraction = 0.5f;
    return qf_window_source_open(context, &param, &transform, out);
}

static void stopped_runs_go_on(void **state)
{
    (void)state;
    put_bmp("a.bmp", 4, 5, 1);
    put_bmp("b c.bmp", 5, 4, 2);
    put_text("images.txt", image_list);
    put_text("windows.txt", "# 0\na.bmp\n3\n4\n5\n4\n1 0.9 0 0 2 2\n2 0.8 1 1 4 3\n0 0.1 2 0 4 3\n"
                            "0 0 0 1 3 3\n# 1 ./a.bmp 3 4 5 1 7 1 0 0 4 3");
    test_write_store("some_db", QF_STORE_LEVELDB, 4);
    test_write_store("shuffled_lmdb", QF_STORE_LMDB, 7);
    test_write_store("shuffled_leveldb", QF_STORE_LEVELDB, 7);
    check_resuming(open_store, false);
    check_resuming(open_shuffled_lmdb, true);
    check_resuming(open_shuffled_leveldb, true);
    check_resuming(open_images, true);
    check_resuming(open_windows, true);
}

/* Of all images of an epoch each comes once, in another order each time. */
static void shuffling_loses_nothing(void **state)
{
    (void)state;
    enum { IMAGES = 7, EPOCHS = 3 };
    float labels[IMAGES * EPOCHS], values[IMAGES * EPOCHS];
    Caffe__ImageDataParameter param = CAFFE__IMAGE_DATA_PARAMETER__INIT;
    qf_data_source source;
    qf_prefetch *prefetch;
    qf_random random;
    qf_random_seed(&random, 5);
    put_bmp("a.bmp", 4, 4, 1);
    put_bmp("b c.bmp", 4, 4, 2);
    put_text("images.txt", image_list);
    param.source = "images.txt";
    param.shuffle = true;
    assert_ok(context, qf_image_source_open(context, &param, NULL, true, &random, &source));
    assert_ok(context, qf_prefetch_create(context, &source, 1, 1, &random, &prefetch));
    take(prefetch, IMAGES * EPOCHS, labels, values);
    for (int e = 0; e < EPOCHS; e++) {
        int seen = 0;
        for (int i = 0; i < IMAGES; i++)
            seen += 1 << (int)labels[e * IMAGES + i];
        assert_int_equal(seen, 127);
    }
    assert_memory_not_equal(labels, labels + IMAGES, IMAGES * sizeof *labels);
    qf_prefetch_destroy(prefetch);
}

/* The same of a database of several pages, in both formats with the same orders. */
static void databases_are_shuffled(void **state)
{
    (void)state;
    enum { ITEMS = 600, EPOCHS = 2, ALL = ITEMS * EPOCHS };
    static float labels[QF_STORE_FORMATS][ALL], values[ALL];
    for (int format = 0; format < QF_STORE_FORMATS; format++) {
        char *path = test_format("orders_%d", format);
        Caffe__DataParameter param = CAFFE__DATA_PARAMETER__INIT;
        qf_data_source source;
        qf_prefetch *prefetch;
        qf_random random;
        uint64_t count;
        qf_random_seed(&random, 5);
        test_write_store(path, (qf_store_format)format, ITEMS);
        param.source = path;
        param.shuffle = true;
        assert_ok(context, qf_store_source_open(context, &param, NULL, true, &random, &source));
        assert_ok(context, qf_prefetch_create(context, &source, 1, 1, &random, &prefetch));
        assert_ok(context, qf_prefetch_count(context, prefetch, &count));
        assert_int_equal(count, ITEMS);
        take(prefetch, ALL, labels[format], values);
        for (int e = 0; e < EPOCHS; e++) {
            bool seen[ITEMS] = {0};
            for (int i = 0; i < ITEMS; i++)
                seen[(int)labels[format][e * ITEMS + i] - 100] = true;
            for (int i = 0; i < ITEMS; i++)
                assert_true(seen[i]);
        }
        assert_memory_not_equal(labels[format], labels[format] + ITEMS, ITEMS * sizeof(float));
        for (int i = 0; i < ALL; i++) /* pixel and label belong together */
            assert_int_equal((int)values[i], ((int)labels[format][i] - 100) % 256);
        qf_prefetch_destroy(prefetch);
        qf_free(path);
    }
    assert_memory_equal(labels[0], labels[1], sizeof labels[0]);
}

static qf_status open_list(const char *text, Caffe__ImageDataParameter param, qf_data_source *out)
{
    qf_random random;
    qf_random_seed(&random, 1);
    put_text("list.txt", text);
    param.source = "list.txt";
    return qf_image_source_open(context, &param, NULL, true, &random, out);
}

static void lists_that_fail(void **state)
{
    (void)state;
    Caffe__ImageDataParameter plain = CAFFE__IMAGE_DATA_PARAMETER__INIT, other = plain;
    qf_data_source source;
    put_bmp("a.bmp", 4, 4, 1);
    assert_fails(context, open_list("", plain, &source), "list.txt is empty");
    assert_fails(context, open_list("\n\nnobody.png 3\n", plain, &source),
                 "list.txt:3: cannot open");
    assert_fails(context, open_list("list.txt 3\n", plain, &source), "list.txt");
    assert_fails(
        context, open_list("a.bmp 1 2\n", plain, &source),
        "list.txt:1: cannot open a.bmp 1: No such file or directory; the path is 'a.bmp 1', "
        "all that stands before the last blanks");
    assert_fails(context, open_list("'a.bmp' 2\n", plain, &source), "the path is ''a.bmp''");
    assert_fails(context, open_list("a.bmp,2\n", plain, &source), "the path is 'a.bmp,2'");
    other.new_height = 5;
    assert_fails(context, open_list("a.bmp 3\n", other, &source), "give both or neither");
    other = plain;
    other.root_folder = "nowhere/";
    assert_fails(context, open_list("a.bmp 3\n", other, &source), "nowhere/a.bmp");
    assert_fails(
        context, open_list("a.bmp 1\na.bmp 3.6\n", plain, &source),
        "list.txt:2: labels of images are whole numbers that fit in 32 bits, but this one is 3.6");
    assert_fails(context, open_list("a.bmp 4294967296\n", plain, &source), "fit in 32 bits");
    assert_ok(context, open_list("a.bmp", plain, &source)); /* no label: 0 */
    qf_data_source_close(&source);
}

static void windows_that_fail(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "is empty"},
        {" \n", "names no images"},
        {"0\na.bmp", "windows.txt:1: expected #"},
        {"# 0\na.bmp\n3\n4\n4\n1\n1 0.9 0 0 2", "expected a window's y2"},
        {"# 0\na.bmp\n3\n4\n4\n1\n0 0.9 0 0 2 2", "expected 1 or more"},
        {"# 0\na.bmp\n3\n4\n4\n1\n1 0.9 3 0 2 2", "windows.txt:7"},
        {"# 0\na.bmp\n1\n4\n4\n0", "3"},
        {"# 7\na.bmp\n3\n4\n4\n0", "numbered from 0"},
    };
    Caffe__WindowDataParameter param = CAFFE__WINDOW_DATA_PARAMETER__INIT;
    qf_window_list list;
    param.source = "windows.txt";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text("windows.txt", bad[i].text);
        assert_fails(context, qf_window_list_read(context, &param, &list), bad[i].part);
    }
}

/* ---- nets ---- */

static qf_status build(const char *text, qf_net **net)
{
    put_text("net.prototxt", text);
    return qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, net);
}

static void put_mean(int channels, int height, int width)
{
    Caffe__BlobProto blob = CAFFE__BLOB_PROTO__INIT;
    float values[64] = {0};
    blob.has_num = blob.has_channels = blob.has_height = blob.has_width = true;
    blob.num = 1;
    blob.channels = channels;
    blob.height = height;
    blob.width = width;
    blob.data = values;
    blob.n_data = (size_t)(channels * height * width);
    assert_ok(context, qf_wire_write(context, "mean.binaryproto", &blob, 0644));
}

#define DATA_NET(source, transform)                                                                \
    "layer { name: 'd' type: 'Data' top: 'data' top: 'label' data_param { source: '" source        \
    "' batch_size: 3 backend: LMDB } transform_param { " transform " } }"

static void transforms_that_do_not_fit(void **state)
{
    (void)state;
    qf_net *net;
    test_write_store("db", QF_STORE_LMDB, 3);
    put_mean(3, 3, 4);
    assert_fails(context, build(DATA_NET("db", "mean_file: 'mean.binaryproto'"), &net),
                 "the mean file mean.binaryproto is of 3 x 3 x 4, an image of 1 x 3 x 4");
    assert_fails(context, build(DATA_NET("db", "mean_file: 'nowhere'"), &net), "nowhere");
    assert_fails(context, build(DATA_NET("db", "mean_value: 1 mean_value: 2"), &net),
                 "2 mean_value");
    assert_fails(context, build(DATA_NET("db", "crop_size: 4"), &net), "crop_size 4");
    assert_fails(context, build(DATA_NET("db", "force_gray: true force_color: true"), &net),
                 "give one");
    assert_fails(context, build(DATA_NET("elsewhere", ""), &net), "elsewhere");
    put_mean(1, 0, 0);
    assert_fails(context, build(DATA_NET("db", "mean_file: 'mean.binaryproto'"), &net),
                 "not a mean file");
}

/* HDF5Data keeps its place in files and orders. */
static void hdf5_goes_on(void **state)
{
    (void)state;
    static const char write[] =
        "layer { name: 'x' type: 'DummyData' top: 'x' top: 'y' dummy_data_param { shape { dim: 4 "
        "dim: 2 } shape { dim: 4 } data_filler { type: 'gaussian' } data_filler { type: 'uniform' "
        "max: 9 } } } layer { name: 'o' type: 'HDF5Output' bottom: 'x' bottom: 'y' "
        "hdf5_output_param { file_name: '%s' } }";
    static const char read[] =
        "layer { name: 'h' type: 'HDF5Data' top: 'data' top: 'label' hdf5_data_param { source: "
        "'h5.txt' batch_size: 3 shuffle: true } }";
    enum { PASSES = 9, VALUES = 3 };
    for (int i = 0; i < 2; i++) {
        char name[16];
        qf_net *net;
        snprintf(name, sizeof name, "%d.h5", i);
        char *text = test_format(write, name);
        assert_ok(context, build(text, &net));
        for (int k = 0; k <= i; k++) /* 4 rows, and 8 */
            assert_ok(context, qf_net_forward(net, NULL));
        qf_net_destroy(net);
        qf_free(text);
    }
    put_text("h5.txt", "0.h5\r\n1.h5\n");
    qf_net *nets[2];
    qf_data_state place;
    float labels[2][PASSES * VALUES];
    assert_ok(context, build(read, &nets[0]));
    assert_ok(context, build(read, &nets[1]));
    for (int n = 0; n < 2; n++) {
        qf_layer *layer = nets[n]->layers[0];
        for (int i = 0; n == 0 && i < 7; i++)
            assert_ok(context, qf_net_forward(nets[n], NULL));
        if (n == 0)
            layer->type->data_state(layer, &place);
        else
            assert_ok(context, layer->type->data_restore(layer, &place));
        for (int i = 0; i < PASSES; i++) {
            const float *values;
            assert_ok(context, qf_net_forward(nets[n], NULL));
            assert_ok(context, qf_blob_data(qf_net_blob(nets[n], "label"), &values));
            memcpy(labels[n] + VALUES * i, values, VALUES * sizeof *values);
        }
    }
    assert_memory_equal(labels[0], labels[1], sizeof labels[0]);
    place.part = 2;
    assert_fails(context, nets[1]->layers[0]->type->data_restore(nets[1]->layers[0], &place),
                 "2 files");
    qf_net_destroy(nets[0]);
    qf_net_destroy(nets[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitmaps_are_decoded),
        cmocka_unit_test(stopped_runs_go_on),
        cmocka_unit_test(shuffling_loses_nothing),
        cmocka_unit_test(databases_are_shuffled),
        cmocka_unit_test(lists_that_fail),
        cmocka_unit_test(windows_that_fail),
        cmocka_unit_test(transforms_that_do_not_fit),
        cmocka_unit_test(hdf5_goes_on),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
