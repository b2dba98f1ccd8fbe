/* Images and databases: what is stored is what a net sees; damage is an error with a sentence. */
#include "data/stores/datum.h"
#include "data/stores/sample_store.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <unistd.h>

enum { HEIGHT = 12, WIDTH = 20 };

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

/* Two pixels in a row, whatever PNG can hold. */
static void write_two_pixels(const char *path, int kind, int depth, const uint8_t *row)
{
    static const png_color palette[2] = {{1, 2, 3}, {10, 20, 30}};
    static const png_byte alpha[2] = {255, 77};
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(file);
    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_init_io(png, file);
    png_set_IHDR(png, info, 2, 1, depth, kind, PNG_INTERLACE_NONE, 0, 0);
    if (kind == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 2);
        png_set_tRNS(png, info, alpha, 2, NULL);
    }
    png_write_info(png, info);
    png_write_row(png, row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    assert_int_equal(fclose(file), 0);
}

/* What OpenCV makes of it, for Caffe's three ways to read: the values in order of memory. */
static void every_kind_of_png(void **state)
{
    (void)state;
    static const struct {
        int kind, depth;
        uint8_t row[12];
        qf_color color;
        int channels; /* 0: refused */
        uint8_t expected[8];
    } cases[] = {
        {PNG_COLOR_TYPE_GRAY, 16, {0x12, 0xff, 0xfe, 0}, QF_GRAY_FORCED, 1, {0x12, 0xfe}},
        {PNG_COLOR_TYPE_GRAY, 16, {0x12, 0xff, 0xfe, 0}, QF_COLOR_AS_STORED, 0, {0}},
        {PNG_COLOR_TYPE_GRAY, 1, {0x40}, QF_COLOR_AS_STORED, 1, {0, 255}},
        {PNG_COLOR_TYPE_GRAY, 4, {0x3f}, QF_COLOR_FORCED, 3, {51, 51, 51, 255, 255, 255}},
        {PNG_COLOR_TYPE_PALETTE, 1, {0x40}, QF_COLOR_FORCED, 3, {3, 2, 1, 30, 20, 10}},
        {PNG_COLOR_TYPE_PALETTE, 1, {0x40}, QF_LABELS, 1, {0, 1}},
        {PNG_COLOR_TYPE_PALETTE, 1, {0x40}, QF_COLOR_AS_STORED, 4, {3, 2, 1, 255, 30, 20, 10, 77}},
        {PNG_COLOR_TYPE_RGB_ALPHA,
         8,
         {1, 2, 3, 0, 4, 5, 6, 9},
         QF_COLOR_FORCED,
         3,
         {3, 2, 1, 6, 5, 4}},
        {PNG_COLOR_TYPE_RGB_ALPHA,
         8,
         {1, 2, 3, 0, 4, 5, 6, 9},
         QF_COLOR_AS_STORED,
         4,
         {3, 2, 1, 0, 6, 5, 4, 9}},
        {PNG_COLOR_TYPE_GRAY_ALPHA,
         8,
         {7, 0, 8, 9},
         QF_COLOR_AS_STORED,
         4,
         {7, 7, 7, 0, 8, 8, 8, 9}},
        {PNG_COLOR_TYPE_RGB, 8, {100, 0, 0, 0, 0, 100}, QF_GRAY_FORCED, 1, {29, 11}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qf_image image;
        write_two_pixels("two.png", cases[i].kind, cases[i].depth, cases[i].row);
        qf_status status = decode("two.png", SIZE_MAX, cases[i].color, &image);
        if (cases[i].channels == 0) {
            assert_fails(context, status, "16 bits");
            continue;
        }
        assert_ok(context, status);
        assert_int_equal(image.channels, cases[i].channels);
        assert_memory_equal(image.bytes, cases[i].expected, 2 * (size_t)cases[i].channels);
        qf_image_release(&image);
    }
}

/* A JPEG that its camera turned: upright for who asks for colour or grey, as OpenCV does. */
static void turned_photographs(void **state)
{
    (void)state;
    uint8_t exif[] = "\xff\xe1\0\x22"
                     "Exif\0\0"
                     "MM\0*\0\0\0\x8"
                     "\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0";
    qf_buffer file = {0}, turned = {0};
    qf_image image, plain;
    write_jpeg("color.jpg");
    assert_ok(context, qf_file_read(context, "color.jpg", &file));
    qf_buffer_append(&turned, file.data, 2);
    qf_buffer_append(&turned, exif, 0x24);
    qf_buffer_append(&turned, file.data + 2, file.size - 2);
    assert_ok(context,
              qf_image_decode(context, turned.data, turned.size, QF_COLOR_AS_STORED, &plain));
    assert_int_equal(plain.width, WIDTH);
    assert_ok(context, qf_image_decode(context, turned.data, turned.size, QF_COLOR_FORCED, &image));
    assert_int_equal(image.width, HEIGHT); /* 6: a quarter turn clockwise makes it upright */
    assert_int_equal(image.height, WIDTH);
    for (int h = 0; h < WIDTH; h++)
        for (int w = 0; w < HEIGHT; w++)
            assert_int_equal(at(&image, 1, h, w), at(&plain, 1, HEIGHT - 1 - w, h));
    qf_image_release(&image);
    qf_image_release(&plain);
    qf_buffer_release(&file);
    qf_buffer_release(&turned);
}

static double clamp(double value, int most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

/* Pixel centres aligned, nothing smoothed; 8 bits from fixed point are within one grey level. */
static void resizing_is_bilinear(void **state)
{
    (void)state;
    static const int sizes[][2] = {{12, 20}, {24, 40}, {6, 10}, {5, 7}, {31, 3}, {1, 1}, {12, 50}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        qf_image image, original;
        write_png("color.png", 3);
        assert_ok(context, qf_image_read(context, "color.png", QF_COLOR_FORCED, &original));
        assert_ok(context, qf_image_read(context, "color.png", QF_COLOR_FORCED, &image));
        assert_ok(context, qf_image_resize(context, &image, sizes[s][0], sizes[s][1]));
        assert_int_equal(image.height, sizes[s][0]);
        assert_int_equal(image.width, sizes[s][1]);
        for (int h = 0; h < image.height; h++)
            for (int w = 0; w < image.width; w++)
                for (int c = 0; c < 3; c++) {
                    double y = clamp((h + 0.5) * HEIGHT / image.height - 0.5, HEIGHT - 1),
                           x = clamp((w + 0.5) * WIDTH / image.width - 0.5, WIDTH - 1);
                    int top = (int)y, left = (int)x, below = top + (top < HEIGHT - 1),
                        right = left + (left < WIDTH - 1);
                    double expected =
                        (1 - y + top) * ((1 - x + left) * at(&original, c, top, left) +
                                         (x - left) * at(&original, c, top, right)) +
                        (y - top) * ((1 - x + left) * at(&original, c, below, left) +
                                     (x - left) * at(&original, c, below, right));
                    double error = at(&image, c, h, w) - expected;
                    assert_true(error <= 1 && error >= -1);
                }
        qf_image_release(&image);
        qf_image_release(&original);
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
    static const char annotated[] = "\x0a\x06\x08\3\x10\1\x18\1\x10\0";
    assert_fails(
        context,
        qf_datum_decode(context, annotated, sizeof annotated - 1, QF_COLOR_AS_STORED, &image),
        "an annotated image, as SSD's");
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
              qf_file_write(context, "list.txt", "one.png 5\r\n\ntwo words.png 7", 27, 0644));
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
    list_fails("", "bad.txt is empty, but a list of images and labels is expected");
    list_fails("\n \n", "names no images");
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
        cmocka_unit_test(images_are_decoded),
        cmocka_unit_test(colours_are_forced),
        cmocka_unit_test(every_kind_of_png),
        cmocka_unit_test(turned_photographs),
        cmocka_unit_test(resizing_is_bilinear),
        cmocka_unit_test(damaged_images_fail),
        cmocka_unit_test(raw_sizes_are_checked),
        cmocka_unit_test(lists_become_databases),
        cmocka_unit_test(bad_lists),
        cmocka_unit_test(bad_databases),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
