/* The shapes that qaffe inspect suggests, and makes beside those it is given, where a net's data
 * are not at hand. */
#include "harness/command.h"
#include "harness/fixture.h"

static void rows_of_labels_for_each_image(void **state)
{
    (void)state;
    /* YOLO's labels are rows for each image. */
    test_write_text(
        context, "yolo.prototxt",
        "layer { name: 'd' type: 'AnnotatedData' top: 'd' top: 'l' data_param { source: "
        "'nowhere' batch_size: 2 } annotated_data_param { yolo_data_type: 1 } } layer { "
        "name: 'c' type: 'Convolution' bottom: 'd' top: 'c' convolution_param { "
        "num_output: 6 kernel_size: 1 } } layer { name: 'y' type: 'Yolov3' bottom: 'c' "
        "bottom: 'l' top: 'y' yolov3_param { num_class: 1 num: 1 mask: 0 biases: [9, 9] "
        "} }");
    test_command(0, "2 x 6 x 4 x 5", "", "inspect --model yolo.prototxt --shape d=2x3x4x5");
}

static void what_python_makes(void **state)
{
    (void)state;
    /* Data that Python makes, of which only the layer's settings are known. */
    test_write_text(
        context, "fast_rcnn.prototxt",
        "layer { name: 'd' type: 'Python' top: 'd' top: 'rois' top: 'l' top: 't' python_param { "
        "module: 'roi_data_layer.layer' layer: 'RoIDataLayer' param_str: \"'num_classes': 3\" } } "
        "layer { name: 'r' type: 'ROIPooling' bottom: 'd' bottom: 'rois' top: 'r' "
        "roi_pooling_param { pooled_w: 2 pooled_h: 2 } } layer { name: 'b' type: 'InnerProduct' "
        "bottom: 'r' top: 'b' inner_product_param { num_output: 12 } } layer { name: 'e' type: "
        "'EuclideanLoss' bottom: 'b' bottom: 't' top: 'e' }");
    test_command(1, "--shape d=1x3x608x1024", "", "inspect --model fast_rcnn.prototxt");
    test_command(0, "1 x 3 x 2 x 2", "",
                 "inspect --model fast_rcnn.prototxt --shape d=1x3x30x40 --phase TRAIN");
    /* What only the net says: labels of pixels, another image, labels side by side, an autoencoder.
     */
    test_write_text(
        context, "python.prototxt",
        "layer { name: 'd' type: 'Python' top: 'd' top: 'e' top: 'l' python_param { module: 'm' "
        "layer: 'L' } } layer { name: 'j' type: 'Concat' bottom: 'd' bottom: 'e' top: 'j' } layer "
        "{ name: 'c' type: 'Deconvolution' bottom: 'j' top: 'c' convolution_param { num_output: 2 "
        "kernel_size: 1 } } layer { name: 's' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 'l' top: "
        "'s' }");
    test_command(0, "2 x 2 x 12 x 20", "", "inspect --model python.prototxt --shape d=2x3x12x20");
}

static void images_side_by_side(void **state)
{
    (void)state;
    test_write_text(
        context, "side_by_side.prototxt",
        "layer { name: 'd' type: 'Data' top: 'd' top: 'l' data_param { source: 'nowhere' "
        "batch_size: 2 } } layer { name: 's' type: 'Slice' bottom: 'd' top: 'a' top: 'b' "
        "slice_param { slice_dim: 1 slice_point: 1 } } layer { name: 'z' type: 'Slice' bottom: 'l' "
        "top: 'u' top: 'v' } layer { name: 'w' type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' "
        "bottom: 'u' top: 'w' }");
    test_command(1, "--shape d=1x2x224x224", "", "inspect --model side_by_side.prototxt");
    test_command(0, "2 x 1", "", "inspect --model side_by_side.prototxt --shape d=2x2x1x1");
}

static void images_that_are_made_again(void **state)
{
    (void)state;
    test_write_text(
        context, "autoencoder.prototxt",
        "layer { name: 'd' type: 'Data' top: 'd' data_param { source: 'nowhere' batch_size: 2 } } "
        "layer { name: 'f' type: 'Flatten' bottom: 'd' top: 'f' } layer { name: 'i' type: "
        "'InnerProduct' bottom: 'd' top: 'i' inner_product_param { num_output: 49 } } layer { "
        "name: 's' type: 'SigmoidCrossEntropyLoss' bottom: 'i' bottom: 'f' top: 's' }");
    test_command(1, "--shape d=1x1x7x7", "", "inspect --model autoencoder.prototxt");
}

static void maps_of_labels(void **state)
{
    (void)state;
    /* The size that the layer names; labels for each pixel; and what is given already stays. */
    test_write_text(
        context, "maps.prototxt",
        "layer { name: 'd' type: 'DenseImageData' top: 'd' top: 'l' dense_image_data_param { "
        "source: 'nowhere' batch_size: 1 new_height: 12 new_width: 20 } } layer { name: 'm' type: "
        "'ImageData' top: 'm' top: 'n' image_data_param { source: 'nowhere' batch_size: 1 } "
        "transform_param { crop_size: 8 force_gray: true } } layer { name: 'c' type: 'Convolution' "
        "bottom: 'd' top: 'c' convolution_param { num_output: 2 kernel_size: 1 } } layer { name: "
        "'s' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 'l' top: 's' }");
    test_command(1, "--shape d=1x3x12x20", "", "inspect --model maps.prototxt");
    test_command(1, "--shape d=1x3x12x20,m=1x1x8x8", "",
                 "inspect --model maps.prototxt --shape d=1x3x12x20");
    test_command(0, "1 x 2 x 12 x 20", "",
                 "inspect --model maps.prototxt --shape d=1x3x12x20,m=1x1x8x8");
}

/* SegNet's ways to say how large its images are: sizes of what was pooled, written down where they
 * are odd, or less a pixel there. */
#define POOL(name, from)                                                                           \
    "layer { name: '" name "' type: 'Pooling' bottom: '" from "' top: '" name "' top: 'm" name     \
    "' pooling_param { kernel_size: 2 stride: 2 } } "
#define UNPOOL(name, from, mask, more)                                                             \
    "layer { name: '" name "' type: 'Upsample' bottom: '" from "' bottom: 'm" mask "' top: '" name \
    "' upsample_param { scale: 2 " more " } } "
#define NET(deep, middle, high)                                                                    \
    "layer { name: 'd' type: 'DenseImageData' top: 'd' top: 'l' dense_image_data_param { source: " \
    "'nowhere' batch_size: 2 } } "                                                                 \
    "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'c' convolution_param { num_output: "  \
    "2 kernel_size: 3 pad: 1 } } layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } " POOL(     \
        "p", "c") POOL("q", "p") POOL("s", "q") UNPOOL("u", "s", "s", deep)                        \
        UNPOOL("v", "u", "q", middle) UNPOOL(                                                      \
            "w", "v", "p",                                                                         \
            high) "layer { name: 'e' type: 'SoftmaxWithLoss' bottom: 'w' bottom: 'l' top: 'e' }"

static void values_that_go_back_where_they_were(void **state)
{
    (void)state;
    static const struct {
        const char *net, *shape;
    } nets[] = {
        {NET("", "", ""), "d=1x3x224x224"},
        {NET("upsample_h: 45 upsample_w: 60", "", ""), "d=1x3x180x240"},
        {NET("upsample_h: 5 upsample_w: 7", "upsample_h: 10 upsample_w: 13",
             "upsample_h: 19 upsample_w: 25"),
         "d=1x3x19x25"},
        {NET("pad_out_h: true", "", ""), "d=1x3x228x224"},
        {NET("pad_out_w: true", "pad_out_w: true", "pad_out_w: true"), "d=1x3x224x225"},
    };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        char *said = test_format("--shape %s", nets[i].shape);
        char *given = test_format("inspect --model segnet.prototxt --shape %s", nets[i].shape);
        test_write_text(context, "segnet.prototxt", nets[i].net);
        test_command(1, said, "", "inspect --model segnet.prototxt");
        test_command(0, "Activations", "", given);
        qf_free(said);
        qf_free(given);
    }
    /* No size does, so that of nets that say nothing. */
    test_write_text(context, "segnet.prototxt",
                    NET("upsample_h: 45 upsample_w: 60", "upsample_h: 45 upsample_w: 60", ""));
    test_command(1, "--shape d=1x3x224x224", "", "inspect --model segnet.prototxt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_labels_for_each_image),
        cmocka_unit_test(what_python_makes),
        cmocka_unit_test(images_side_by_side),
        cmocka_unit_test(images_that_are_made_again),
        cmocka_unit_test(maps_of_labels),
        cmocka_unit_test(values_that_go_back_where_they_were),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
