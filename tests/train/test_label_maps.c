/* DenseImageData, ImageSegData, ImageLabelmapData: what is done to an image is done to its labels.
 * In the drawn images the label of a pixel follows from its colour, so each pixel of each batch is
 * checked. */
#include "data/images/image_encode.h"
#include "data/sources/data_source.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

enum { HEIGHT = 6, WIDTH = 8, IMAGES = 5 };

/* Pixel (y, x) of image n is (blue, green, red) = (10 n + y, 20 x, 7), its label 3 y + x + n. */
static int label_of(int n, int y, int x)
{
    return 3 * y + x + n;
}

static void write_image(const char *path, const uint8_t *pixels, int height, int width,
                        int channels)
{
    const qf_image image = {.channels = channels,
                            .height = height,
                            .width = width,
                            .bytes = pixels,
                            .channel_step = 1,
                            .row_step = (size_t)(width * channels),
                            .pixel_step = (size_t)channels};
    qf_buffer file = {0};
    assert_ok(context, qf_image_encode(context, &image, "png", &file));
    assert_ok(context, qf_file_write(context, path, file.data, file.size, 0644));
    qf_buffer_release(&file);
}

static void draw(void)
{
    qf_buffer list = {0};
    for (int n = 0; n < IMAGES; n++) {
        uint8_t pixels[HEIGHT * WIDTH * 3], labels[HEIGHT * WIDTH];
        for (int i = 0; i < HEIGHT * WIDTH; i++) {
            pixels[3 * i] = (uint8_t)(10 * n + i / WIDTH);
            pixels[3 * i + 1] = (uint8_t)(20 * (i % WIDTH));
            pixels[3 * i + 2] = 7;
            labels[i] = (uint8_t)label_of(n, i / WIDTH, i % WIDTH);
        }
        char *image = test_format("i%d.png", n), *map = test_format("l%d.png", n);
        write_image(image, pixels, HEIGHT, WIDTH, 3);
        write_image(map, labels, HEIGHT, WIDTH, 1);
        qf_buffer_print(&list, "%s %s\n", image, map);
        qf_free(image);
        qf_free(map);
    }
    test_write_text(context, "list.txt", qf_buffer_text(&list));
    qf_buffer_release(&list);
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    draw();
    return 0;
}

static qf_net *open_net(qf_phase phase, const char *rest)
{
    char *text = test_format("layer { name: 'data' top: 'data' top: 'label' %s }", rest);
    qf_net *net;
    assert_ok(context, test_net_of(context, text, phase, &net));
    qf_free(text);
    return net;
}

typedef struct pixel {
    float image[3], label;
} pixel;

static pixel pixel_at(qf_net *net, int item, int y, int x)
{
    const qf_shape *shape = qf_blob_shape(qf_net_blob(net, "data"));
    const float *data, *label;
    pixel p;
    assert_ok(context, qf_blob_data(qf_net_blob(net, "data"), &data));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "label"), &label));
    const int area = shape->dim[2] * shape->dim[3], at = y * shape->dim[3] + x;
    for (int c = 0; c < 3; c++)
        p.image[c] = data[(item * 3 + c) * area + at];
    p.label = label[item * area + at];
    return p;
}

/* Every pixel of a batch has its own label; *flipped counts mirrored items, *moved those whose crop
 * does not begin in the corner. */
static void check_batch(qf_net *net, int *flipped, int *moved)
{
    const qf_shape *shape = qf_blob_shape(qf_net_blob(net, "data"));
    for (int item = 0; item < shape->dim[0]; item++) {
        for (int y = 0; y < shape->dim[2]; y++)
            for (int x = 0; x < shape->dim[3]; x++) {
                const pixel p = pixel_at(net, item, y, x);
                const int n = (int)p.image[0] / 10, row = (int)p.image[0] % 10;
                assert_float_equal(p.label, (float)label_of(n, row, (int)roundf(p.image[1] / 20)),
                                   0);
            }
        const bool mirrored =
            pixel_at(net, item, 0, 0).image[1] > pixel_at(net, item, 0, 1).image[1];
        *flipped += mirrored;
        *moved += (int)pixel_at(net, item, 0, 0).image[0] % 10 != 0;
    }
}

static void run(qf_phase phase, const char *rest, int passes, int *flipped, int *moved)
{
    qf_net *net = open_net(phase, rest);
    *flipped = *moved = 0;
    for (int pass = 0; pass < passes; pass++) {
        test_forward(context, net);
        check_batch(net, flipped, moved);
    }
    qf_net_destroy(net);
}

static void same_for_both(void **state)
{
    int flipped, moved;
    (void)state;
    run(QF_TRAIN,
        "type: 'DenseImageData' dense_image_data_param { source: 'list.txt' batch_size: 2 }", 4,
        &flipped, &moved);
    assert_int_equal(flipped + moved, 0);
    run(QF_TRAIN,
        "type: 'DenseImageData' dense_image_data_param { source: 'list.txt' batch_size: 3 shuffle: "
        "true mirror: true crop_height: 3 crop_width: 5 }",
        10, &flipped, &moved);
    assert_in_range(flipped, 5, 25);
    assert_in_range(moved, 5, 29);
    run(QF_TRAIN,
        "type: 'ImageSegData' transform_param { mirror: true crop_size: 4 } image_data_param { "
        "source: 'list.txt' batch_size: 3 label_type: PIXEL }",
        10, &flipped, &moved);
    assert_in_range(flipped, 5, 25);
    assert_in_range(moved, 5, 29);
    run(QF_TEST,
        "type: 'ImageSegData' transform_param { crop_size: 4 } image_data_param { source: "
        "'list.txt' "
        "batch_size: 5 label_type: PIXEL }",
        2, &flipped, &moved);
    assert_int_equal(moved, 10); /* from the middle, row 1 */
}

/* Larger by a whole factor, each label is there so many times, and none is mixed. */
static void resized(void **state)
{
    (void)state;
    qf_net *net = open_net(QF_TEST, "type: 'DenseImageData' dense_image_data_param { source: "
                                    "'list.txt' batch_size: 1 new_height: 12 new_width: 24 }");
    test_forward(context, net);
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 24; x++)
            assert_float_equal(pixel_at(net, 0, y, x).label, (float)label_of(0, y / 2, x / 3), 0);
    qf_net_destroy(net);
    net = open_net(QF_TRAIN, "type: 'ImageSegData' transform_param { scale_factors: 2 } "
                             "image_data_param { source: 'list.txt' label_type: PIXEL }");
    test_forward(context, net);
    assert_int_equal(qf_blob_shape(qf_net_blob(net, "label"))->dim[2], 12);
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 16; x++)
            assert_float_equal(pixel_at(net, 0, y, x).label, (float)label_of(0, y / 2, x / 2), 0);
    qf_net_destroy(net);
}

/* A crop larger than the image: mean behind it, which is 0, ignored labels, and its own extent. */
static void padded(void **state)
{
    (void)state;
    const float *extent;
    qf_net *net = open_net(
        QF_TRAIN, "top: 'extent' type: 'ImageSegData' transform_param { crop_size: 10 "
                  "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5 } image_data_param "
                  "{ source: 'list.txt' label_type: PIXEL ignore_label: 99 }");
    test_forward(context, net);
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 10; x++) {
            const pixel p = pixel_at(net, 0, y, x);
            const bool inside = y < HEIGHT && x < WIDTH;
            assert_float_equal(p.label, (float)(inside ? label_of(0, y, x) : 99), 0);
            assert_float_equal(p.image[0], inside ? ((float)y - 1) / 2 : 0, 0);
            assert_float_equal(p.image[1], inside ? ((float)(20 * x) - 2) / 2 : 0, 0);
            assert_float_equal(p.image[2], inside ? 2 : 0, 0);
        }
    assert_ok(context, qf_blob_data(qf_net_blob(net, "extent"), &extent));
    assert_float_equal(extent[0], HEIGHT, 0);
    assert_float_equal(extent[1], WIDTH, 0);
    qf_net_destroy(net);
}

static void other_labels(void **state)
{
    (void)state;
    test_write_text(context, "numbers.txt", "i0.png 4\ni1.png 17 more\n");
    qf_net *net = open_net(QF_TEST, "type: 'ImageSegData' image_data_param { source: 'numbers.txt' "
                                    "batch_size: 2 }");
    test_forward(context, net);
    assert_float_equal(pixel_at(net, 0, 3, 3).label, 4, 0);
    assert_float_equal(pixel_at(net, 1, 5, 7).label, 17, 0);
    qf_net_destroy(net);
    net = open_net(QF_TEST, "type: 'ImageSegData' image_data_param { source: 'numbers.txt' "
                            "label_type: NONE }");
    test_forward(context, net);
    assert_float_equal(pixel_at(net, 0, 3, 3).label, 255, 0);
    qf_net_destroy(net);

    uint8_t edges[HEIGHT * WIDTH];
    for (int i = 0; i < HEIGHT * WIDTH; i++)
        edges[i] = (uint8_t)(i % 2 ? 128 : 127);
    write_image("edges.png", edges, HEIGHT, WIDTH, 1);
    test_write_text(context, "edges.txt", "i0.png edges.png\n");
    net = open_net(QF_TEST, "type: 'ImageLabelmapData' image_data_param { source: 'edges.txt' }");
    test_forward(context, net);
    for (int x = 0; x < WIDTH; x++)
        assert_float_equal(pixel_at(net, 0, 1, x).label, (float)(x % 2), 0);
    qf_net_destroy(net);
}

/* Going back to a place gives the same batches again, shuffled, cut and mirrored. */
static void resumed(void **state)
{
    static const char rest[] =
        "type: 'ImageSegData' transform_param { mirror: true crop_size: 4 scale_factors: 1 "
        "scale_factors: 2 } image_data_param { source: 'list.txt' batch_size: 2 shuffle: true "
        "label_type: PIXEL }";
    (void)state;
    qf_net *net = open_net(QF_TRAIN, rest), *other = open_net(QF_TRAIN, rest);
    qf_data_state place;
    for (int pass = 0; pass < 4; pass++)
        test_forward(context, net);
    net->layers[0]->type->data_state(net->layers[0], &place);
    assert_ok(context, other->layers[0]->type->data_restore(other->layers[0], &place));
    for (int pass = 0; pass < 6; pass++) {
        const float *a, *b;
        test_forward(context, net);
        test_forward(context, other);
        for (int top = 0; top < 2; top++) {
            assert_ok(context, qf_blob_data(net->layers[0]->top[top], &a));
            assert_ok(context, qf_blob_data(other->layers[0]->top[top], &b));
            assert_memory_equal(a, b, qf_blob_count(net->layers[0]->top[top]) * sizeof *a);
        }
    }
    qf_net_destroy(net);
    qf_net_destroy(other);
}

static void refused(void **state)
{
    static const struct {
        const char *list, *rest, *sentence;
    } rows[] = {
        {"i0.png\n",
         "type: 'DenseImageData' dense_image_data_param { source: 'x.txt' batch_size: 1 }",
         "x.txt:1: expected an image and an image of labels"},
        {"\n", "type: 'DenseImageData' dense_image_data_param { source: 'x.txt' batch_size: 1 }",
         "x.txt names no images"},
        {"i0.png small.png\n",
         "type: 'DenseImageData' dense_image_data_param { source: 'x.txt' batch_size: 1 }",
         "its labels small.png of 2 x 3"},
        {"i0.png l0.png\n",
         "type: 'DenseImageData' dense_image_data_param { source: 'x.txt' batch_size: 1 "
         "crop_width: "
         "4 }",
         "crop_height is 0 and crop_width 4"},
        {"i0.png l0.png\n",
         "type: 'DenseImageData' dense_image_data_param { source: 'x.txt' batch_size: 1 "
         "crop_width: "
         "40 crop_height: 4 }",
         "larger than an image of 6 x 8"},
        {"i0.png 3\n",
         "type: 'ImageData' transform_param { scale_factors: 2 } image_data_param { source: "
         "'x.txt' }",
         "are of layers with a label for each pixel"},
        {"i0.png 300\n", "type: 'ImageSegData' image_data_param { source: 'x.txt' }",
         "a label from 0 to 255"},
        {"i0.png l0.png\n",
         "type: 'ImageSegData' image_data_param { source: 'x.txt' label_type: PIXEL ignore_label: "
         "256 }",
         "ignore_label is 256"},
        {"i0.png l0.png\n",
         "type: 'ImageSegData' transform_param { crop_size: 2 crop_width: 3 } image_data_param { "
         "source: 'x.txt' label_type: PIXEL }",
         "give one"},
    };
    (void)state;
    write_image("small.png", (const uint8_t[]){0, 1, 2, 3, 4, 5}, 2, 3, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text =
            test_format("layer { name: 'data' top: 'data' top: 'label' %s }", rows[i].rest);
        qf_net *net;
        test_write_text(context, "x.txt", rows[i].list);
        assert_fails(context, test_net_of(context, text, QF_TRAIN, &net), rows[i].sentence);
        qf_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_for_both), cmocka_unit_test(resized), cmocka_unit_test(padded),
        cmocka_unit_test(other_labels),  cmocka_unit_test(resumed), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
