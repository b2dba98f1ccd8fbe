/* What a user names as data feeds nets with Input layers and with layers that read data. */
#include "data/images/image_encode.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "net/net.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"

#include <string.h>

#define PRODUCT                                                                                    \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { "          \
    "num_output: 2 } }"
#define INPUT(channels, height, width)                                                             \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: " #channels       \
    " dim: " #height " dim: " #width " } } }" PRODUCT
#define TWO_INPUTS                                                                                 \
    "layer { name: 'in' type: 'Input' top: 'x' top: 'z' input_param { shape { dim: 2 dim: 1 dim: " \
    "2 dim: 2 } shape { dim: 1 dim: 3 } } } " PRODUCT                                              \
    "layer { name: 's' type: 'Silence' bottom: 'z' }"

/* Grey, the left half of one value, the right half of another. */
static void write_image(const char *path, int size, uint8_t left, uint8_t right)
{
    uint8_t *bytes = qf_alloc((size_t)(size * size), 1);
    qf_buffer file = {0};
    for (int i = 0; i < size * size; i++)
        bytes[i] = i % size < size / 2 ? left : right;
    const qf_image image = {.channels = 1,
                            .height = size,
                            .width = size,
                            .row_step = (size_t)size,
                            .pixel_step = 1,
                            .channel_step = 1,
                            .bytes = bytes};
    assert_ok(context, qf_image_encode(context, &image, "png", &file));
    assert_ok(context, qf_file_write(context, path, file.data, file.size, 0644));
    qf_buffer_release(&file);
    qf_free(bytes);
}

static int set_up(void **state)
{
    static const float first[] = {1, 2, 3, 4, 5, 6, 7, 8}, more[] = {7, 8, 9};
    qf_net *net;
    test_start_in_folder(state);
    write_image("set/a/1.png", 4, 10, 30);
    write_image("set/b/1.png", 4, 40, 60);
    write_image("set/b/2.png", 4, 70, 90);
    test_write_text(context, "set/list.txt", "b/1.png 7\na/1.png 3\n");
    assert_ok(context, qf_file_write(context, "raw/x/0.bin", first, sizeof first, 0644));
    assert_ok(context, qf_file_write(context, "raw/z/0.bin", more, sizeof more, 0644));
    test_write_text(context, "grey.prototxt", INPUT(1, 4, 4));
    test_write_text(context, "middle.prototxt", INPUT(1, 2, 2));
    test_write_text(context, "two.prototxt", TWO_INPUTS);
    test_write_text(context, "old.prototxt",
                    "layer { name: 'd' type: 'Data' top: 'x' include { phase: TEST } data_param { "
                    "source: 'gone_lmdb' batch_size: 2 } transform_param { scale: 0.5 } }" PRODUCT);
    assert_ok(context, qf_convert_images(context, "set/list.txt", "set", -1, "set_lmdb"));
    for (int i = 0; i < 2; i++) {
        const char *model = i ? "middle.prototxt" : "grey.prototxt";
        assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
        assert_ok(context, qf_net_save_weights(net, i ? "middle.caffemodel" : "w.caffemodel"));
        qf_net_destroy(net);
    }
    return 0;
}

static qf_data_options options_of(const char *source)
{
    qf_data_options options = {.size = sizeof options};
    qf_data_set_defaults(&options);
    options.source = source;
    return options;
}

/* The first and the last value of each of the two items in the batch. */
static void check_batch(const qf_data_options *options, const char *model, const char *weights,
                        const float expected[4])
{
    qf_net *net;
    const float *x;
    assert_ok(context, qf_fed_net_open(context, options, model, weights, &net));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_blob *blob = qf_net_blob(net, "x");
    assert_int_equal(qf_blob_dimension(blob, 0), 2);
    const size_t count = qf_blob_count(blob) / 2;
    assert_ok(context, qf_blob_data(blob, &x));
    for (size_t i = 0; i < 4; i++) {
        const float value = x[i / 2 * count + i % 2 * (count - 1)];
        if (value != expected[i])
            fail_msg("%s of %s: value %zu is %g, not %g", model, options->source, i, (double)value,
                     (double)expected[i]);
    }
    assert_int_equal(qf_net_output_count(net), 1); /* no labels beside it */
    qf_net_destroy(net);
}

static void images_take_the_place_of_an_input(void **state)
{
    (void)state;
    qf_data_options options = options_of("set");
    check_batch(&options, "grey.prototxt", "w.caffemodel", (float[]){10, 30, 40, 60});
    options = options_of("set/list.txt");
    check_batch(&options, "grey.prototxt", "w.caffemodel", (float[]){40, 60, 10, 30});
    options = options_of("set_lmdb");
    check_batch(&options, "grey.prototxt", "w.caffemodel", (float[]){40, 60, 10, 30});
    options.scale = 0.5;
    options.mean_values = "10";
    check_batch(&options, "grey.prototxt", "w.caffemodel", (float[]){15, 25, 0, 10});
}

/* The middle of 4 x 4; or 2 x 2 made of it, and of other sizes the middle. */
static void images_fit_the_input(void **state)
{
    (void)state;
    qf_data_options options = options_of("set_lmdb");
    check_batch(&options, "middle.prototxt", "middle.caffemodel", (float[]){40, 60, 10, 30});
    options = options_of("set");
    options.resize = 8; /* its middle is of the seam, between the two */
    check_batch(&options, "middle.prototxt", "middle.caffemodel", (float[]){15, 25, 45, 55});
}

static void raw_batches_take_the_place_of_inputs(void **state)
{
    (void)state;
    qf_net *net;
    const float *z;
    qf_data_options options = options_of("raw/x");
    check_batch(&options, "middle.prototxt", "middle.caffemodel", (float[]){1, 4, 5, 8});
    options = options_of("x=raw/x,z=raw/z");
    check_batch(&options, "two.prototxt", "middle.caffemodel", (float[]){1, 4, 5, 8});
    assert_ok(context,
              qf_fed_net_open(context, &options, "two.prototxt", "middle.caffemodel", &net));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "z"), &z));
    assert_true(z[0] == 7 && z[2] == 9);
    assert_ok(context, qf_fed_net_require(net, 1));
    assert_fails(context, qf_fed_net_require(net, 2),
                 "The number of given data batches is not enough to run calibration with the given "
                 "batch_num. Total batches found: 1, but trying to load: 2.");
    qf_net_destroy(net);
}

/* Its transformations stay. */
static void layers_read_something_else(void **state)
{
    (void)state;
    qf_data_options options = options_of("set_lmdb");
    check_batch(&options, "old.prototxt", "w.caffemodel", (float[]){20, 30, 5, 15});
}

static void fails(const char *source, const char *model, const char *part)
{
    qf_net *net;
    const qf_data_options options = options_of(source);
    assert_fails(context, qf_fed_net_open(context, &options, model, "w.caffemodel", &net), part);
    assert_null(net);
}

static void data_that_do_not_fit(void **state)
{
    (void)state;
    fails(NULL, "grey.prototxt", "has an Input layer and no data of its own");
    fails("nowhere", "grey.prototxt", "cannot read the data in nowhere: No such file");
    fails("set", "two.prototxt", "has several inputs, which only .bin files can feed");
    fails("x=raw/x", "two.prototxt", "no folder is named for the input 'z'");
    fails("x=raw/x,z=raw/z,q=raw/z", "two.prototxt", "which two.prototxt does not have");
    fails("x=raw/x,z", "two.prototxt", "'z' is not INPUT=FOLDER");
    fails("raw/x", "old.prototxt", "old.prototxt has no Input layer, whose shape");
    fails(NULL, "old.prototxt", "gone_lmdb");
    qf_net *net;
    qf_data_options options = options_of("raw/x");
    options.scale = 2;
    assert_fails(context,
                 qf_fed_net_open(context, &options, "middle.prototxt", "middle.caffemodel", &net),
                 "scale and mean are for images");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_take_the_place_of_an_input),
        cmocka_unit_test(images_fit_the_input),
        cmocka_unit_test(raw_batches_take_the_place_of_inputs),
        cmocka_unit_test(layers_read_something_else),
        cmocka_unit_test(data_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
