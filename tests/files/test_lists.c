/* Lists as people write them: read as Caffe reads them, or refused with file and line; never
 * misread without a word. */
#include "data/sources/image_list.h"
#include "data/sources/window_list.h"
#include "data/stores/hdf5_writer.h"
#include "harness/fixture.h"
#include "net/net.h"

#include <string.h>
#include <unistd.h>

#define TEXT(literal) literal, sizeof(literal) - 1

static void put(const char *bytes, size_t size)
{
    assert_ok(context, qf_file_write(context, "list.txt", bytes, size, 0644));
}

/* `said`: what the refusal says; NULL: the items are these. */
static const struct {
    const char *bytes;
    size_t size;
    qf_list_rules rules;
    const char *said;
    struct {
        const char *path;
        int label, line;
    } items[3];
} image_lists[] = {
    {TEXT("a.png 1\nb c.png 2\n"), QF_LIST_STRICT, NULL, {{"a.png", 1, 1}, {"b c.png", 2, 2}}},
    {TEXT("\xef\xbb\xbf"
          "a.png 1\r\n\r\nb.png\t2\r\n"),
     QF_LIST_STRICT,
     NULL,
     {{"a.png", 1, 1}, {"b.png", 2, 3}}},
    {TEXT("a.png  \t 1 \t \nb.png 2\r\r\n"),
     QF_LIST_STRICT,
     NULL,
     {{"a.png", 1, 1}, {"b.png", 2, 2}}},
    {TEXT("a.png 1\r"), QF_LIST_STRICT, NULL, {{"a.png", 1, 1}}},
    {TEXT(" a.png 1\n'b.png' 2\n\"c d.png\" 3"),
     QF_LIST_STRICT,
     NULL, /* what names them, as Caffe */
     {{" a.png", 1, 1}, {"'b.png'", 2, 2}, {"\"c d.png\"", 3, 3}}},
    {TEXT("a.png 2.0\nb.png -1\nc.png +3\n"),
     QF_LIST_STRICT,
     NULL,
     {{"a.png", 2, 1}, {"b.png", -1, 2}, {"c.png", 3, 3}}},
    {TEXT("a.png\nb.png x\nc.png 0x10\n"),
     QF_LIST_LENIENT,
     NULL,
     {{"a.png", 0, 1}, {"b.png", 0, 2}, {"c.png", 0, 3}}},
    {TEXT("a.png 3rd\nb.png nan\nc.png inf"),
     QF_LIST_LENIENT,
     NULL,
     {{"a.png", 3, 1}, {"b.png", 0, 2}, {"c.png", 0, 3}}},
    {TEXT("a.png 2147483647\nb.png -2147483648\n"),
     QF_LIST_STRICT,
     NULL,
     {{"a.png", INT32_MAX, 1}, {"b.png", INT32_MIN, 2}}},
    {TEXT("a.png\n"), QF_LIST_STRICT, "list.txt:1: expected a path and a label", {{0}}},
    {TEXT("a.png 1\nb.png 0x10\n"), QF_LIST_STRICT, "list.txt:2: expected a path", {{0}}},
    {TEXT("a.png 1\nb.png 1.5\n"),
     QF_LIST_LENIENT,
     "list.txt:2: labels of images are whole",
     {{0}}},
    {TEXT("a.png 1e3\n"), QF_LIST_LENIENT, "list.txt:1: labels of images are whole", {{0}}},
    {TEXT("a.png 2147483648\n"), QF_LIST_LENIENT, "fit in 32 bits", {{0}}},
    {TEXT("a.png 1\nb\0.png 2\nc.png 3\n"),
     QF_LIST_LENIENT,
     "list.txt:2: there is a zero byte",
     {{0}}},
    {TEXT("a.png 1\n\0\0\0"), QF_LIST_LENIENT, "list.txt:2: there is a zero byte", {{0}}},
    {TEXT("a.png 1\rb.png 2\r"), QF_LIST_LENIENT, "list.txt:1: there is a carriage return", {{0}}},
    {TEXT("a\0.\0p\0n\0g\0 \0001\0\n\0"),
     QF_LIST_LENIENT,
     "text in UTF-16, but a list of images and labels is expected; save it",
     {{0}}},
};

static void image_lists_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof image_lists / sizeof *image_lists; i++) {
        qf_image_list list;
        size_t count = 0;
        put(image_lists[i].bytes, image_lists[i].size);
        if (image_lists[i].said) {
            assert_fails(context,
                         qf_image_list_read(context, "list.txt", image_lists[i].rules, &list),
                         image_lists[i].said);
            continue;
        }
        assert_ok(context, qf_image_list_read(context, "list.txt", image_lists[i].rules, &list));
        for (; count < 3 && image_lists[i].items[count].path; count++) {
            assert_true(count < list.count);
            assert_string_equal(list.items[count].path, image_lists[i].items[count].path);
            assert_int_equal(list.items[count].label, image_lists[i].items[count].label);
            assert_int_equal(list.items[count].line, image_lists[i].items[count].line);
        }
        assert_int_equal(list.count, count);
        qf_image_list_release(&list);
    }
}

/* One image with one window; the words can be on lines as one likes. NULL: they are read. */
static const struct {
    const char *bytes;
    size_t size;
    const char *said;
} window_lists[] = {
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 0.9 1 4 20 24\n"), NULL},
    {TEXT("\xef\xbb\xbf# 0\r\na.png\r\n3\r\n40\r\n30\r\n1\r\n2 0.9 1 4 20 24\r\n"), NULL},
    {TEXT("# 0 a.png\t3 40 30 1\n\n 2\t0.9  1 4 20 24 "), NULL},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2.0 9e-1 1.0 4. 20 +24\n"), NULL},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2.5 0.9 1 4 20 24\n"),
     "list.txt:7: expected the class of a window, found '2.5'"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 0.9 1.5 4 20 24\n"), "a window's x1, found '1.5'"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 0.9 1 4 2e1 24\n"), "a window's x2, found '2e1'"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 0x1 1 4 20 24\n"), "overlap with an object, found '0x1'"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 nan 1 4 20 24\n"), "overlap with an object, found 'nan'"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 1e99 1 4 20 24\n"), "overlap with an object, found '1e99'"},
    {TEXT("# 0\na.png\n3\n40.5\n30\n1\n2 0.9 1 4 20 24\n"),
     "list.txt:4: expected an image's height"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n0x2 0.9 1 4 20 24\n"), "class of a window, found '0x2'"},
    {TEXT("# 0\na b.png\n3\n40\n30\n0\n"), "list.txt:2: expected an image's channels"},
    {TEXT("# 0\na.png\n3\n40\n30\n1\n2 0.9 1 4 20\0 24\n"), "list.txt:7: there is a zero byte"},
    {TEXT("# 0\ra.png\r3\r40\r30\r0\r"), "list.txt:1: there is a carriage return"},
    {TEXT("#0\na.png\n3\n40\n30\n0\n"), "list.txt:1: expected #"},
};

static void window_lists_are_read_or_refused(void **state)
{
    (void)state;
    Caffe__WindowDataParameter param = CAFFE__WINDOW_DATA_PARAMETER__INIT;
    param.source = "list.txt";
    for (size_t i = 0; i < sizeof window_lists / sizeof *window_lists; i++) {
        qf_window_list list;
        put(window_lists[i].bytes, window_lists[i].size);
        if (window_lists[i].said) {
            assert_fails(context, qf_window_list_read(context, &param, &list),
                         window_lists[i].said);
            continue;
        }
        assert_ok(context, qf_window_list_read(context, &param, &list));
        assert_int_equal(list.image_count, 1);
        assert_string_equal(list.images[0], "a.png");
        assert_int_equal(list.foreground.count, 1);
        const qf_window *w = list.foreground.items;
        assert_int_equal(w->label, 2);
        assert_true(w->left == 1 && w->top == 4 && w->right == 20 && w->bottom == 24);
        qf_window_list_release(&list);
    }
}

static void put_array(const char *path, float value)
{
    qf_hdf5_writer writer;
    assert_ok(context, qf_hdf5_create(context, path, &writer));
    qf_status status = qf_hdf5_put_floats(&writer, "/x", (const int[]){1}, 1, &value);
    assert_ok(context, qf_hdf5_finish(&writer, status));
}

static qf_status read_arrays(float *out, int count)
{
    static const char text[] = "layer { name: 'd' type: 'HDF5Data' top: 'x' hdf5_data_param { "
                               "source: 'list.txt' batch_size: 1 } }";
    qf_net *net;
    assert_ok(context, qf_file_write(context, "net", text, sizeof text - 1, 0644));
    QF_TRY(qf_net_create(context, "net", QF_TRAIN, 0, NULL, 0, &net));
    qf_status status = QF_OK;
    for (int i = 0; i < count && status == QF_OK; i++) {
        const float *values;
        status = qf_net_forward(net, NULL);
        if (status == QF_OK)
            assert_ok(context, qf_blob_data(qf_net_blob(net, "x"), &values));
        out[i] = status == QF_OK ? *values : 0;
    }
    qf_net_destroy(net);
    return status;
}

static void array_lists_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *said; /* NULL: 1.h5, then 2.h5 */
    } lists[] = {
        {TEXT("1.h5\n2.h5\n"), NULL},
        {TEXT("\xef\xbb\xbf"
              "1.h5 \t\r\n\r\n  \n\t 2.h5\r"),
         NULL},
        {TEXT("1.h5 2.h5"), NULL}, /* as Caffe: words */
        {TEXT("1.h5\n\n2.h5x\n"), "list.txt:3: cannot open 2.h5x"},
        {TEXT("1.h5\n\"2.h5\"\n"), "list.txt:2: cannot open \"2.h5\""},
        {TEXT("1.h5\n2\0.h5\n"), "list.txt:2: there is a zero byte"},
        {TEXT("1.h5\r2.h5\r"), "list.txt:1: there is a carriage return"},
        {TEXT("1.h5\nlist.txt\n"),
         "list.txt:2: list.txt is a text file, but an HDF5 file is expected"},
        {TEXT("a.png 1\nb.png 2\n"), "a list of images and labels, but a list of HDF5 files is"},
        {TEXT("\n \n"), "list.txt names no HDF5 files"},
    };
    put_array("1.h5", 1);
    put_array("2.h5", 2);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        float found[3] = {0};
        put(lists[i].bytes, lists[i].size);
        if (lists[i].said) {
            assert_fails(context, read_arrays(found, 3), lists[i].said);
            continue;
        }
        assert_ok(context, read_arrays(found, 3));
        assert_true(found[0] == 1 && found[1] == 2 && found[2] == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_lists_are_read_or_refused),
        cmocka_unit_test(window_lists_are_read_or_refused),
        cmocka_unit_test(array_lists_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
