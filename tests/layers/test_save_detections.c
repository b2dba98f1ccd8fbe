/* save_output_param of DetectionOutput: what stands in the files of each form, when they are
 * written, and what it refuses. */
#include "data/sources/data_source.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "harness/command.h"

#include <string.h>

#define OUTPUT(save)                                                                               \
    "type: 'DetectionOutput' detection_output_param { num_classes: 3 confidence_threshold: 0.3 "   \
    "nms_param { nms_threshold: 0.5 } code_type: CORNER variance_encoded_in_target: true "         \
    "save_output_param { output_directory: 'out' output_name_prefix: 'p_' label_map_file: "        \
    "'map.prototxt' name_size_file: 'sizes.txt' " save " } }"

static void set_up_files(void)
{
    test_write_text(context, "map.prototxt",
                    "item { name: 'none' label: 0 } item { name: 'cat' label: 1 } item { name: '7' "
                    "label: 2 }");
    test_write_text(context, "sizes.txt", "first 100 200\n2 50 50\nthird 10 10\n");
}

/* Two images and two priors: the first is a cat at the one and class 2 at the other, the second a
 * cat with a score of 0.5. */
static qf_net *make_net(const char *rest)
{
    qf_net *net = test_make_layer(context, QF_TEST,
                                  (const char *const[]){"2 8", "2 6", "1 2 8", NULL}, rest, 1);
    TEST_FILL(net, "x1", 0.1f, 0.9f, 0, 0.1f, 0, 0.75f, 0.2f, 0.5f, 0, 0.9f, 0.1f, 0);
    TEST_FILL(net, "x2", 0.1f, 0.1f, 0.5f, 0.6f, 0.7f, 0.7f, 0.9f, 1.5f, 1, 1, 1, 1, 1, 1, 1, 1);
    return net;
}

static void expect_file(const char *path, const char *content)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read_text(context, path, &file));
    assert_string_equal(file.data, content);
    qf_buffer_release(&file);
}

static void forms(void **state)
{
    (void)state;
    set_up_files();
    qf_net *net = make_net(OUTPUT("output_format: 'VOC' num_test_image: 2"));
    test_forward(context, net);
    /* 200 x 100 pixels: 20 to 100, 10 to 60; 140 to 180, 70 to 100 (cut to the image); 5 to 25, 5
     * to 30.
     */
    expect_file("out/p_cat.txt", "first 0.9 20 10 100 60\n2 0.5 5 5 25 30\n");
    expect_file("out/p_7.txt", "first 0.75 140 70 180 100\n");
    assert_false(qf_file_exists("out/p_none.txt"));
    qf_net_destroy(net);

    net = make_net(OUTPUT("output_format: 'ILSVRC' num_test_image: 2"));
    test_forward(context, net);
    expect_file("out/p_.txt",
                "first 1 0.9 20 10 100 60\nfirst 2 0.75 140 70 180 100\n2 1 0.5 5 5 25 30\n");
    qf_net_destroy(net);

    net = make_net(OUTPUT("output_format: 'COCO' num_test_image: 2"));
    test_forward(context, net);
    expect_file(
        "out/p_.json",
        "[\n"
        "    {\"image_id\": \"first\", \"category_id\": \"cat\", \"bbox\": [20.00, 10.00, "
        "80.00, 50.00], \"score\": 0.9},\n"
        "    {\"image_id\": \"first\", \"category_id\": 7, \"bbox\": [140.00, 70.00, 40.00, "
        "30.00], \"score\": 0.75},\n"
        "    {\"image_id\": 2, \"category_id\": \"cat\", \"bbox\": [5.00, 5.00, 20.00, "
        "25.00], \"score\": 0.5}\n]\n");
    qf_net_destroy(net);
}

/* Three images in batches of two: written behind the third, which is the first of a batch. */
static void rounds(void **state)
{
    (void)state;
    set_up_files();
    qf_net *net = make_net(OUTPUT("output_format: 'ILSVRC'"));
    qf_layer *layer = net->layers[net->layer_count - 1];
    qf_data_state stands = {0};
    test_remove_directory("out");
    test_forward(context, net);
    assert_false(qf_file_exists("out/p_.txt"));
    test_forward(context, net);
    expect_file("out/p_.txt",
                "first 1 0.9 20 10 100 60\nfirst 2 0.75 140 70 180 100\n2 1 0.5 5 5 25 30\n"
                "third 1 0.9 1 1 5 6\nthird 2 0.75 7 7 9 10\n");
    layer->type->data_state(layer, &stands);
    assert_int_equal(stands.position, 1); /* the fourth is the first again */
    stands.position = 0;
    assert_ok(context, layer->type->data_restore(layer, &stands));
    test_remove_directory("out");
    test_forward(context, net);
    test_forward(context, net);
    assert_true(qf_file_exists("out/p_.txt"));
    qf_net_destroy(net);
}

static void refused(void **state)
{
    (void)state;
    static const test_refusal rows[] = {
        {OUTPUT(""), {"2 8", "2 6", "1 2 8"}, "output_format is ''"},
        {OUTPUT("output_format: 'YOLO'"), {"2 8", "2 6", "1 2 8"}, "output_format is 'YOLO'"},
        {OUTPUT("output_format: 'VOC' num_test_image: 4"),
         {"2 8", "2 6", "1 2 8"},
         "num_test_image is 4, but sizes.txt has 3 names"},
        {OUTPUT("output_format: 'VOC' resize_param { }"),
         {"2 8", "2 6", "1 2 8"},
         "resize_param: height is 0"},
    };
    set_up_files();
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
    test_write_text(context, "map.prototxt", "item { name: 'cat' label: 1 }");
    qf_net *net = make_net(OUTPUT("output_format: 'VOC'"));
    assert_fails(context, qf_net_forward(net, NULL),
                 "label 2 is not in the label map map.prototxt");
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(rounds),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
