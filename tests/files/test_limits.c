/* Limits on what files may ask for: each can be set, and each reader that it concerns refuses what
 * is beyond it with a sentence that says how to raise it. */
#include "data/images/image_encode.h"
#include "data/stores/hdf5_array.h"
#include "data/stores/hdf5_writer.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "model/record.h"
#include "toolkit/config/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0644));
}

static void put_hdf5(void)
{
    const float values[12] = {0};
    qf_hdf5_writer writer;
    qf_status status = qf_hdf5_create(context, "data.h5", &writer);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "data", (int[]){3, 4}, 2, values);
    if (status == QF_OK)
        status = qf_hdf5_put_text(&writer, "text", "a text of some length");
    assert_ok(context, qf_hdf5_finish(&writer, status));
}

static void put_idx(void)
{
    const char images[] = "\0\0\010\003\0\0\0\001\0\0\0\002\0\0\0\002abcd";
    const char labels[] = "\0\0\010\001\0\0\0\001\007";
    assert_ok(context, qf_file_write(context, "images", images, sizeof images - 1, 0644));
    assert_ok(context, qf_file_write(context, "labels", labels, sizeof labels - 1, 0644));
}

/* A file of 200 000 empty layers: 600 kB that want 200 MB. */
static void put_empty_layers(void)
{
    enum { LAYERS = 200 * 1000 };
    qf_buffer text = {0}, wire = {0};
    for (int i = 0; i < LAYERS; i++) {
        qf_buffer_append(&text, "layer{}", 7);
        qf_buffer_append(&wire, "\xa2\x06", 3); /* field 100, 0 bytes */
    }
    assert_ok(context, qf_file_write(context, "empty.prototxt", text.data, text.size, 0644));
    assert_ok(context, qf_file_write(context, "empty.caffemodel", wire.data, wire.size, 0644));
    qf_buffer_release(&text);
    qf_buffer_release(&wire);
}

/* Pixels 5 wide and 4 high, 3 channels, as a file and in databases. */
static void put_images(void)
{
    uint8_t pixels[60] = {1, 2, 3};
    const qf_image image = {.channels = 3,
                            .height = 4,
                            .width = 5,
                            .bytes = pixels,
                            .channel_step = 1,
                            .row_step = 15,
                            .pixel_step = 3};
    qf_buffer file = {0};
    assert_ok(context, qf_image_encode(context, &image, "png", &file));
    assert_ok(context, qf_file_write(context, "image.png", file.data, file.size, 0644));
    qf_buffer_release(&file);
    put("images.txt", "image.png 1\nimage.png 2\n");
    const qf_imageset_options raw = {.size = sizeof raw, .backend = "lmdb"},
                              encoded = {.size = sizeof raw, .backend = "lmdb", .encoded = true};
    assert_ok(context, qf_convert_imageset(context, "images.txt", "", "raw_lmdb", &raw));
    assert_ok(context, qf_convert_imageset(context, "images.txt", "", "encoded_lmdb", &encoded));
    assert_ok(context, qf_compute_image_mean(context, "raw_lmdb", "mean.binaryproto"));
}

#define PRODUCT                                                                                    \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 8 } } } "         \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "         \
    "num_output: 3 } } "

static int set_up(void **state)
{
    test_start_in_folder(state);
    put_hdf5();
    put_idx();
    put_empty_layers();
    put_images();
    put("hdf5.txt", "data.h5\ndata.h5\n");
    put("windows.txt", "# 0\nimage.png\n3 4 5\n3\n1 0.9 0 0 2 2\n1 0.9 1 1 3 3\n1 0.1 1 1 3 3\n");
    put("product.prototxt", PRODUCT);
    qf_net *net;
    assert_ok(context, qf_net_create(context, "product.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "product.caffemodel"));
    qf_net_destroy(net);
    put("config.cfg", "retrain_data_quant_config {} retrain_weight_quant_config {}");
    put("record.txt", "record { key: 'ip' value { scale_d: 1 } }");
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "product.prototxt",
                                                      "product.caffemodel", "config.cfg"));
    return 0;
}

/* ---- readers: what they read is named by their argument ---- */

static qf_status build(qf_context *strict, const char *path)
{
    qf_net *net;
    qf_status status = qf_net_create(strict, path, QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_forward(net, NULL);
    qf_net_destroy(net);
    return status;
}

static qf_status net_of(qf_context *strict, const char *text)
{
    put("net.prototxt", text);
    return build(strict, "net.prototxt");
}

static qf_status weights(qf_context *strict, const char *path)
{
    qf_weights read;
    qf_status status = qf_weights_read(strict, path, &read);
    qf_weights_release(&read);
    return status;
}

static qf_status message(qf_context *strict, const char *path)
{
    Caffe__NetParameter *read;
    qf_status status = qf_net_param_read_binary(strict, path, &read);
    qf_message_free(read);
    return status;
}

static qf_status image(qf_context *strict, const char *path)
{
    qf_image read;
    qf_status status = qf_image_read(strict, path, QF_COLOR_FORCED, &read);
    qf_image_release(&read);
    return status;
}

static qf_status idx(qf_context *strict, const char *database)
{
    return qf_convert_mnist(strict, "images", "labels", database, "lmdb");
}

static qf_status record(qf_context *strict, const char *path)
{
    qf_record *read;
    qf_status status = qf_record_read(strict, path, &read);
    qf_message_free(read);
    return status;
}

static qf_status definition(qf_context *strict, const char *path)
{
    Caffe__NetParameter *net, *stored;
    qf_config config = {0};
    assert_ok(context, qf_net_param_read(context, "product.prototxt", &net));
    assert_ok(context, qf_net_param_read_binary(context, "product.caffemodel", &stored));
    assert_ok(context, qf_config_defaults(context, net, stored, &config));
    qf_status status = strstr(path, ".json")
                           ? qf_config_read(strict, net, path, &config)
                           : qf_config_apply_definition(strict, net, path, &config);
    qf_config_release(&config);
    qf_message_free(net);
    qf_message_free(stored);
    return status;
}

static qf_status hdf5_text(qf_context *strict, const char *path)
{
    qf_buffer text = {0};
    int64_t file;
    qf_status status = qf_hdf5_open(strict, path, &file);
    if (status == QF_OK)
        status = qf_hdf5_read_text(strict, file, "text", &text);
    qf_hdf5_close(file);
    qf_buffer_release(&text);
    return status;
}

#define DATA(source, more)                                                                         \
    "layer { name: 'd' type: 'Data' top: 'd' data_param { source: '" source                        \
    "' batch_size: 2 backend: LMDB } " more " }"
#define IMAGES(more)                                                                               \
    "layer { name: 'd' type: 'ImageData' top: 'd' top: 'l' image_data_param { source: "            \
    "'images.txt' batch_size: 2 " more " } }"
#define WINDOWS                                                                                    \
    "layer { name: 'd' type: 'WindowData' top: 'd' top: 'l' transform_param { crop_size: 2 } "     \
    "window_data_param { source: 'windows.txt' batch_size: 4 } }"
#define HDF5                                                                                       \
    "layer { name: 'd' type: 'HDF5Data' top: 'data' hdf5_data_param { source: 'hdf5.txt' "         \
    "batch_size: 2 } }"
#define LSTM                                                                                       \
    "layer { name: 'in' type: 'Input' top: 'x' top: 'c' input_param { shape { dim: 4 dim: 1 "      \
    "dim: 2 } shape { dim: 4 dim: 1 } } } layer { name: 'r' type: 'LSTM' bottom: 'x' bottom: 'c' " \
    "top: 'r' recurrent_param { num_output: 2 } }"

typedef struct row {
    const char *limit, *value; /* the largest that refuses */
    qf_status (*read)(qf_context *strict, const char *argument);
    const char *argument;
    const char *enough; /* a value that suffices; NULL: the default does not, either */
} row;

static const row rows[] = {
    {"file_bytes", "20", build, "product.prototxt", "1K"},
    {"file_bytes", "20", weights, "product.caffemodel", "1K"},
    {"file_bytes", "20", message, "product.caffemodel", "1K"},
    {"file_bytes", "20", definition, "config.json", "1K"},
    {"file_bytes", "10", definition, "config.cfg", "1K"},
    {"file_bytes", "20", record, "record.txt", "1K"},
    {"file_bytes", "20", image, "image.png", "1K"},
    {"file_bytes", "19", idx, "digits_lmdb", "20"},
    {"file_bytes", "20", hdf5_text, "data.h5", "1K"},
    {"file_bytes", "200", net_of,
     DATA("raw_lmdb", "transform_param { mean_file: 'mean.binaryproto' }"), "1K"},
    {"message_nesting", "2", build, "product.prototxt", "3"},
    {"message_growth", "1", build, "empty.prototxt", NULL},
    {"message_growth", "1", message, "empty.caffemodel", NULL},
    {"message_growth", "1", weights, "empty.caffemodel", NULL},
    {"tensor_elements", "23", build, "product.prototxt", "24"},
    {"tensor_elements", "119", net_of, DATA("raw_lmdb", ""), "120"},
    {"tensor_elements", "11", net_of, HDF5, "12"},
    {"net_bytes", "100", build, "product.prototxt", "1K"},
    {"net_bytes", "47", net_of, HDF5, "48"},
    {"net_layers", "1", build, "product.prototxt", "2"},
    {"net_layers", "10", net_of, LSTM, "100"},
    {"time_steps", "3", net_of, LSTM, "4"},
    {"datum_channels", "2", net_of, DATA("raw_lmdb", ""), "3"},
    {"datum_values", "59", net_of, DATA("raw_lmdb", ""), "60"},
    {"image_pixels", "19", image, "image.png", "20"},
    {"image_pixels", "19", net_of, DATA("encoded_lmdb", ""), "20"},
    {"image_pixels", "19", net_of, IMAGES(""), "20"},
    {"image_pixels", "24", net_of, IMAGES("new_height: 5 new_width: 5"), "25"},
    {"image_pixels", "19", net_of, WINDOWS, "20"},
    {"list_lines", "1", net_of, IMAGES(""), "2"},
    {"list_lines", "1", net_of, WINDOWS, "2"},
    {"list_lines", "1", net_of, HDF5, "2"},
};
enum { ROWS = sizeof rows / sizeof *rows };

static qf_context *with_limit(const char *name, const char *value)
{
    qf_context *strict = test_context();
    char *list = test_format("%s=%s", name, value);
    assert_ok(strict, qf_context_set_limits(strict, list));
    qf_free(list);
    return strict;
}

static void every_reader_keeps_its_limits(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        const row *r = &rows[i];
        qf_context *strict = with_limit(r->limit, r->value);
        char *advice = test_format("raise it with --limit %s=", r->limit);
        if (r->read(strict, r->argument) == QF_OK || !strstr(qf_error_text(strict), advice))
            fail_msg("%s=%s, %s: %s", r->limit, r->value, r->argument, qf_error_text(strict));
        qf_context_destroy(strict);
        if (r->enough) {
            strict = with_limit(r->limit, r->enough);
            if (r->read(strict, r->argument) != QF_OK)
                fail_msg("%s=%s, %s: %s", r->limit, r->enough, r->argument, qf_error_text(strict));
            qf_context_destroy(strict);
        }
        qf_free(advice);
    }
}

/* A new limit gets a row above and one in the document. */
static void every_limit_is_shown(void **state)
{
    (void)state;
    uint64_t initial;
    const char *name, *unit;
    qf_buffer document = {0};
    assert_ok(context, qf_file_read(context, QAFFE_SOURCE_DIR "/docs/limits.md", &document));
    for (int i = 0; (name = qf_limit_describe(i, &initial, &unit)); i++) {
        int found = 0;
        for (int k = 0; k < ROWS; k++)
            found += strcmp(rows[k].limit, name) == 0;
        char *line = test_format("\n| `%s` | ", name);
        if (!found || !strstr(qf_buffer_text(&document), line))
            fail_msg("%s: rows: %d, document: %s", name, found,
                     strstr(qf_buffer_text(&document), line) ? "yes" : "no");
        qf_free(line);
    }
    qf_buffer_release(&document);
}

static void limits_are_read(void **state)
{
    (void)state;
    qf_context *strict = test_context();
    assert_fails(strict, qf_context_set_limit(strict, "pixels", 1), "image_pixels");
    assert_fails(strict, qf_context_set_limit(strict, "image_pixels", 0), "1 to 2147483647");
    assert_fails(strict, qf_context_set_limits(strict, "image_pixels"), "NAME=NUMBER");
    assert_fails(strict, qf_context_set_limits(strict, "image_pixels=9X"), "NAME=NUMBER");
    assert_fails(strict, qf_context_set_limits(strict, "image_pixels=-1"), "NAME=NUMBER");
    assert_fails(strict, qf_context_set_limits(strict, "image_pixels=99999999999G"), "NAME=NUMBER");
    assert_ok(strict, qf_context_set_limits(strict, ",image_pixels=1K,,list_lines=19,"));
    assert_int_equal(strict->limits[QF_LIMIT_IMAGE_PIXELS], 1024);
    assert_ok(strict, qf_context_set_limit(strict, "image_pixels", 19));
    assert_fails(strict, image(strict, "image.png"),
                 "20 pixels; the limit image_pixels is 19 (if the file is right, raise it with "
                 "--limit image_pixels=20");
    qf_context_destroy(strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reader_keeps_its_limits),
        cmocka_unit_test(every_limit_is_shown),
        cmocka_unit_test(limits_are_read),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
