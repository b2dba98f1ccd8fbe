/* Random sizes of images: within what is asked for, all of it, and the same for the same numbers.
 */
#include "data/sources/transform.h"
#include "harness/fixture.h"

#include <math.h>
#include <string.h>

enum { DRAWS = 400 };

/* Column x of an image is of value x, so what was cut and stretched can be told. */
static qf_image ramp(int height, int width)
{
    qf_image image;
    assert_ok(context, qf_image_fill(context, height, width, 1, (const uint8_t[]){0}, &image));
    for (int i = 0; i < height * width; i++)
        image.pixels[i] = (uint8_t)(i % width);
    return image;
}

/* One image of 60 x 120 through a transformation that is written as text. */
static qf_image prepared(const char *text, uint64_t seed)
{
    Caffe__TransformationParameter *param;
    qf_transform transform;
    qf_random random;
    qf_image image = ramp(60, 120);
    qf_random_seed(&random, seed);
    assert_ok(context, qf_text_parse(context, "transform", text, strlen(text),
                                     &caffe__transformation_parameter__descriptor, &param));
    assert_ok(context, qf_transform_setup(context, param, true, &transform));
    assert_ok(context, qf_transform_prepare(context, &transform, &random, &image));
    qf_transform_release(&transform);
    qf_message_free(param);
    return image;
}

typedef struct extents {
    int least_height, most_height, least_width, most_width;
} extents;

static extents drawn(const char *text)
{
    extents found = {1 << 20, 0, 1 << 20, 0};
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        qf_image image = prepared(text, seed), again = prepared(text, seed);
        assert_int_equal(image.height, again.height);
        assert_int_equal(image.width, again.width);
        assert_memory_equal(image.bytes, again.bytes, (size_t)image.height * image.width);
        found.least_height = image.height < found.least_height ? image.height : found.least_height;
        found.most_height = image.height > found.most_height ? image.height : found.most_height;
        found.least_width = image.width < found.least_width ? image.width : found.least_width;
        found.most_width = image.width > found.most_width ? image.width : found.most_width;
        qf_image_release(&image);
        qf_image_release(&again);
    }
    return found;
}

static void expect(const char *text, const extents *expected)
{
    const extents found = drawn(text);
    if (memcmp(&found, expected, sizeof found) != 0)
        fail_msg("%s: height %d to %d, width %d to %d", text, found.least_height, found.most_height,
                 found.least_width, found.most_width);
}

static void intel_draws_the_shorter_side(void **state)
{
    (void)state;
    expect("crop_size: 20 random_resize_param { min_size: 30 max_size: 40 }",
           &(extents){30, 40, 60, 80});
    expect("crop_size: 20 random_resize_param { min_size: 50 max_size: 50 "
           "resize_param { interp_mode: CUBIC } }",
           &(extents){50, 50, 100, 100});
    expect("crop_size: 20 random_resize_param { max_size: 62 }", &(extents){60, 62, 120, 124});
}

/* All parts become crop_size x crop_size; how steep the ramp is tells how wide they were. */
static void intel_cuts_parts(void **state)
{
    (void)state;
    const char *text = "crop_size: 20 random_aspect_ratio_param { min_area_ratio: 0.1 "
                       "max_area_ratio: 0.5 aspect_ratio_change: 0.75 }";
    double least = 1e9, most = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        qf_image image = prepared(text, seed);
        assert_int_equal(image.height, 20);
        assert_int_equal(image.width, 20);
        const double width = (image.bytes[16] - image.bytes[3]) / 13.0 * 20;
        least = fmin(least, width);
        most = fmax(most, width);
        qf_image_release(&image);
    }
    /* Areas of 720 to 3600 and changes of 0.75 to 1.33: sides of 20.1 to 80, as long as the other
     * is not over 60. */
    assert_in_range(lround(least), 18, 30);
    assert_in_range(lround(most), 65, 82);
    /* No part of the whole area with other sides fits: the shorter side becomes crop_size. */
    expect("crop_size: 20 random_aspect_ratio_param { min_area_ratio: 1 max_area_ratio: 1 "
           "aspect_ratio_change: 0.9 }",
           &(extents){20, 20, 40, 40});
}

static void nvidia_draws_sides(void **state)
{
    (void)state;
    expect("img_rand_resize_lower: 30 img_rand_resize_upper: 35", &(extents){30, 35, 60, 70});
    /* Nothing becomes larger than it was, unless asked for. */
    expect("img_rand_resize_lower: 70 img_rand_resize_upper: 80", &(extents){60, 60, 120, 120});
    expect("img_rand_resize_lower: 70 img_rand_resize_upper: 80 allow_upscale: true",
           &(extents){70, 80, 140, 160});
    expect("img_rand_resize_lower: 40 img_rand_resize_upper: 40 crop_size: 50",
           &(extents){50, 50, 80, 80});
    expect("img_rand_resize_lower: 40 img_rand_resize_upper: 40 rand_resize_ratio_lower: 1 "
           "rand_resize_ratio_upper: 1.5",
           &(extents){40, 40, 40, 60});
    expect("vertical_stretch_lower: 0.5 vertical_stretch_upper: 1", &(extents){30, 60, 120, 120});
    expect("horizontal_stretch_lower: 0.5 horizontal_stretch_upper: 0.6",
           &(extents){60, 60, 60, 72});
}

static void senseless_settings_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"random_resize_param { min_size: 30 }", "random_resize_param needs a crop_size"},
        {"random_aspect_ratio_param { }", "random_aspect_ratio_param needs a crop_size"},
        {"crop_size: 8 random_resize_param { min_size: 30 max_size: 20 }", "goes from 30 to 20"},
        {"crop_size: 8 random_resize_param { min_size: 30 max_size: 4000000000 }", "65536"},
        {"crop_size: 8 random_aspect_ratio_param { max_area_ratio: nan }", "share of the area"},
        {"crop_size: 8 random_aspect_ratio_param { aspect_ratio_change: 0 }", "change"},
        {"img_rand_resize_lower: 9 img_rand_resize_upper: 4", "img_rand_resize goes from 9 to 4"},
        {"rand_resize_ratio_upper: inf", "rand_resize_ratio"},
        {"horizontal_stretch_lower: -1", "horizontal_stretch goes from -1 to 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Caffe__TransformationParameter *param;
        qf_transform transform = {0};
        assert_ok(context, qf_text_parse(context, "transform", cases[i][0], strlen(cases[i][0]),
                                         &caffe__transformation_parameter__descriptor, &param));
        assert_fails(context, qf_transform_setup(context, param, true, &transform), cases[i][1]);
        qf_transform_release(&transform);
        qf_message_free(param);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intel_draws_the_shorter_side),
        cmocka_unit_test(intel_cuts_parts),
        cmocka_unit_test(nvidia_draws_sides),
        cmocka_unit_test(senseless_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
