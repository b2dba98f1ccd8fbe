/* Folders as sources of data: images, whose folders are their labels, and raw batches. */
#include "data/images/image_encode.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "net/net.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- images ---- */

/* A grey image of one value. */
static void write_image(const char *path, uint8_t value)
{
    uint8_t bytes[6];
    memset(bytes, value, sizeof bytes);
    const qf_image image = {.channels = 1,
                            .height = 2,
                            .width = 3,
                            .row_step = 3,
                            .pixel_step = 1,
                            .channel_step = 1,
                            .bytes = bytes};
    qf_buffer file = {0};
    assert_ok(context, qf_image_encode(context, &image, "png", &file));
    assert_ok(context, qf_file_write(context, path, file.data, file.size, 0644));
    qf_buffer_release(&file);
}

#define IMAGES(settings)                                                                           \
    "layer { name: 'd' type: 'ImageData' top: 'x' top: 'y' image_data_param { is_color: "          \
    "false " settings " } }"

static qf_status open_text(const char *text, qf_net **out)
{
    return qf_net_create_from_memory(context, text, strlen(text), QF_TEST, 0, NULL, 0, out);
}

static float first_of(qf_net *net, const char *blob, size_t index)
{
    const float *values;
    assert_ok(context, qf_blob_data(qf_net_blob(net, blob), &values));
    return values[index];
}

static void images_come_in_turn_from_each_folder(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        uint8_t value;
    } files[] = {{"all/b/2.png", 21}, {"all/a/one two.png", 10}, {"all/b/deep/9.PNG", 22},
                 {"all/b/1.png", 20}, {"all/c/x.png", 30},       {"all/a/z.png", 11}};
    static const int values[] = {10, 20, 30, 11, 21, 22}, labels[] = {0, 1, 2, 0, 1, 1};
    qf_net *net;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        write_image(files[i].path, files[i].value);
    test_write_text(context, "all/b/notes.txt", "no image");
    test_write_text(context, "all/.hidden/1.png", "no image");
    assert_int_equal(symlink("..", "all/b/again"), 0); /* in circles */
    assert_ok(context, open_text(IMAGES("source: 'all' batch_size: 6"), &net));
    assert_ok(context, qf_net_forward(net, NULL));
    for (size_t i = 0; i < 6; i++) {
        assert_true(first_of(net, "x", 6 * i) == (float)values[i]);
        assert_true(first_of(net, "y", i) == (float)labels[i]);
    }
    qf_net_destroy(net);
}

static void folders_without_images(void **state)
{
    (void)state;
    qf_net *net;
    test_write_text(context, "none/notes.txt", "no image");
    assert_fails(context, open_text(IMAGES("source: 'none' batch_size: 1"), &net),
                 "none is a directory without images");
    assert_fails(context,
                 open_text(IMAGES("source: 'none' root_folder: '/x/' batch_size: 1"), &net),
                 "there can be no root_folder");
    test_write_text(context, "bad/1.png", "no image");
    assert_fails(context, open_text(IMAGES("source: 'bad' batch_size: 1"), &net), "bad/1.png");
}

/* ---- raw batches ---- */

#define RAW(settings) "layer { name: 'd' type: 'RawData' top: 'x' raw_data_param { " settings " } }"

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    assert_ok(context, qf_file_write(context, path, bytes, size, 0644));
}

static void batches_come_by_name(void **state)
{
    (void)state;
    static const float first[] = {1, 2, -3, 4}, second[] = {5, 6, 7, 8};
    qf_net *net;
    uint64_t items;
    int batch;
    write_bytes("raw/10.bin", first, sizeof first);
    write_bytes("raw/9.bin", second, sizeof second);
    test_write_text(context, "raw/readme.txt", "by name, as text");
    assert_ok(context, open_text(RAW("source: 'raw' shape { dim: 2 dim: 2 }"), &net));
    for (int pass = 0; pass < 3; pass++) {
        assert_ok(context, qf_net_forward(net, NULL));
        for (size_t i = 0; i < 4; i++)
            assert_true(first_of(net, "x", i) == (pass == 1 ? second : first)[i]);
    }
    const qf_layer *layer = net->layers[0];
    assert_ok(context, layer->type->data_round(net->layers[0], &items, &batch));
    assert_int_equal(items, 2);
    assert_int_equal(batch, 1);
    qf_net_destroy(net);
}

/* 1, 0 and 3 in every type that NumPy names; not 3 but 1 where it is whether or not. */
static void every_type_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t size;
    } types[] = {
        {"float64", "\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08\x40", 24},
        {"float32", "\0\0\x80\x3f\0\0\0\0\0\0\x40\x40", 12},
        {"float16", "\0\x3c\0\0\0\x42", 6},
        {"int8", "\1\0\3", 3},
        {"int16", "\1\0\0\0\3\0", 6},
        {"int32", "\1\0\0\0\0\0\0\0\3\0\0\0", 12},
        {"int64", "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 24},
        {"uint8", "\1\0\3", 3},
        {"uint16", "\1\0\0\0\3\0", 6},
        {"uint32", "\1\0\0\0\0\0\0\0\3\0\0\0", 12},
        {"uint64", "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 24},
        {"bool", "\1\0\3", 3},
    };
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        qf_net *net;
        char *path = test_format("%s/0.bin", types[t].name);
        char *text = test_format(RAW("source: '%s' data_type: '%s' shape { dim: 3 }"),
                                 types[t].name, types[t].name);
        write_bytes(path, types[t].bytes, types[t].size);
        assert_ok(context, open_text(text, &net));
        assert_ok(context, qf_net_forward(net, NULL));
        assert_true(first_of(net, "x", 0) == 1 && first_of(net, "x", 1) == 0);
        assert_true(first_of(net, "x", 2) == (strcmp(types[t].name, "bool") == 0 ? 1 : 3));
        qf_net_destroy(net);
        qf_free(path);
        qf_free(text);
    }
}

static void raw_batches_that_do_not_fit(void **state)
{
    (void)state;
    qf_net *net;
    write_bytes("odd/0.bin", "12345", 5);
    assert_ok(context, open_text(RAW("source: 'odd' shape { dim: 2 }"), &net));
    assert_fails(context, qf_net_forward(net, NULL),
                 "odd/0.bin has 5 bytes, but a batch of 2 values of type float32 has 8");
    qf_net_destroy(net);
    assert_fails(context, open_text(RAW("source: 'odd' shape { dim: 2 } data_type: 'f4'"), &net),
                 "Unsupported data type[f4]!");
    assert_fails(context, open_text(RAW("source: 'odd'"), &net), "raw_data_param has 0 shape");
    assert_fails(context, open_text(RAW("shape { dim: 1 }"), &net), "give a folder for each");
    assert_int_equal(mkdir("without", 0755), 0);
    assert_fails(context, open_text(RAW("source: 'without' shape { dim: 1 }"), &net),
                 "the folder without has no .bin files");
    assert_fails(context, open_text(RAW("source: 'nowhere' shape { dim: 1 }"), &net), "nowhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_come_in_turn_from_each_folder),
        cmocka_unit_test(folders_without_images),
        cmocka_unit_test(batches_come_by_name),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(raw_batches_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
