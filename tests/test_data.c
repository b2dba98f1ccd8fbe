/* Images and databases: what is stored is what a net sees; damage is an error with a sentence. */
#include "data/datum.h"
#include "data/sample_store.h"
#include "harness/harness.h"
#include "model/model.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <unistd.h>

enum { HEIGHT = 12, WIDTH = 20 };

static qf_context *context;
static char *folder;

static int set_up(void **state)
{
    (void)state;
    context = test_context();
    folder = test_make_directory();
    return chdir(folder);
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    test_remove_directory(folder);
    qf_free(folder);
    qf_context_destroy(context);
    return 0;
}

/* Smooth, so that JPEG keeps it nearly; blue, green, red. */
static int pixel(int row, int column, int channel)
{
    return channel == 0 ? 10 * row : channel == 1 ? 10 * column : 100 + 2 * row + column;
}

static uint8_t *pixels(int channels)
{
    uint8_t *all = qf_alloc((size_t)(HEIGHT * WIDTH), (size_t)channels);
    for (int i = 0; i < HEIGHT * WIDTH * channels; i++)
        all[i] = (uint8_t)pixel(i / channels / WIDTH, i / channels % WIDTH, i % channels);
    return all;
}

/* Without a colour space: a grey image made of a colour one would be of linear light otherwise. */
static void write_png(const char *path, int channels)
{
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    uint8_t *all = pixels(channels);
    assert_non_null(file);
    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_init_io(png, file);
    png_set_IHDR(png, info, WIDTH, HEIGHT, 8,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    png_set_bgr(png);
    for (int row = 0; row < HEIGHT; row++)
        png_write_row(png, all + row * WIDTH * channels);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    assert_int_equal(fclose(file), 0);
    qf_free(all);
}

static void write_jpeg(const char *path)
{
    tjhandle encoder = tjInitCompress();
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    uint8_t *all = pixels(3);
    assert_int_equal(
        tjCompress2(encoder, all, WIDTH, 0, HEIGHT, TJPF_BGR, &bytes, &size, TJSAMP_444, 100, 0),
        0);
    assert_ok(context, qf_file_write(context, path, bytes, size, 0644));
    tjFree(bytes);
    tjDestroy(encoder);
    qf_free(all);
}

/* The image file as the bytes of an encoded datum. */
static qf_status decode(const char *path, size_t size, qf_color color, qf_image *out)
{
    qf_buffer file = {0};
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    assert_ok(context, qf_file_read(context, path, &file));
    datum.has_data = datum.has_encoded = datum.encoded = true;
    datum.data.data = (uint8_t *)file.data;
    datum.data.len = size < file.size ? size : file.size;
    uint8_t *bytes = qf_alloc(caffe__datum__get_packed_size(&datum), 1);
    qf_status status =
        qf_datum_decode(context, bytes, caffe__datum__pack(&datum, bytes), color, out);
    qf_free(bytes);
    qf_buffer_release(&file);
    return status;
}

static int at(const qf_image *image, int channel, int row, int column)
{
    return image->bytes[(size_t)channel * image->channel_step + (size_t)row * image->row_step +
                        (size_t)column * image->pixel_step];
}

static void assert_pixels(const qf_image *image, int channels, int tolerance)
{
    assert_int_equal(image->channels, channels);
    assert_int_equal(image->height, HEIGHT);
    assert_int_equal(image->width, WIDTH);
    for (int c = 0; c < channels; c++)
        for (int row = 0; row < HEIGHT; row++)
            for (int column = 0; column < WIDTH; column++)
                assert_in_range(at(image, c, row, column) - pixel(row, column, c) + tolerance, 0,
                                2 * tolerance);
}

static void images_are_decoded(void **state)
{
    (void)state;
    qf_image image;
    write_png("color.png", 3);
    write_png("gray.png", 1);
    write_jpeg("color.jpg");
    assert_ok(context, decode("color.png", SIZE_MAX, QF_COLOR_AS_STORED, &image));
    assert_pixels(&image, 3, 0);
    qf_image_release(&image);
    assert_ok(context, decode("gray.png", SIZE_MAX, QF_COLOR_AS_STORED, &image));
    assert_pixels(&image, 1, 0);
    qf_image_release(&image);
    assert_ok(context, decode("color.jpg", SIZE_MAX, QF_COLOR_AS_STORED, &image));
    assert_pixels(&image, 3, 3);
    qf_image_release(&image);
}

static void colours_are_forced(void **state)
{
    (void)state;
    qf_image image;
    write_png("color.png", 3);
    write_png("gray.png", 1);
    write_jpeg("color.jpg");
    assert_ok(context, decode("gray.png", SIZE_MAX, QF_COLOR_FORCED, &image));
    assert_int_equal(image.channels, 3);
    for (int c = 0; c < 3; c++)
        assert_int_equal(at(&image, c, 3, 4), pixel(3, 4, 0));
    qf_image_release(&image);
    static const char *const files[] = {"color.png", "color.jpg"};
    for (size_t i = 0; i < 2; i++) {
        const double luma =
            0.114 * pixel(3, 4, 0) + 0.587 * pixel(3, 4, 1) + 0.299 * pixel(3, 4, 2);
        assert_ok(context, decode(files[i], SIZE_MAX, QF_GRAY_FORCED, &image));
        assert_int_equal(image.channels, 1);
        assert_true(at(&image, 0, 3, 4) > luma - 3 && at(&image, 0, 3, 4) < luma + 3);
        qf_image_release(&image);
    }
}

static void damaged_images_fail(void **state)
{
    (void)state;
    qf_image image;
    write_png("color.png", 3);
    write_jpeg("color.jpg");
    assert_fails(context, decode("color.png", 40, QF_COLOR_AS_STORED, &image), "PNG");
    assert_fails(context, decode("color.jpg", 20, QF_COLOR_AS_STORED, &image), "JPEG");
    assert_fails(context, decode("color.jpg", 2, QF_COLOR_AS_STORED, &image), "neither JPEG");
    for (size_t size = 0; size < 400; size += 7) { /* whatever is missing: no crash, no leak */
        if (decode("color.png", size, QF_COLOR_AS_STORED, &image) == QF_OK)
            qf_image_release(&image);
        if (decode("color.jpg", size, QF_COLOR_AS_STORED, &image) == QF_OK)
            qf_image_release(&image);
    }
}

static qf_status raw(int channels, int height, int width, size_t bytes, qf_image *out)
{
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    uint8_t data[64] = {0}, packed[256];
    datum.has_channels = datum.has_height = datum.has_width = datum.has_data = true;
    datum.channels = channels;
    datum.height = height;
    datum.width = width;
    datum.data.data = data;
    datum.data.len = bytes;
    return qf_datum_decode(context, packed, caffe__datum__pack(&datum, packed), QF_COLOR_AS_STORED,
                           out);
}

static void raw_sizes_are_checked(void **state)
{
    (void)state;
    qf_image image;
    assert_ok(context, raw(3, 4, 5, 60, &image));
    qf_image_release(&image);
    assert_fails(context, raw(3, 4, 5, 59, &image), "59");
    assert_fails(context, raw(3, -4, 5, 60, &image), "not possible");
    assert_fails(context, raw(0, 4, 5, 60, &image), "not possible");
    assert_fails(context, raw(1 << 30, 1 << 12, 1 << 12, 60, &image), "datum_channels");
    assert_fails(context, qf_datum_decode(context, "\xff\xff\xff", 3, QF_COLOR_AS_STORED, &image),
                 "datum");
}

static void lists_become_databases(void **state)
{
    (void)state;
    qf_sample_store *store;
    qf_sample sample;
    uint64_t count;
    qf_image image;
    write_png("one.png", 3);
    write_png("two words.png", 1);
    assert_ok(context,
              qf_file_write(context, "list.txt", "one.png 5\r\n\ntwo words.png 7", 28, 0644));
    assert_ok(context, qf_convert_images(context, "list.txt", ".", -1, "images_lmdb"));
    assert_ok(context, qf_sample_store_open(context, "images_lmdb", &store));
    assert_ok(context, qf_sample_store_count(context, store, &count));
    assert_int_equal(count, 2);
    static const int labels[] = {5, 7, 5}; /* round and round */
    for (int i = 0; i < 3; i++) {
        assert_ok(context, qf_sample_store_next(context, store, &sample));
        assert_ok(context, qf_datum_decode(context, sample.value, sample.value_size,
                                           QF_COLOR_AS_STORED, &image));
        assert_int_equal(image.label, labels[i]);
        qf_image_release(&image);
    }
    qf_sample_store_close(store);
    assert_fails(context, qf_convert_images(context, "list.txt", ".", -1, "images_lmdb"),
                 "images_lmdb");
}

static void list_fails(const char *text, const char *part)
{
    assert_ok(context, qf_file_write(context, "bad.txt", text, strlen(text), 0644));
    assert_fails(context, qf_convert_images(context, "bad.txt", ".", 3, "bad_lmdb"), part);
    assert_int_not_equal(access("bad_lmdb", F_OK), 0); /* nothing is left behind */
}

static void bad_lists(void **state)
{
    (void)state;
    list_fails("", "names no images");
    list_fails("one.png", "bad.txt:1");
    list_fails("one.png five", "bad.txt:1");
    list_fails("one.png 99999999999", "bad.txt:1");
    list_fails("nobody.png 3", "nobody.png");
}

static void bad_databases(void **state)
{
    (void)state;
    qf_sample_store *store;
    qf_sample_writer *writer;
    assert_fails(context, qf_sample_store_open(context, "nowhere", &store), "nowhere");
    assert_ok(context, qf_sample_writer_create(context, "empty", QF_STORE_LMDB, &writer));
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
    assert_fails(context, qf_sample_store_open(context, "empty", &store), "empty");
    assert_ok(context, qf_file_write(context, "garbage/data.mdb", "not a database", 14, 0644));
    assert_fails(context, qf_sample_store_open(context, "garbage", &store), "garbage");
    assert_fails(context, qf_sample_writer_create(context, "/proc/no/db", QF_STORE_LMDB, &writer),
                 "/proc/no");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_decoded),     cmocka_unit_test(colours_are_forced),
        cmocka_unit_test(damaged_images_fail),    cmocka_unit_test(raw_sizes_are_checked),
        cmocka_unit_test(lists_become_databases), cmocka_unit_test(bad_lists),
        cmocka_unit_test(bad_databases),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
