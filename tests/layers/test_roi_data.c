/* RoIData: images and objects of a database as py-faster-rcnn would show them, in an order that
 * goes on where it was. */
#include "data/images/image_encode.h"
#include "data/sources/data_source.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 3, HEIGHT = 4, WIDTH = 6, PIXELS = 3 * HEIGHT * WIDTH };

/* Blue, green and red of a pixel. */
static int pixel(int image, int c, int h, int w)
{
    return 10 * image + 50 * c + 7 * h + w;
}

static Caffe__Datum *make_datum(int image)
{
    Caffe__Datum *datum;
    assert_ok(context, qf_message_new(context, &caffe__datum__descriptor, &datum));
    datum->has_channels = datum->has_height = datum->has_width = datum->has_data = true;
    datum->channels = 3;
    datum->height = HEIGHT;
    datum->width = WIDTH;
    datum->data.data = malloc(PIXELS);
    datum->data.len = PIXELS;
    for (int i = 0; i < PIXELS; i++)
        datum->data.data[i] =
            (uint8_t)pixel(image, i / (HEIGHT * WIDTH), i / WIDTH % HEIGHT, i % WIDTH);
    return datum;
}

/* The same as a PNG. */
static void encode(Caffe__Datum *datum)
{
    uint8_t pixels[PIXELS];
    qf_buffer file = {0};
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = datum->data.data[i % 3 * HEIGHT * WIDTH + i / 3];
    const qf_image image = {.channels = 3,
                            .height = HEIGHT,
                            .width = WIDTH,
                            .bytes = pixels,
                            .channel_step = 1,
                            .row_step = (size_t)3 * WIDTH,
                            .pixel_step = 3};
    assert_ok(context, qf_image_encode(context, &image, "png", &file));
    datum->has_encoded = datum->encoded = true;
    datum->data.data = realloc(datum->data.data, file.size);
    datum->data.len = file.size;
    memcpy(datum->data.data, file.data, file.size);
    qf_buffer_release(&file);
}

/* VOC's corners, which count from 1. */
static void add_object(Caffe__AnnotatedDatum *to, int label, const float *corners, bool difficult)
{
    Caffe__AnnotationGroup *group;
    Caffe__Annotation *object;
    assert_ok(context, qf_message_new(context, &caffe__annotation_group__descriptor, &group));
    assert_ok(context, qf_message_new(context, &caffe__annotation__descriptor, &object));
    assert_ok(context, qf_message_new(context, &caffe__normalized_bbox__descriptor, &object->bbox));
    group->has_group_label = true;
    group->group_label = label;
    Caffe__NormalizedBBox *b = object->bbox;
    b->has_xmin = b->has_ymin = b->has_xmax = b->has_ymax = b->has_difficult = true;
    b->xmin = corners[0] / WIDTH;
    b->ymin = corners[1] / HEIGHT;
    b->xmax = corners[2] / WIDTH;
    b->ymax = corners[3] / HEIGHT;
    b->difficult = difficult;
    assert_ok(context,
              qf_append(context, &group->n_annotation, &group->annotation, &object, sizeof object));
    assert_ok(context, qf_append(context, &to->n_annotation_group, &to->annotation_group, &group,
                                 sizeof group));
}

/* Image i has i objects that count, and each a difficult one. */
static void make_database(const char *path, bool encoded)
{
    static const float corners[][4] = {{1, 1, 6, 4}, {2, 1, 4, 3}};
    qf_sample_writer *writer;
    assert_ok(context, qf_sample_writer_create(context, path, QF_STORE_LMDB, &writer));
    for (int i = 0; i < IMAGES; i++) {
        char key[16];
        Caffe__AnnotatedDatum *item;
        assert_ok(context, qf_message_new(context, &caffe__annotated_datum__descriptor, &item));
        item->datum = make_datum(i);
        if (encoded)
            encode(item->datum);
        item->has_type = true;
        for (int k = 0; k < i; k++)
            add_object(item, k + 1, corners[k], false);
        add_object(item, 2, (const float[]){3, 3, 3, 3}, true);
        void *bytes;
        size_t size;
        assert_ok(context, qf_wire_pack(context, "item", item, &bytes, &size));
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put(context, writer, key, bytes, size));
        qf_free(bytes);
        qf_message_free(item);
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    make_database("lmdb", false);
    make_database("encoded", true);
    return 0;
}

static qf_status make_of(qf_phase phase, const char *rest, qf_net **out)
{
    char *text =
        test_format("layer { name: 'first' type: 'Input' top: 'unused' input_param { shape "
                    "{ dim: 1 } } } layer { name: 'it' top: 'y0' top: 'y1' top: 'y2' %s }",
                    rest); /* where harness/one_layer.h has it */
    const qf_status status = test_net_of(context, text, phase, out);
    qf_free(text);
    return status;
}

static qf_status make(qf_phase phase, const char *settings, qf_net **out)
{
    char *rest = test_format("type: 'Python' python_param { module: 'roi_data_layer.layer' layer: "
                             "'RoIDataLayer' param_str: \"'num_classes': 3%s\" }",
                             settings);
    const qf_status status = make_of(phase, rest, out);
    qf_free(rest);
    return status;
}

static const float *values(qf_net *net, const char *name)
{
    const float *data;
    assert_ok(context, qf_blob_data(qf_net_blob(net, name), &data));
    return data;
}

static void in_order(void **state)
{
    (void)state;
    static const float expected[] = {0, 0, 5, 3, 1, 1, 0, 3, 2, 2};
    qf_net *net;
    assert_ok(context,
              make(QF_TEST, ", 'source': 'lmdb', 'scales': [4], 'pixel_means': [1, 2, 3]", &net));
    for (int i = 0; i < IMAGES + 1; i++) {
        const int image = i % IMAGES;
        test_forward(context, net);
        for (int k = 0; k < PIXELS; k++) {
            const int c = k / (HEIGHT * WIDTH);
            assert_float_equal(values(net, "y0")[k],
                               pixel(image, c, k / WIDTH % HEIGHT, k % WIDTH) - (c + 1), 0);
        }
        TEST_EXPECT(net, 1, "1 3 (3)", HEIGHT, WIDTH, 1);
        assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y2"), 0), image);
        for (int k = 0; k < 5 * image; k++)
            assert_float_equal(values(net, "y2")[k], expected[k], 1e-5);
    }
    qf_net_destroy(net);
}

/* By the shorter side, unless the longer would be too long. */
static void resized(void **state)
{
    (void)state;
    static const struct {
        const char *settings;
        int height, width;
        float scale;
    } cases[] = {
        {", 'source': 'encoded', 'scales': [4]", 4, 6, 1},
        {", 'source': 'encoded', 'scales': [8]", 8, 12, 2},
        {", 'source': 'lmdb', 'scales': [8]", 8, 12, 2},
        {", 'source': 'encoded', 'scales': [8], 'max_size': 9", 6, 9, 1.5f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_net *net;
        const float scale = cases[i].scale;
        assert_ok(context, make(QF_TEST, cases[i].settings, &net));
        for (int k = 0; k < IMAGES; k++)
            test_forward(context, net); /* the last has two objects */
        TEST_EXPECT(net, 1, "1 3 (3)", (float)cases[i].height, (float)cases[i].width, scale);
        TEST_EXPECT(net, 2, "2 5 (10)", 0, 0, 5 * scale, 3 * scale, 1, scale, 0, 3 * scale,
                    2 * scale, 2);
        assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 3), cases[i].width);
        assert_float_equal(values(net, "y0")[0], pixel(2, 0, 0, 0) - 102.9801, 1e-4);
        qf_net_destroy(net);
    }
}

/* Which image it is, + 10 where it is mirrored; and whether its objects are, too. */
static int shown(qf_net *net)
{
    const float *x = values(net, "y0");
    const bool mirrored = x[0] > x[1];
    const int image = (int)((mirrored ? x[WIDTH - 1] : x[0]) / 10);
    if (image == 2)
        assert_float_equal(values(net, "y2")[5], mirrored ? 2 : 1, 1e-5);
    return image + (mirrored ? 10 : 0);
}

static void shuffled(void **state)
{
    (void)state;
    qf_net *net;
    int seen[2 * IMAGES], first[2 * IMAGES], differing = 0;
    qf_context_set_seed(context, 5);
    assert_ok(context,
              make(QF_TRAIN, ", 'source': 'lmdb', 'scales': [4], 'pixel_means': [0]", &net));
    qf_layer *layer = net->layers[net->layer_count - 1];
    qf_data_state before;
    for (int epoch = 0; epoch < 5; epoch++) {
        int all = 0;
        layer->type->data_state(layer, &before);
        for (int i = 0; i < 2 * IMAGES; i++) {
            test_forward(context, net);
            seen[i] = shown(net);
            all |= 1 << seen[i];
        }
        assert_int_equal(all, 7 | 7 << 10); /* each image, and each mirrored */
        if (epoch == 0)
            memcpy(first, seen, sizeof first);
        differing += memcmp(first, seen, sizeof seen) != 0;
    }
    assert_true(differing > 2);
    assert_ok(context, layer->type->data_restore(layer, &before)); /* of the last epoch */
    for (int i = 0; i < 2 * IMAGES; i++) {
        test_forward(context, net);
        assert_int_equal(shown(net), seen[i]);
    }
    qf_net_destroy(net);
    assert_ok(context, make(QF_TRAIN,
                            ", 'source': 'lmdb', 'scales': [4], 'pixel_means': [0], 'use_flipped': "
                            "False, 'use_diff': True",
                            &net));
    for (int i = 0, all = 0; i < IMAGES; i++) {
        test_forward(context, net);
        all |= 1 << shown(net);
        assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y2"), 0), shown(net) + 1);
        assert_true(i + 1 < IMAGES || all == 7);
    }
    qf_net_destroy(net);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *sentence;
    } rows[] = {
        {"", "add 'source': 'LMDB' to its param_str"},
        {", 'source': 'nowhere'", "nowhere"},
        {", 'source': 'lmdb', 'scales': [0]", "scales holds 0"},
        {", 'source': 'lmdb', 'max_size': 0", "max_size is 0"},
        {", 'source': 'lmdb', 'scales': [4], 'pixel_means': [1, 2]", "pixel_means has 2 values"},
    };
    qf_net *net;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_fails(context, make(QF_TEST, rows[i].settings, &net), rows[i].sentence);
    assert_ok(context, make_of(QF_TEST,
                               "type: 'RoIData' roi_data_param { source: 'lmdb' num_classes: 2 "
                               "scales: 4 }",
                               &net));
    test_forward(context, net);
    test_forward(context, net);
    assert_fails(context, qf_net_forward(net, NULL),
                 "item 2 of lmdb: an object has the label 2, expected 1 to 1");
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(resized),
        cmocka_unit_test(shuffled),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
