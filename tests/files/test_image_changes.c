/* What is done to boxes and pixels before a batch is made of them, each by itself and against
 * another way to come to the result. */
#include "data/boxes/box_sampler.h"
#include "data/boxes/fit.h"
#include "data/images/image_codecs.h"
#include "data/images/image_distort.h"
#include "data/images/image_noise.h"
#include "harness/fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A second implementation: what resize_param says, from corner to corner. */
static void fits_by_hand(void **state)
{
    (void)state;
    Caffe__ResizeParameter p = CAFFE__RESIZE_PARAMETER__INIT;
    const qf_box box = {0.25f, 0.5f, 0.75f, 1};
    int height, width;
    p.height = 100;
    p.width = 200;
    p.resize_mode = CAFFE__RESIZE_PARAMETER__RESIZE_MODE__FIT_LARGE_SIZE_AND_PAD;
    /* 100 x 100 becomes 100 x 100 in the middle of 200 x 100: it begins at a quarter. */
    qf_box found = qf_fit_box(&p, 100, 100, &box);
    assert_float_equal(found.x1, 0.375, 1e-6);
    assert_float_equal(found.x2, 0.625, 1e-6);
    assert_float_equal(found.y1, 0.5, 1e-6);
    assert_float_equal(found.y2, 1, 1e-6);
    qf_box back = qf_fit_back(&p, 100, 100, &found);
    assert_float_equal(back.x1, 25, 1e-4);
    assert_float_equal(back.x2, 75, 1e-4);
    assert_float_equal(back.y1, 50, 1e-4);
    /* 100 x 400 (height x width) becomes 50 x 200: it begins at a quarter from above. */
    found = qf_fit_box(&p, 100, 400, &box);
    assert_float_equal(found.y1, 0.5, 1e-6);
    assert_float_equal(found.y2, 0.75, 1e-6);
    assert_float_equal(found.x1, 0.25, 1e-6);
    p.resize_mode = CAFFE__RESIZE_PARAMETER__RESIZE_MODE__FIT_SMALL_SIZE;
    qf_fit_size(&p, 100, 100, &height, &width);
    assert_int_equal(height, 200);
    assert_int_equal(width, 200);
    qf_fit_size(&p, 100, 400, &height, &width);
    assert_int_equal(height, 100);
    assert_int_equal(width, 400);
    p.has_height_scale = p.has_width_scale = true;
    p.height_scale = 400;
    p.width_scale = 400;
    const qf_box whole = {0, 0, 1, 1};
    found = qf_fit_rescale(&p, 100, 100, &whole, &box); /* 200 pixels as shares of 400 */
    assert_float_equal(found.x2, 0.375, 1e-6);
    assert_float_equal(found.y2, 0.5, 1e-6);
    back = qf_fit_back(NULL, 50, 80, &box);
    assert_float_equal(back.x2, 60, 1e-4);
    assert_float_equal(back.y2, 50, 1e-4);
}

/* ---- samples ---- */

static void samples_are_as_asked(void **state)
{
    (void)state;
    Caffe__Sampler sampler = CAFFE__SAMPLER__INIT;
    qf_random random;
    double mean_scale = 0;
    qf_random_seed(&random, 3);
    sampler.min_scale = 0.3f;
    sampler.max_scale = 0.9f;
    sampler.min_aspect_ratio = 0.5f;
    sampler.max_aspect_ratio = 2;
    enum { COUNT = 20000 };
    for (int i = 0; i < COUNT; i++) {
        const qf_box part = qf_box_sample(&sampler, &random);
        const double width = (double)(part.x2 - part.x1), height = (double)(part.y2 - part.y1);
        const double scale = sqrt(width * height), ratio = width / height;
        assert_true(part.x1 >= 0 && part.y1 >= 0 && part.x2 <= 1.00001f && part.y2 <= 1.00001f);
        assert_true(scale > 0.2999 && scale < 0.9001);
        assert_true(ratio > fmax(0.4999, scale * scale * 0.999) &&
                    ratio < fmin(2.0001, 1.001 / (scale * scale)));
        mean_scale += scale / COUNT;
    }
    assert_float_equal(mean_scale, 0.6, 0.01);
}

/* The constraint by counting points of a grid, which knows no formula for areas. */
static void constraints_by_counting(void **state)
{
    (void)state;
    enum { GRID = 400 };
    qf_random random;
    qf_random_seed(&random, 8);
    for (int round = 0; round < 40; round++) {
        Caffe__SampleConstraint c = CAFFE__SAMPLE_CONSTRAINT__INIT;
        qf_annotation object = {0};
        const qf_box part = {
            qf_random_uniform(&random, 0, 0.5f), qf_random_uniform(&random, 0, 0.5f),
            qf_random_uniform(&random, 0.5f, 1), qf_random_uniform(&random, 0.5f, 1)};
        object.box =
            (qf_box){qf_random_uniform(&random, 0, 0.6f), qf_random_uniform(&random, 0, 0.6f),
                     qf_random_uniform(&random, 0.6f, 1), qf_random_uniform(&random, 0.6f, 1)};
        int in_part = 0, in_object = 0, in_both = 0;
        for (int k = 0; k < GRID * GRID; k++) {
            const float x = ((float)(k % GRID) + 0.5f) / GRID,
                        y = ((float)(k / GRID) + 0.5f) / GRID;
            const qf_box *o = &object.box;
            const bool a = x > part.x1 && x < part.x2 && y > part.y1 && y < part.y2;
            const bool b = x > o->x1 && x < o->x2 && y > o->y1 && y < o->y2;
            in_part += a;
            in_object += b;
            in_both += a && b;
        }
        const float overlap = (float)in_both / (float)(in_part + in_object - in_both),
                    of_part = (float)in_both / (float)in_part,
                    of_object = (float)in_both / (float)in_object;
        assert_true(qf_box_satisfies(&c, &part, NULL, 0)); /* nothing is asked */
        c.has_min_jaccard_overlap = c.has_max_jaccard_overlap = true;
        c.min_jaccard_overlap = overlap - 0.02f;
        c.max_jaccard_overlap = overlap + 0.02f;
        assert_true(qf_box_satisfies(&c, &part, &object, 1));
        assert_false(qf_box_satisfies(&c, &part, &object, 0));
        c.has_min_sample_coverage = c.has_max_object_coverage = true;
        c.min_sample_coverage = of_part - 0.02f;
        c.max_object_coverage = of_object + 0.02f;
        assert_true(qf_box_satisfies(&c, &part, &object, 1));
        c.min_sample_coverage = of_part + 0.02f; /* all of it must hold for one object */
        assert_false(qf_box_satisfies(&c, &part, &object, 1));
        c.min_sample_coverage = 0;
        c.max_object_coverage = of_object - 0.02f;
        assert_false(qf_box_satisfies(&c, &part, &object, 1));
    }
}

/* ---- pixels ---- */

static qf_image image_of(int height, int width, int channels, int (*value)(int y, int x, int c))
{
    qf_image image = {0};
    assert_ok(context, qf_image_make(context, height, width, channels, &image));
    for (int i = 0; i < height * width * channels; i++)
        image.pixels[i] = (uint8_t)value(i / channels / width, i / channels % width, i % channels);
    return image;
}

static int ramp(int y, int x, int c)
{
    return 3 * x + 2 * y + 10 * c;
}

static int flat(int y, int x, int c)
{
    (void)y;
    (void)x;
    return 70 + c;
}

static int noisy(int y, int x, int c)
{
    return (y * 37 + x * 91 + c * 53 + y * x) % 256;
}

static const qf_interpolation interpolations[] = {QF_INTERPOLATE_LINEAR, QF_INTERPOLATE_AREA,
                                                  QF_INTERPOLATE_NEAREST, QF_INTERPOLATE_CUBIC,
                                                  QF_INTERPOLATE_LANCZOS};
enum { INTERPOLATIONS = sizeof interpolations / sizeof *interpolations };

/* What is flat stays flat; of a ramp, whose value at any place is known, all but the borders. */
static void interpolations_keep_ramps(void **state)
{
    (void)state;
    static const int sizes[][2] = {{13, 31}, {40, 17}, {7, 9}, {50, 60}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < INTERPOLATIONS; i++) {
            const int height = sizes[s][0], width = sizes[s][1];
            const bool grows = height > 20 || width > 30;
            qf_image image = image_of(20, 30, 3, flat);
            assert_ok(context,
                      qf_image_interpolate(context, &image, height, width, interpolations[i]));
            for (int k = 0; k < height * width * 3; k++)
                assert_int_equal(image.pixels[k], 70 + k % 3);
            qf_image_release(&image);
            image = image_of(20, 30, 3, ramp);
            assert_ok(context,
                      qf_image_interpolate(context, &image, height, width, interpolations[i]));
            for (int k = 0; k < height * width * 3; k++) {
                const float y = ((float)(k / 3 / width) + 0.5f) * 20 / (float)height - 0.5f,
                            x = ((float)(k / 3 % width) + 0.5f) * 30 / (float)width - 0.5f;
                /* Nearest and growing areas take the pixel before, not the middle. */
                const bool steps = interpolations[i] == QF_INTERPOLATE_NEAREST ||
                                   (interpolations[i] == QF_INTERPOLATE_AREA && grows);
                const float blur =
                    steps ? 3 * (15.f / (float)width + 1) + 2 * (10.f / (float)height + 1) : 1.01f;
                if (y > 4 && y < 15 && x > 4 && x < 25)
                    assert_float_equal(image.pixels[k], 3 * x + 2 * y + 10 * (float)(k % 3), blur);
            }
            qf_image_release(&image);
        }
}

/* Shrunk by whole numbers, AREA is the mean of the pixels and NEAREST the first of them. */
static void areas_are_means(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        qf_image from = image_of(12, 15, 1, noisy), image = image_of(12, 15, 1, noisy);
        assert_ok(context,
                  qf_image_interpolate(context, &image, 4, 5,
                                       round ? QF_INTERPOLATE_NEAREST : QF_INTERPOLATE_AREA));
        for (int k = 0; k < 20; k++) {
            float sum = 0;
            for (int n = 0; n < 9; n++)
                sum += (float)from.pixels[(k / 5 * 3 + n / 3) * 15 + k % 5 * 3 + n % 3];
            if (round)
                assert_int_equal(image.pixels[k], from.pixels[k / 5 * 45 + k % 5 * 3]);
            else
                assert_float_equal(image.pixels[k], sum / 9, 0.51);
        }
        qf_image_release(&from);
        qf_image_release(&image);
    }
}

static void borders(void **state)
{
    (void)state;
    static const struct {
        qf_border border;
        uint8_t row[9];
    } cases[] = {
        {QF_BORDER_CONSTANT, {9, 9, 9, 0, 3, 6, 9, 9, 9}},
        {QF_BORDER_MIRRORED, {3, 6, 3, 0, 3, 6, 3, 0, 3}},
        {QF_BORDER_REPEATED, {0, 0, 0, 0, 3, 6, 6, 6, 6}},
    };
    for (size_t i = 0; i < 3; i++) {
        qf_image image = image_of(1, 3, 1, ramp);
        assert_ok(context, qf_image_pad(context, &image, &(qf_padding){0, 0, 3, 3}, cases[i].border,
                                        &(uint8_t){9}));
        assert_int_equal(image.width, 9);
        assert_memory_equal(image.pixels, cases[i].row, 9);
        qf_image_release(&image);
    }
}

/* Known colours, and there and back for many. */
static void hues(void **state)
{
    (void)state;
    static const uint8_t known[][6] = {{0, 0, 255, 0, 255, 255},    {0, 255, 0, 60, 255, 255},
                                       {255, 0, 0, 120, 255, 255},  {128, 128, 128, 0, 0, 128},
                                       {0, 255, 255, 30, 255, 255}, {0, 0, 0, 0, 0, 0}};
    uint8_t hsv[3], bgr[3];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        qf_pixel_to_hsv(known[i], hsv);
        assert_memory_equal(hsv, known[i] + 3, 3);
    }
    for (int k = 0; k < 4096; k++) {
        const uint8_t from[3] = {(uint8_t)(k % 16 * 17), (uint8_t)(k / 16 % 16 * 17),
                                 (uint8_t)(k / 256 * 17)};
        qf_pixel_to_hsv(from, hsv);
        qf_pixel_from_hsv(hsv, bgr);
        for (int c = 0; c < 3; c++) /* 180 hues: two degrees of a circle of 1530 steps each */
            assert_true(abs(bgr[c] - from[c]) <= 6);
    }
}

/* ---- noise ---- */

static qf_image with_noise(int (*value)(int, int, int), int channels,
                           const Caffe__NoiseParameter *param)
{
    qf_random random;
    qf_random_seed(&random, 4);
    qf_image image = image_of(24, 32, channels, value);
    assert_ok(context, qf_noise_check(context, param));
    assert_ok(context, qf_image_add_noise(context, param, &random, &image));
    return image;
}

static int two_greys(int y, int x, int c)
{
    (void)y;
    (void)c;
    return x < 16 ? 100 : 140;
}

static void noise(void **state)
{
    (void)state;
    Caffe__NoiseParameter p = CAFFE__NOISE_PARAMETER__INIT;
    Caffe__SaltPepperParameter grains = CAFFE__SALT_PEPPER_PARAMETER__INIT;
    p.inverse = true;
    qf_image image = with_noise(ramp, 3, &p);
    assert_int_equal(image.pixels[3 * 33 + 1], 255 - ramp(1, 1, 1));
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.posterize = true;
    image = with_noise(ramp, 1, &p);
    assert_int_equal(image.pixels[31], 96); /* 93 is from 64 to 127 */
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.decolorize = true;
    image = with_noise(ramp, 3, &p);
    assert_true(image.pixels[0] == image.pixels[1] && image.pixels[1] == image.pixels[2]);
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.erode = true; /* a ramp: the least is the neighbour before */
    image = with_noise(ramp, 1, &p);
    assert_int_equal(image.pixels[5 * 32 + 7], ramp(5, 6, 0));
    assert_int_equal(image.pixels[0], 0);
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.gauss_blur = true;
    image = with_noise(ramp, 1, &p); /* a ramp stays one */
    assert_int_equal(image.pixels[10 * 32 + 12], ramp(10, 12, 0));
    qf_image_release(&image);
    image = with_noise(two_greys, 1, &p);
    assert_true(image.pixels[15] > 105 && image.pixels[15] < image.pixels[16]);
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.hist_eq = true;
    image = with_noise(two_greys, 3, &p); /* the darkest to 0, the brightest to 255 */
    assert_int_equal(image.pixels[0], 0);
    assert_int_equal(image.pixels[3 * 31], 255);
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.clahe = true;
    image = with_noise(noisy, 3, &p);
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    p.has_jpeg = true;
    p.jpeg = 30;
    image = with_noise(flat, 3, &p);
    for (int k = 0; k < 3 * 24 * 32; k++)
        assert_float_equal(image.pixels[k], 71, 6);
    qf_image_release(&image);
    p = (Caffe__NoiseParameter)CAFFE__NOISE_PARAMETER__INIT;
    float white = 255;
    p.saltpepper = true;
    p.saltpepper_param = &grains;
    grains.fraction = 0.1f;
    grains.n_value = 1;
    grains.value = &white;
    image = with_noise(flat, 1, &p);
    int bright = 0;
    for (int k = 0; k < 24 * 32; k++)
        bright += image.pixels[k] == 255;
    assert_true(bright > 60 && bright <= 76); /* some of 76 fall on others */
    qf_image_release(&image);
}

/* Each tile of one grey: equalised in the limits of the clip, and without steps between tiles. */
static void tiles_are_equalised(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    uint8_t plane[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++)
        plane[i] = (uint8_t)(100 + i % SIDE / 4);
    assert_ok(context, qf_equalize_tiles(context, plane, SIDE, SIDE));
    int least = 255, most = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const int value = plane[y * SIDE + x];
            assert_int_equal(value, plane[x]); /* rows were the same */
            if (x)
                assert_true(abs(value - plane[y * SIDE + x - 1]) < 40);
            least = value < least ? value : least;
            most = value > most ? value : most;
        }
    assert_true(most - least > 15); /* more than the 15 steps that there were */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_by_hand),
        cmocka_unit_test(samples_are_as_asked),
        cmocka_unit_test(constraints_by_counting),
        cmocka_unit_test(interpolations_keep_ramps),
        cmocka_unit_test(areas_are_means),
        cmocka_unit_test(borders),
        cmocka_unit_test(hues),
        cmocka_unit_test(noise),
        cmocka_unit_test(tiles_are_equalised),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
