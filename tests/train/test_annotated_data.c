/* AnnotatedData: wherever distortion, expansion, samples, resizing, crop and mirror take an image,
 * its boxes go along: each image here shows a bright rectangle, and the box in the label must lie
 * around the bright pixels. A run that was stopped goes on with the same
 * batches, and what a database should not hold is a sentence. */
#include "data/sources/data_source.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "layers/layer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HEIGHT = 60, WIDTH = 90, ITEMS = 7, DARK = 10, BRIGHT = 210 };

/* The rectangle of item i, in pixels: right and bottom are not part of it. */
typedef struct rectangle {
    int left, top, right, bottom;
} rectangle;

static rectangle rectangle_of(int i)
{
    return (rectangle){5 + 8 * i, 4 + 3 * i, 35 + 8 * i, 28 + 4 * i};
}

/* A raw datum, and one annotation of it. */
typedef struct item {
    Caffe__AnnotatedDatum datum;
    Caffe__Datum image;
    Caffe__AnnotationGroup group, *groups[1];
    Caffe__Annotation annotation, *annotations[1];
    Caffe__NormalizedBBox box;
    uint8_t pixels[3 * HEIGHT * WIDTH];
} item;

static void make_item(int i, item *out)
{
    const rectangle r = rectangle_of(i);
    memset(out, 0, sizeof *out);
    caffe__annotated_datum__init(&out->datum);
    caffe__datum__init(&out->image);
    caffe__annotation_group__init(&out->group);
    caffe__annotation__init(&out->annotation);
    caffe__normalized_bbox__init(&out->box);
    out->box.has_xmin = out->box.has_ymin = out->box.has_xmax = out->box.has_ymax = true;
    out->box.xmin = (float)r.left / WIDTH;
    out->box.ymin = (float)r.top / HEIGHT;
    out->box.xmax = (float)r.right / WIDTH;
    out->box.ymax = (float)r.bottom / HEIGHT;
    out->box.has_difficult = out->box.difficult = i % 2;
    out->annotation.has_instance_id = true;
    out->annotation.instance_id = 40 + i;
    out->annotation.bbox = &out->box;
    out->annotations[0] = &out->annotation;
    out->group.has_group_label = true;
    out->group.group_label = 1 + i % 3;
    out->group.n_annotation = 1;
    out->group.annotation = out->annotations;
    out->groups[0] = &out->group;
    out->image.has_channels = out->image.has_height = out->image.has_width = true;
    out->image.has_data = true;
    out->image.channels = 3;
    out->image.height = HEIGHT;
    out->image.width = WIDTH;
    for (int k = 0; k < 3 * HEIGHT * WIDTH; k++) {
        const int y = k / WIDTH % HEIGHT, x = k % WIDTH;
        const bool inside = x >= r.left && x < r.right && y >= r.top && y < r.bottom;
        out->pixels[k] = inside ? BRIGHT : DARK;
    }
    out->image.data.data = out->pixels;
    out->image.data.len = sizeof out->pixels;
    out->datum.datum = &out->image;
    out->datum.has_type = true;
    out->datum.n_annotation_group = 1;
    out->datum.annotation_group = out->groups;
}

static void put_items(const char *path, qf_store_format format, void (*change)(item *))
{
    qf_sample_writer *writer;
    static item made;
    char key[16];
    assert_ok(context, qf_sample_writer_create(context, path, format, &writer));
    for (int i = 0; i < ITEMS; i++) {
        make_item(i, &made);
        if (change)
            change(&made);
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &made.datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

static qf_status open_net(qf_phase phase, const char *source, int batch, const char *transform,
                          const char *annotated, qf_net **out)
{
    char *text = test_format(
        "layer { name: 'data' type: 'AnnotatedData' top: 'data' top: 'label' data_param { source: "
        "'%s' batch_size: %d backend: LMDB } transform_param { %s } annotated_data_param { %s } }",
        source, batch, transform, annotated);
    qf_context_set_seed(context, 5);
    qf_status status = test_net_of(context, text, phase, out);
    qf_free(text);
    return status;
}

static qf_net *make_net(qf_phase phase, const char *source, int batch, const char *transform,
                        const char *annotated)
{
    qf_net *net;
    assert_ok(context, open_net(phase, source, batch, transform, annotated, &net));
    return net;
}

static const float *values_of(qf_net *net, const char *blob, const qf_shape **shape)
{
    const float *values;
    *shape = qf_blob_shape(qf_net_blob(net, blob));
    assert_ok(context, qf_blob_data(qf_net_blob(net, blob), &values));
    return values;
}

static void pixels_and_boxes_as_stored(void **state)
{
    (void)state;
    const qf_shape *shape;
    put_items("plain", QF_STORE_LMDB, NULL);
    qf_net *net = make_net(QF_TEST, "plain", 3, "mean_value: 10 scale: 0.5", "");
    for (int batch = 0; batch < 3; batch++) { /* of 7 items: it goes round */
        assert_ok(context, qf_net_forward(net, NULL));
        const float *rows = values_of(net, "label", &shape);
        assert_true(shape->axes == 4 && shape->dim[2] == 3 && shape->dim[3] == QF_BOX_ROW);
        for (int k = 0; k < 3; k++, rows += QF_BOX_ROW) {
            const int i = (3 * batch + k) % ITEMS;
            const rectangle r = rectangle_of(i);
            const float expected[] = {(float)k,
                                      (float)(1 + i % 3),
                                      (float)(40 + i),
                                      (float)r.left / WIDTH,
                                      (float)r.top / HEIGHT,
                                      (float)r.right / WIDTH,
                                      (float)r.bottom / HEIGHT,
                                      (float)(i % 2)};
            for (int v = 0; v < QF_BOX_ROW; v++)
                assert_float_equal(rows[v], expected[v], 1e-6);
        }
        const float *pixels = values_of(net, "data", &shape);
        assert_true(shape->dim[0] == 3 && shape->dim[1] == 3 && shape->dim[2] == HEIGHT &&
                    shape->dim[3] == WIDTH);
        for (int k = 0; k < 3; k++) {
            const rectangle r = rectangle_of((3 * batch + k) % ITEMS);
            const float *plane = pixels + (size_t)k * 3 * HEIGHT * WIDTH;
            assert_float_equal(plane[r.top * WIDTH + r.left], 100, 0);
            assert_float_equal(plane[r.top * WIDTH + r.left - 1], 0, 0);
            assert_float_equal(plane[(r.bottom - 1) * WIDTH + r.right - 1], 100, 0);
        }
    }
    qf_net_destroy(net);
}

/* A row for each box of an image: label from 0, centre, size; then zeros. */
static void rows_of_yolo(void **state)
{
    enum { ROWS = 300, NUMBERS = 5 };
    (void)state;
    const qf_shape *shape;
    put_items("yolo", QF_STORE_LMDB, NULL);
    for (int easy = 0; easy < 2; easy++) {
        qf_net *net = make_net(QF_TEST, "yolo", 4, "",
                               easy ? "yolo_data_type: 1 yolo_data_jitter: 0 train_diffcult: false"
                                    : "yolo_data_type: 1 yolo_data_jitter: 0");
        for (int pass = 0; pass < 2; pass++) {
            assert_ok(context, qf_net_forward(net, NULL));
            const float *y = values_of(net, "label", &shape);
            assert_true(shape->axes == 4 && shape->dim[0] == 4 && shape->dim[1] == 1 &&
                        shape->dim[2] == ROWS && shape->dim[3] == NUMBERS);
            for (int k = 0; k < 4; k++) {
                const int i = (4 * pass + k) % ITEMS;
                const rectangle r = rectangle_of(i);
                float expected[ROWS * NUMBERS] = {
                    (float)(i % 3), (float)(r.left + r.right) / 2 / WIDTH,
                    (float)(r.top + r.bottom) / 2 / HEIGHT, (float)(r.right - r.left) / WIDTH,
                    (float)(r.bottom - r.top) / HEIGHT};
                if (easy && i % 2) /* it is difficult */
                    memset(expected, 0, NUMBERS * sizeof *expected);
                for (int v = 0; v < ROWS * NUMBERS; v++)
                    assert_float_equal(y[k * ROWS * NUMBERS + v], expected[v], 1e-6);
            }
        }
        qf_net_destroy(net);
    }
}

/* Each batch has one of several sizes, about as often as `prob` says; a resumed run has the same.
 */
static void sizes_of_batches(void **state)
{
    enum { BATCHES = 300 };
    static const char sizes[] = "resize_param { prob: 0.2 height: 20 width: 30 } resize_param { "
                                "prob: 0.5 height: 40 width: 60 } resize_param { prob: 0.3 "
                                "height: 10 width: 10 }";
    int counts[3] = {0}, seen[BATCHES];
    (void)state;
    const qf_shape *shape;
    put_items("sizes", QF_STORE_LMDB, NULL);
    for (int run = 0; run < 2; run++) {
        qf_net *net = make_net(QF_TRAIN, "sizes", 3, sizes, "yolo_data_type: 1");
        for (int i = 0; i < BATCHES; i++) {
            assert_ok(context, qf_net_forward(net, NULL));
            values_of(net, "data", &shape);
            const int height = shape->dim[2], size = height == 20 ? 0 : height == 40 ? 1 : 2;
            assert_int_equal(shape->dim[3], size == 2 ? 10 : height * 3 / 2);
            if (run)
                assert_int_equal(height, seen[i]);
            seen[i] = height;
            counts[size]++;
        }
        qf_net_destroy(net);
    }
    assert_in_range(counts[0], 2 * 35, 2 * 90);
    assert_in_range(counts[1], 2 * 120, 2 * 180);
    assert_in_range(counts[2], 2 * 60, 2 * 120);
}

/* ---- boxes go where pixels go ---- */

/* Samples begin and end at whole pixels of the stored image, of which one is up to 4 of those put
 * out; boxes are those of the sample as drawn. */

typedef struct way {
    const char *transform, *annotated;
    int batch, height, width; /* of what is put out; 0: it varies */
    float tolerance;          /* in pixels of it */
} way;

#define NEAREST "interp_mode: NEAREST "
#define SAMPLER(constraint)                                                                        \
    "batch_sampler { sampler { min_scale: 0.6 max_scale: 1 min_aspect_ratio: 0.5 "                 \
    "max_aspect_ratio: 2 } sample_constraint { " constraint " } max_sample: 1 max_trials: 50 } "

static const way ways[] = {
    {"mirror: true", "", 4, HEIGHT, WIDTH, 0.01f},
    {"crop_size: 40 mirror: true", "", 4, 40, 40, 0.01f},
    {"crop_h: 30 crop_w: 50", "", 4, 30, 50, 0.01f},
    {"resize_param { height: 100 width: 50 " NEAREST "}", "", 4, 100, 50, 1.01f},
    {"resize_param { height: 41 width: 33 interp_mode: LINEAR interp_mode: AREA interp_mode: "
     "NEAREST interp_mode: CUBIC interp_mode: LANCZOS4 } mirror: true",
     "", 4, 41, 33, 1.6f},
    {"resize_param { height: 120 width: 131 interp_mode: AREA interp_mode: CUBIC interp_mode: "
     "LANCZOS4 }",
     "", 4, 120, 131, 1.6f},
    {"resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 80 width: 80 pad_value: "
     "10 " NEAREST "} mirror: true",
     "", 4, 80, 80, 1.01f},
    {"resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 40 width: 100 pad_mode: "
     "REPEAT_NEAREST " NEAREST "}",
     "", 4, 40, 100, 1.01f},
    {"resize_param { resize_mode: FIT_SMALL_SIZE height: 40 width: 40 " NEAREST "}", "", 1, 40, 60,
     1.01f},
    {"resize_param { resize_mode: FIT_SMALL_SIZE height: 40 width: 40 " NEAREST
     "} crop_size: 40 mirror: true",
     "", 4, 40, 40, 1.01f},
    {"expand_param { prob: 1 max_expand_ratio: 3 } resize_param { height: 150 width: 150 " NEAREST
     "}",
     "", 4, 150, 150, 1.6f},
    {"resize_param { height: 100 width: 100 " NEAREST "} mirror: true",
     SAMPLER("min_jaccard_overlap: 0.3"), 4, 100, 100, 8.f},
    {"expand_param { prob: 0.5 max_expand_ratio: 2 } distort_param { brightness_prob: 0.5 "
     "brightness_delta: 32 contrast_prob: 0.5 contrast_lower: 0.7 contrast_upper: 1.2 hue_prob: "
     "0.5 hue_delta: 18 saturation_prob: 0.5 saturation_lower: 0.5 saturation_upper: 1.5 "
     "random_order_prob: 0.5 } resize_param { height: 100 width: 100 " NEAREST
     "} mirror: true emit_constraint { emit_type: CENTER }",
     "batch_sampler { max_sample: 1 max_trials: 1 } " SAMPLER("min_jaccard_overlap: 0.1")
         SAMPLER("min_object_coverage: 0.9") SAMPLER("max_jaccard_overlap: 1"),
     4, 100, 100, 8.f},
    {"resize_param { height: 100 width: 100 " NEAREST "} mirror: true", "yolo_data_jitter: 0.4", 4,
     100, 100, 8.f},
    {"resize_param { prob: 0.5 height: 100 width: 100 " NEAREST
     "} resize_param { prob: 0.5 height: 70 width: 60 " NEAREST "}",
     "", 4, 0, 0, 1.6f},
    {"resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 90 width: 90 pad_value: "
     "10 " NEAREST "}",
     "yolo_data_jitter: 0.4", 4, 90, 90, 8.f},
};

/* The bright pixels' extent; false: there are none. */
static bool find_bright(const float *plane, int height, int width, float found[4])
{
    found[0] = found[1] = 1e9f;
    found[2] = found[3] = -1;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            if (plane[y * width + x] > 85) {
                found[0] = fminf(found[0], (float)x);
                found[1] = fminf(found[1], (float)y);
                found[2] = fmaxf(found[2], (float)x + 1);
                found[3] = fmaxf(found[3], (float)y + 1);
            }
    return found[2] >= 0;
}

static int compare_image(const way *w, const float *plane, const qf_shape *shape, const float *rows,
                         int row_count, int image)
{
    float bright[4];
    const float size[] = {(float)shape->dim[3], (float)shape->dim[2]};
    for (int r = 0; r < row_count; r++, rows += QF_BOX_ROW) {
        if ((int)rows[0] != image)
            continue;
        assert_true(find_bright(plane, shape->dim[2], shape->dim[3], bright));
        for (int v = 0; v < 4; v++)
            if (fabsf(rows[3 + v] * size[v % 2] - bright[v]) > w->tolerance)
                fail_msg("%s %s: image %d, side %d: the box says %g, pixels %g", w->transform,
                         w->annotated, image, v, (double)(rows[3 + v] * size[v % 2]),
                         (double)bright[v]);
        return 1;
    }
    return 0;
}

static void boxes_go_where_pixels_go(void **state)
{
    (void)state;
    put_items("moved", QF_STORE_LEVELDB, NULL);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const way *w = &ways[i];
        char *transform = test_format("mean_value: 10 %s", w->transform);
        qf_net *net = make_net(QF_TRAIN, "moved", w->batch, transform, w->annotated);
        int boxes = 0;
        for (int pass = 0; pass < 40; pass++) {
            const qf_shape *shape, *row_shape;
            assert_ok(context, qf_net_forward(net, NULL));
            const float *rows = values_of(net, "label", &row_shape);
            const float *pixels = values_of(net, "data", &shape);
            if (w->height) {
                assert_int_equal(shape->dim[2], w->height);
                assert_int_equal(shape->dim[3], w->width);
            }
            const size_t plane = (size_t)shape->dim[2] * (size_t)shape->dim[3];
            for (int k = 0; k < w->batch; k++)
                boxes += compare_image(w, pixels + (size_t)k * 3 * plane, shape, rows,
                                       row_shape->dim[2], k);
        }
        if (boxes < 20 * w->batch)
            fail_msg("%s: only %d boxes", w->transform, boxes);
        qf_net_destroy(net);
        qf_free(transform);
    }
}

/* ---- the run that was not stopped ---- */

#define EVERYTHING                                                                                 \
    "mirror: true expand_param { prob: 0.5 max_expand_ratio: 2 } distort_param { "                 \
    "brightness_prob: "                                                                            \
    "0.5 brightness_delta: 32 } resize_param { height: 40 width: 40 interp_mode: LINEAR "          \
    "interp_mode: NEAREST } noise_param { saltpepper: true saltpepper_param { fraction: 0.02 "     \
    "value: 0 } }"

static void a_resumed_run_is_the_same(void **state)
{
    (void)state;
    const qf_shape *shape;
    put_items("kept", QF_STORE_LMDB, NULL);
    qf_net *net = make_net(QF_TRAIN, "kept", 4, EVERYTHING, SAMPLER("min_jaccard_overlap: 0.1"));
    qf_layer *layer = qf_net_find_layer(net, "data");
    qf_data_state stood = {0};
    float *first = NULL;
    size_t count = 0;
    for (int pass = 0; pass < 3; pass++)
        assert_ok(context, qf_net_forward(net, NULL));
    layer->type->data_state(layer, &stood);
    for (int round = 0; round < 2; round++) {
        for (int pass = 0; pass < 5; pass++)
            assert_ok(context, qf_net_forward(net, NULL));
        const float *pixels = values_of(net, "data", &shape);
        if (round == 0) {
            count = qf_shape_count(shape);
            first = qf_alloc(count, sizeof *first);
            memcpy(first, pixels, count * sizeof *first);
            assert_ok(context, layer->type->data_restore(layer, &stood));
        } else {
            assert_memory_equal(first, pixels, count * sizeof *first);
        }
    }
    qf_free(first);
    qf_net_destroy(net);
}

/* ---- what is no label of boxes ---- */

static void without_type(item *made)
{
    made->datum.has_type = false;
    made->image.has_label = true;
    made->image.label = 6;
}

static void without_annotations(item *made)
{
    made->group.n_annotation = 0;
}

static void other_labels(void **state)
{
    (void)state;
    const qf_shape *shape;
    put_items("classes", QF_STORE_LMDB, without_type);
    qf_net *net = make_net(QF_TRAIN, "classes", 2, "", "");
    assert_ok(context, qf_net_forward(net, NULL));
    const float *labels = values_of(net, "label", &shape);
    assert_true(shape->axes == 1 && shape->dim[0] == 2 && labels[0] == 6 && labels[1] == 6);
    qf_net_destroy(net);

    put_items("empty", QF_STORE_LMDB, without_annotations);
    net = make_net(QF_TRAIN, "empty", 2, "", "");
    assert_ok(context, qf_net_forward(net, NULL));
    labels = values_of(net, "label", &shape);
    assert_true(shape->axes == 4 && shape->dim[2] == 1);
    for (int v = 0; v < QF_BOX_ROW; v++)
        assert_float_equal(labels[v], -1, 0);
    qf_net_destroy(net);
}

/* ---- refusals ---- */

static void with_nan(item *made)
{
    made->box.ymax = NAN;
}

static void with_floats(item *made)
{
    static float pixels[3 * HEIGHT * WIDTH];
    made->image.has_data = false;
    made->image.n_float_data = 3 * HEIGHT * WIDTH;
    made->image.float_data = pixels;
}

static void without_box(item *made)
{
    made->annotation.bbox = NULL;
}

static void cut_off(item *made)
{
    made->image.data.len = 100;
}

static void plain_datum(const char *path)
{
    static item made;
    qf_sample_writer *writer;
    make_item(0, &made);
    assert_ok(context, qf_sample_writer_create(context, path, QF_STORE_LMDB, &writer));
    assert_ok(context, qf_sample_writer_put_message(context, writer, "0", &made.image.base));
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *transform, *annotated, *sentence;
        int batch;
    } settings[] = {
        {"resize_param { height: 0 width: 9 }", "", "resize_param: height is 0 and width 9", 1},
        {"resize_param { resize_mode: FIT_SMALL_SIZE height: 9 width: 9 }", "",
         "FIT_SMALL_SIZE makes images of different sizes", 2},
        {"expand_param { max_expand_ratio: 0.5 }", "", "max_expand_ratio is 0.5", 1},
        {"distort_param { contrast_lower: 2 contrast_upper: 1 }", "", "contrast_lower is 2", 1},
        {"distort_param { hue_delta: -1 }", "", "hue_delta -1", 1},
        {"noise_param { saltpepper: true }", "", "saltpepper needs", 1},
        {"noise_param { convert_to_lab: true }", "", "convert_to_lab", 1},
        {"crop_h: 9", "", "crop_h and crop_w", 1},
        {"resize_param { height: 9 width: 9 } resize_param { height: 8 width: 8 }", "",
         "the prob of 2 resize_param add up to 2, expected 1", 1},
        {"resize_param { height: 9 width: 9 prob: -1 }", "", "prob is -1", 1},
        {"", "yolo_data_jitter: 1", "yolo_data_jitter is 1, expected 0 to below 1", 1},
        {"", "yolo_data_type: 2", "yolo_data_type is 2, expected 0 or 1", 1},
        {"crop_h: 99 crop_w: 9", "", "crop_h 99 and crop_w 9 are larger", 1},
        {"", "batch_sampler { sampler { min_scale: 0 } }", "batch_sampler 0: sampler: scales", 1},
        {"", "batch_sampler { } batch_sampler { sampler { max_aspect_ratio: inf } }",
         "batch_sampler 1: sampler: aspect ratios", 1},
    };
    static const struct {
        void (*change)(item *);
        const char *sentence;
    } contents[] = {
        {with_nan, "item 0: box 0 of label 1"},
        {without_box, "has no coordinates"},
        {cut_off, "needs 16200 values, found 100"},
    };
    qf_net *net;
    put_items("good", QF_STORE_LMDB, NULL);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_fails(context,
                     open_net(QF_TRAIN, "good", settings[i].batch, settings[i].transform,
                              settings[i].annotated, &net),
                     settings[i].sentence);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        char *path = test_format("content%zu", i);
        put_items(path, QF_STORE_LMDB, contents[i].change);
        assert_fails(context, open_net(QF_TRAIN, path, 1, "", "", &net), contents[i].sentence);
        qf_free(path);
    }
    put_items("floats", QF_STORE_LMDB, with_floats);
    net = make_net(QF_TRAIN, "floats", 1, "", "");
    assert_fails(context, qf_net_forward(net, NULL), "an image of floats");
    qf_net_destroy(net);
    plain_datum("plain_datum");
    assert_fails(context, open_net(QF_TRAIN, "plain_datum", 1, "", "", &net),
                 "it is no annotated image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_and_boxes_as_stored),
        cmocka_unit_test(rows_of_yolo),
        cmocka_unit_test(sizes_of_batches),
        cmocka_unit_test(boxes_go_where_pixels_go),
        cmocka_unit_test(a_resumed_run_is_the_same),
        cmocka_unit_test(other_labels),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
