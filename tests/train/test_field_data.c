/* ImageGtData: whatever is done to an image, its objects go along, each image here shows a bright
 * rectangle; the labels of cells by another way of counting; a run that was stopped goes on with
 * the same batches; and what the list should not say is a sentence. */
#include "data/images/image_encode.h"
#include "data/sources/data_source.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

enum { HEIGHT = 60, WIDTH = 90, ITEMS = 3, DARK = 10, BRIGHT = 210 };
enum { PART_HEIGHT = 48, PART_WIDTH = 64 };

typedef struct rectangle {
    int left, top, right, bottom; /* the last two are not part of it */
} rectangle;

static rectangle rectangle_of(int i)
{
    return (rectangle){12 + 9 * i, 8 + 5 * i, 44 + 9 * i, 32 + 5 * i};
}

static void write_images(void)
{
    qf_buffer list = {0};
    for (int i = 0; i < ITEMS; i++) {
        static uint8_t pixels[HEIGHT * WIDTH * 3];
        const rectangle r = rectangle_of(i);
        char *name = test_format("i%d.png", i);
        qf_buffer file = {0};
        for (int at = 0; at < HEIGHT * WIDTH * 3; at++) {
            const int x = at / 3 % WIDTH, y = at / 3 / WIDTH;
            const bool inside = x >= r.left && x < r.right && y >= r.top && y < r.bottom;
            pixels[at] = inside ? BRIGHT : DARK;
        }
        const qf_image image = {.channels = 3,
                                .height = HEIGHT,
                                .width = WIDTH,
                                .bytes = pixels,
                                .channel_step = 1,
                                .row_step = WIDTH * 3,
                                .pixel_step = 3};
        assert_ok(context, qf_image_encode(context, &image, "png", &file));
        assert_ok(context, qf_file_write(context, name, file.data, file.size, 0640));
        qf_buffer_print(&list, "# %d\n%s\n3\n%d\n%d\n1\n%d 0 %d %d %d %d\n1\n0 0 4 4\n", i, name,
                        HEIGHT, WIDTH, 1 + i, r.left, r.top, r.right, r.bottom);
        qf_buffer_release(&file);
        qf_free(name);
    }
    assert_ok(context, qf_file_write(context, "list.txt", list.data, list.size, 0640));
    qf_buffer_release(&list);
}

#define LAYER                                                                                      \
    "layer { name: 'd' type: 'ImageGtData' top: 'data' top: 'small' top: 'large' top: 'objects' "  \
    "image_gt_data_param { source: 'list.txt' batch_size: 2 downsample_rate: 8 field_w: 32 "       \
    "field_h: 24 downsample_rate: 16 field_w: 64 field_h: 48 output_gt_boxes: true "

static qf_net *make(const char *rest)
{
    char *text = test_format("%s %s }", LAYER, rest);
    qf_net *net;
    assert_ok(context, test_net_of(context, text, QF_TRAIN, &net));
    qf_free(text);
    return net;
}

static const float *blob(qf_net *net, const char *name)
{
    const float *data;
    assert_ok(context, qf_blob_data(qf_net_blob(net, name), &data));
    return data;
}

/* The box lies around the bright pixels of item i, as far as they are there. */
static void check_bright(const float *image, int height, int width, const float *box)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const float pixel = image[y * width + x];
            const float in_x = fminf((float)x + 0.5f - box[0], box[2] - (float)x - 0.5f);
            const float in_y = fminf((float)y + 0.5f - box[1], box[3] - (float)y - 0.5f);
            const float inside = fminf(in_x, in_y); /* pixels from the border */
            if (inside > 2.5f)
                assert_true(pixel > 180);
            else if (inside < -2.5f)
                assert_true(pixel < 40);
        }
}

static void objects_go_along(void **state)
{
    static const char *const settings[] = {
        "}",
        "resize_width: 110 resize_height: 66 crop_width: 64 crop_height: 48 }",
        "resize_width: 90 resize_height: 60 crop_width: 64 crop_height: 48 shuffle: true "
        "do_multiple_scale: true min_scale: 16 max_scale: 64 min_whaspect: 0.7 max_whaspect: 1.8 } "
        "transform_param { mirror: true }",
    };
    (void)state;
    write_images();
    for (size_t s = 0; s < sizeof settings / sizeof *settings; s++) {
        qf_net *net = make(settings[s]);
        for (int pass = 0; pass < 20; pass++) {
            test_forward(context, net);
            const int height = qf_blob_dimension(qf_net_blob(net, "data"), 2);
            const int width = qf_blob_dimension(qf_net_blob(net, "data"), 3);
            assert_int_equal(width, s == 0 ? WIDTH : PART_WIDTH);
            assert_int_equal(qf_blob_dimension(qf_net_blob(net, "objects"), 0), 2);
            for (int i = 0; i < 2; i++) {
                const float *row = blob(net, "objects") + (size_t)(7 * i);
                assert_float_equal(row[0], i, 0);
                assert_in_range((int)row[5], 1, ITEMS);
                assert_float_equal(row[6], 0, 0); /* its middle is there always */
                check_bright(blob(net, "data") + (size_t)(i * 3 * height * width), height, width,
                             row + 1);
            }
        }
        qf_net_destroy(net);
    }
}

static double covered(const double *a, const double *b)
{
    const double w = fmin(a[2], b[2]) - fmax(a[0], b[0]), h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    return w > 0 && h > 0 ? w * h : 0;
}

/* The labels of one map, of an image that is shown whole with the object's box in pixels. */
static void check_map(const float *map, int stride, const rectangle *r, int label, double least)
{
    const int columns = (int)round((double)WIDTH / stride),
              rows = (int)round((double)HEIGHT / stride);
    const int plane = rows * columns;
    const double object[] = {r->left, r->top, r->right, r->bottom}, unseen[] = {0, 0, 4, 4};
    const double area = (object[2] - object[0]) * (object[3] - object[1]);
    const double fw = stride == 8 ? 32 : 64, fh = stride == 8 ? 24 : 48;
    for (int cell = 0; cell < plane; cell++) {
        const double x = (cell % columns + 0.5) * stride, y = (cell / columns + 0.5) * stride;
        const double field[] = {x - fw / 2, y - fh / 2, x + fw / 2, y + fh / 2};
        const double both = covered(field, object);
        const double overlap = both / (fw * fh + area - both);
        const bool is_object = overlap > least;
        assert_true(covered(field, unseen) / (fw * fh) < 0.4);
        assert_float_equal(map[5 * plane + cell], overlap, 1e-5);
        assert_float_equal(map[cell], is_object ? label : 0, 0);
        assert_float_equal(map[plane + cell], is_object ? (object[0] + object[2]) / 2 : 0, 1e-4);
        assert_float_equal(map[4 * plane + cell], is_object ? object[3] - object[1] : 0, 1e-4);
    }
}

static void labels_of_cells(void **state)
{
    (void)state;
    qf_net *net = make("}");
    write_images();
    for (int pass = 0; pass < 3; pass++) {
        test_forward(context, net);
        for (int i = 0; i < 2; i++) {
            const int item = (2 * pass + i) % ITEMS;
            const rectangle r = rectangle_of(item);
            const int small = qf_blob_dimension(qf_net_blob(net, "small"), 2) *
                              qf_blob_dimension(qf_net_blob(net, "small"), 3);
            const int large = qf_blob_dimension(qf_net_blob(net, "large"), 2) *
                              qf_blob_dimension(qf_net_blob(net, "large"), 3);
            assert_int_equal(small, 8 * 11);
            check_map(blob(net, "small") + (size_t)(6 * small * i), 8, &r, 1 + item, 0.5);
            check_map(blob(net, "large") + (size_t)(6 * large * i), 16, &r, 1 + item, 0.5);
        }
    }
    qf_net_destroy(net);
}

/* An object that no cell is of gets the one in its middle; what is ignored, none. */
static void missed_and_ignored(void **state)
{
    (void)state;
    write_images();
    test_write_text(context, "list.txt",
                    "# 0 i0.png 3 60 90 2  1 0 20 10 50 30  2 1 60 30 80 50  1 60 0 90 30\n"
                    "# 5 i1.png 3 60 90 0 0\n");
    qf_net *net = make("fg_threshold: 0.95 min_gt_height: 15 }");
    test_forward(context, net);
    const float *small = blob(net, "small"), *objects = blob(net, "objects");
    enum { COLUMNS = 11, PLANE = 8 * COLUMNS };
    int labelled = 0;
    for (int cell = 0; cell < 2 * 6 * PLANE; cell++)
        labelled += cell % (6 * PLANE) < PLANE && small[cell] != 0;
    assert_int_equal(labelled, 1);
    assert_float_equal(small[2 * COLUMNS + 4], 1, 0);         /* the middle, (35, 20) */
    assert_float_equal(small[5 * PLANE + COLUMNS + 9], 1, 0); /* nobody looks there */
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "objects"), 0), 2);
    assert_float_equal(objects[6], 0, 0);
    assert_float_equal(objects[13], 1, 0);
    qf_net_destroy(net);

    test_write_text(context, "list.txt", "# 0 i0.png 3 60 90 0 0\n");
    net = make("}");
    test_forward(context, net);
    static const float none[] = {0, 1, 1, 2, 2, 1, 1};
    assert_memory_equal(blob(net, "objects"), none, sizeof none);
    qf_net_destroy(net);
}

static void goes_on(void **state)
{
    static const char settings[] =
        "crop_width: 64 crop_height: 48 shuffle: true do_multiple_scale: true min_scale: 16 "
        "max_scale: 64 } transform_param { mirror: true }";
    qf_data_state at;
    (void)state;
    write_images();
    qf_net *net = make(settings);
    const qf_layer *layer = net->layers[0];
    for (int i = 0; i < 5; i++)
        test_forward(context, net);
    layer->type->data_state(layer, &at);
    test_forward(context, net);
    const size_t size = qf_blob_count(qf_net_blob(net, "data")) * sizeof(float);
    float *expected = qf_alloc(1, size);
    memcpy(expected, blob(net, "data"), size);
    test_forward(context, net);
    assert_ok(context, layer->type->data_restore(net->layers[0], &at));
    test_forward(context, net);
    assert_memory_equal(blob(net, "data"), expected, size);
    qf_free(expected);
    qf_net_destroy(net);
}

static void refused(void **state)
{
    static const struct {
        const char *list, *rest, *sentence;
    } rows[] = {
        {"# 0\ni0.png\n3\n60\n90\n0", "}", "the number of boxes that nobody is to look at"},
        {"# 0\ni0.png\n3\n60\n90\n1 0 0 1 1 2 2 0", "}", "the label of an object, 1 or more"},
        {"# 0\ni0.png\n3\n60\n90\n1 1 2 1 1 2 2 0", "}",
         "0, or 1 for an object that does not count"},
        {"# 0\ni0.png\n3\n60\n90\n1 1 0 1 x 2 2 0", "}", "list.txt:6: expected a corner of a box"},
        {"# 0\ni0.png\n3\n60\n90\n0 0 more", "}", "expected # and the number of an image"},
        {"# 0\nnothing.png\n3\n60\n90\n0 0", "}", "nothing.png"},
        {"# 0\ni0.png\n3\n60\n90\n0 0", "crop_width: 91 crop_height: 2 }",
         "does not lie in images of"},
        {"# 0\ni0.png\n3\n60\n90\n0 0", "fg_img_multiple: 0 }", "fg_img_multiple is 0"},
        {"# 0\ni0.png\n3\n60\n90\n0 0", "do_multiple_scale: true min_scale: 9 max_scale: 8 }",
         "min_scale 9 and max_scale 8"},
        {"# 0\ni0.png\n3\n60\n90\n0 0", "downsample_rate: 8 }", "expected as many of each"},
        {"# 0\ni0.png\n3\n60\n90\n0 0", "} transform_param { mean_value: 1 mean_value: 2 }",
         "give 1 or 3"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = test_format("%s %s }", LAYER, rows[i].rest);
        qf_net *net = NULL;
        test_write_text(context, "list.txt", rows[i].list);
        qf_status status = test_net_of(context, text, QF_TRAIN, &net);
        if (status == QF_OK)
            status = qf_net_forward(net, NULL);
        assert_fails(context, status, rows[i].sentence);
        qf_net_destroy(net);
        qf_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_go_along),
        cmocka_unit_test(labels_of_cells),
        cmocka_unit_test(missed_and_ignored),
        cmocka_unit_test(goes_on),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
