/* convert_annoset and get_image_size: annotations of each format against what stands in them, in
 * groups by label, as shares of the image; and files that say something impossible. */
#include "data/boxes/annotated.h"
#include "data/boxes/name_sizes.h"
#include "data/images/image_codecs.h"
#include "data/images/image_encode.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <string.h>

static void put_text(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0644));
}

static void put_image(const char *path, int height, int width)
{
    qf_image image = {0};
    qf_buffer file = {0};
    assert_ok(context, qf_image_make(context, height, width, 3, &image));
    memset(image.pixels, 99, (size_t)(3 * height * width));
    assert_ok(context, qf_image_encode(context, &image, "png", &file));
    assert_ok(context, qf_file_write(context, path, file.data, file.size, 0644));
    qf_buffer_release(&file);
    qf_image_release(&image);
}

static const char label_map[] =
    "item { name: 'none_of_the_above' label: 0 } item { name: 'cat' "
    "label: 3 } item { name: 'dog' label: 5 } item { name: '17' label: 9 }";

/* Parts have names and boxes, too, which are not the object's. */
static const char xml[] =
    "<?xml version='1.0'?>\n<annotation>\n<folder>x</folder><size><width>200</width><height>100"
    "</height></size>\n"
    "<object><name> dog "
    "</name><bndbox><xmin>20</xmin><ymin>10</ymin><xmax>60.5</xmax><ymax>50</ymax>"
    "</bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</"
    "ymax>"
    "</bndbox></part><difficult>0</difficult></object>\n"
    "<object><difficult>1</difficult><bndbox><ymax>100</ymax><xmax>200</xmax><ymin>0</"
    "ymin><xmin>100"
    "</xmin></bndbox><name>cat</name></object>\n"
    "<object><name>dog</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>50</xmax><ymax>50</ymax>"
    "</bndbox></object></annotation>\n";

static const char json[] =
    "{\"image\": {\"width\": 200, \"height\": 100}, \"annotation\": ["
    "{\"category_id\": \"dog\", \"bbox\": [20, 10, 40.5, 40]},"
    "{\"category_id\": \"cat\", \"iscrowd\": 1, \"bbox\": [100, 0, 100, 100]},"
    "{\"category_id\": \"dog\", \"bbox\": [0, 0, 50, 50]}]}";

static const char text[] = "5 20 10 60.5 50\n3 100 0 200 100\n5 0 0 50 50\n";

static qf_annoset_options detection(const char *label_type)
{
    return (qf_annoset_options){.size = sizeof(qf_annoset_options),
                                .anno_type = "detection",
                                .label_type = label_type,
                                .label_map_file = "map.prototxt"};
}

static void set_up_files(void)
{
    put_text("map.prototxt", label_map);
    put_image("a.png", 100, 200);
    put_image("b.png", 50, 80);
    put_text("a.xml", xml);
    put_text("a.json", json);
    put_text("a.txt", text);
}

/* The only datum of a database. */
static void read_only(const char *database, qf_annotated *out)
{
    qf_sample_store *store;
    qf_sample sample;
    assert_ok(context, qf_sample_store_open(context, database, &store));
    assert_ok(context, qf_sample_store_next(context, store, &sample));
    assert_ok(context, qf_annotated_decode(context, sample.value, sample.value_size,
                                           QF_COLOR_AS_STORED, out));
    qf_sample_store_close(store);
}

static void each_format_says_the_same(void **state)
{
    (void)state;
    static const struct {
        int label, instance;
        qf_box box;
    } expected[] = {
        {5, 0, {0.1f, 0.1f, 0.3025f, 0.5f}}, {5, 1, {0, 0, 0.25f, 0.5f}}, {3, 0, {0.5f, 0, 1, 1}}};
    static const char *const types[] = {"xml", "json", "txt"};
    set_up_files();
    for (size_t i = 0; i < 3; i++) {
        const qf_annoset_options options = detection(types[i]);
        char *list = test_format("a.png a.%s\n", types[i]),
             *database = test_format("%s_db", types[i]);
        qf_annotated item;
        put_text("list.txt", list);
        assert_ok(context, qf_convert_annoset(context, "list.txt", "", database, &options));
        read_only(database, &item);
        assert_true(item.has_type);
        assert_true(item.image.height == 100 && item.image.width == 200);
        assert_int_equal(item.count, 3);
        for (size_t k = 0; k < 3; k++) {
            const qf_annotation *a = &item.annotations[k];
            assert_int_equal(a->label, expected[k].label);
            assert_int_equal(a->instance, expected[k].instance);
            for (int v = 0; v < 4; v++)
                assert_float_equal((&a->box.x1)[v], (&expected[k].box.x1)[v], 1e-6);
            assert_int_equal(a->difficult, expected[k].label == 3 && i < 2);
        }
        qf_annotated_release(&item);
        qf_free(list);
        qf_free(database);
    }
}

static void sizes_of_stored_images(void **state)
{
    (void)state;
    static const struct {
        int min, max, height_asked, width_asked, height, width;
    } cases[] = {
        {0, 0, 0, 0, 100, 200},    {200, 0, 0, 0, 200, 400},   {50, 0, 0, 0, 100, 200},
        {0, 100, 0, 0, 50, 100},   {200, 300, 0, 0, 150, 300}, {0, 0, 30, 40, 30, 40},
        {0, 100, 30, 40, 50, 100},
    };
    set_up_files();
    put_text("list.txt", "a.png a.xml\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_annoset_options options = detection("xml");
        qf_annotated item;
        char *database = test_format("size%zu", i);
        options.min_dim = cases[i].min;
        options.max_dim = cases[i].max;
        options.resize_height = cases[i].height_asked;
        options.resize_width = cases[i].width_asked;
        options.encode_type = i % 2 ? "jpg" : NULL;
        assert_ok(context, qf_convert_annoset(context, "list.txt", "", database, &options));
        read_only(database, &item);
        assert_int_equal(item.image.height, cases[i].height);
        assert_int_equal(item.image.width, cases[i].width);
        assert_float_equal(item.annotations[0].box.x2, 0.3025, 1e-6); /* shares stay */
        qf_annotated_release(&item);
        qf_free(database);
    }
}

static void classes_and_what_is_left_out(void **state)
{
    (void)state;
    qf_annoset_options options = {.size = sizeof options, .backend = "leveldb"};
    qf_annotated item;
    set_up_files();
    put_text("list.txt", "gone.png 3\nb.png 4\n");
    assert_ok(context, qf_convert_annoset(context, "list.txt", "", "classes", &options));
    read_only("classes", &item);
    assert_false(item.has_type);
    assert_int_equal(item.image.label, 4);
    qf_annotated_release(&item);
    /* No annotation: an image without objects. */
    put_text("list.txt", "b.png gone.xml\n");
    options = detection("xml");
    assert_ok(context, qf_convert_annoset(context, "list.txt", "", "nothing", &options));
    read_only("nothing", &item);
    assert_true(item.has_type && item.count == 0);
    qf_annotated_release(&item);
}

/* ---- refusals ---- */

#define OBJECT(inner) "<annotation><object>" inner "</object></annotation>"
#define BOX(left, right)                                                                           \
    "<bndbox><xmin>" left "</xmin><ymin>1</ymin><xmax>" right "</xmax><ymax>2</ymax></bndbox>"

static void annotations_that_fail(void **state)
{
    (void)state;
    static const struct {
        const char *type, *content, *sentence;
    } cases[] = {
        {"xml", "", "bad.xml: line 1, column 1 is no XML: no element found"},
        {"xml", "<annotation><object>", "is no XML"},
        {"xml", "<svg/>", "the outermost element is <svg>"},
        {"xml", OBJECT(BOX("1", "2")), "object 0 has no <name>"},
        {"xml", OBJECT("<name>cat</name>"), "object 0 needs a <bndbox>"},
        {"xml", OBJECT("<name>cat</name><bndbox><xmin>1</xmin></bndbox>"),
         "object 0 needs a <bndbox>"},
        {"xml", OBJECT("<name>cow</name>" BOX("1", "2")),
         "the class 'cow' is not in the label map"},
        {"xml", OBJECT("<name>cat</name>" BOX("one", "2")), "<xmin> is 'one', expected a number"},
        {"xml", OBJECT("<name>cat</name>" BOX("nan", "2")), "<xmin> is 'nan', expected a number"},
        {"xml", OBJECT("<name>cat</name>" BOX("1", "1e30")), "is none in pixels of an image"},
        {"json", "[", "bad.json: line 1"},
        {"json", "{}", "there is no list \"annotation\""},
        {"json", "{\"images\": [], \"annotations\": []}", "this is a whole set"},
        {"json", "{\"annotation\": [{}]}", "annotation 0: category_id is neither"},
        {"json", "{\"annotation\": [{\"category_id\": 18}]}", "the class '18' is not"},
        {"json", "{\"annotation\": [{\"category_id\": 17, \"bbox\": [1, 2, 3]}]}", "four numbers"},
        {"json", "{\"annotation\": [{\"category_id\": 17, \"bbox\": [1, 2, 3, \"4\"]}]}",
         "number 3 of bbox is none"},
        {"txt", "1 2 3 4\n", "line 1: expected a label, and left"},
        {"txt", "1.5 2 3 4 5\n", "line 1: expected a label"},
        {"txt", "1 2 3 4 5\n1 2 inf 4 5\n", "line 2: expected a label"},
    };
    set_up_files();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const qf_annoset_options options = detection(cases[i].type);
        char *path = test_format("bad.%s", cases[i].type), *list = test_format("b.png %s\n", path);
        put_text(path, cases[i].content);
        put_text("list.txt", list);
        assert_fails(context, qf_convert_annoset(context, "list.txt", "", "bad_db", &options),
                     cases[i].sentence);
        assert_non_null(strstr(qf_error_text(context), "list.txt:1"));
        assert_false(qf_file_exists("bad_db"));
        qf_free(path);
        qf_free(list);
    }
}

static void settings_that_fail(void **state)
{
    (void)state;
    qf_annoset_options o = detection("xml");
    set_up_files();
    put_text("list.txt", "a.png a.xml\n");
    o.anno_type = "segmentation";
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "unknown anno_type");
    o = detection("yaml");
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "unknown label_type");
    o = detection("xml");
    o.label_map_file = NULL;
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "needs a label_map_file");
    o = detection("xml");
    o.encode_type = "gif";
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "cannot be encoded");
    put_text("map.prototxt", "item { name: 'cat' label: 1 } item { name: 'cat' label: 2 }");
    o = detection("xml");
    o.check_label = true;
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "have the same name");
    put_text("map.prototxt", "item { name: 'cat' }");
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "item 0 needs a name");
    o = (qf_annoset_options){.size = sizeof o};
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "the label is 'a.xml'");
    put_text("list.txt", "a.png\n");
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "list.txt:1: expected");
    put_text("list.txt", "gone.png 1\n");
    assert_fails(context, qf_convert_annoset(context, "list.txt", "", "x", &o),
                 "no images that can");
    assert_false(qf_file_exists("x"));
}

/* ---- names and sizes ---- */

static void sizes(void **state)
{
    (void)state;
    qf_name_sizes found;
    set_up_files();
    put_text("list.txt", "a.png a.xml\nb.png b.xml\n");
    assert_ok(context, qf_get_image_size(context, "list.txt", "", "sizes.txt", NULL));
    assert_ok(context, qf_name_sizes_read(context, "sizes.txt", &found));
    assert_int_equal(found.count, 2);
    assert_string_equal(found.items[1].name, "b");
    assert_true(found.items[0].height == 100 && found.items[0].width == 200);
    qf_name_sizes_release(&found);
    put_text("ids.txt", "b 12\na 7\n");
    assert_ok(context, qf_get_image_size(context, "list.txt", "", "sizes.txt", "ids.txt"));
    assert_ok(context, qf_name_sizes_read(context, "sizes.txt", &found));
    assert_string_equal(found.items[0].name, "7");
    assert_string_equal(found.items[1].name, "12");
    qf_name_sizes_release(&found);
    put_text("ids.txt", "b 12\n");
    assert_fails(context, qf_get_image_size(context, "list.txt", "", "sizes.txt", "ids.txt"),
                 "ids.txt has no number for the image 'a'");
    put_text("list.txt", "gone.png a.xml\n");
    assert_fails(context, qf_get_image_size(context, "list.txt", "", "sizes.txt", NULL),
                 "list.txt:1: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_says_the_same),    cmocka_unit_test(sizes_of_stored_images),
        cmocka_unit_test(classes_and_what_is_left_out), cmocka_unit_test(annotations_that_fail),
        cmocka_unit_test(settings_that_fail),           cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
