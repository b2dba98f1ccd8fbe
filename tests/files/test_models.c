/* Real models against outputs that another program computed for the same input (OpenCV's DNN
 * module; see README.md beside the recorded outputs). */
#include "harness/harness.h"
#include "net/net.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Recorded under the first name; the second is the model to run, if not the recorded one. */
static const struct model {
    const char *recorded, *prototxt, *caffemodel;
} models[] = {
    {"cifar10_quick", NULL, NULL},
    {"landmark106", NULL, NULL},
    {"lenet", NULL, NULL},
    {"lenet_v1layers", NULL, NULL},
    {"mobilenet_v1_trunk", NULL, NULL},
    {"resnet20_cifar10", NULL, NULL},
    {"retinaface_mnet25", NULL, NULL},
    {"squeezenet_v1.1", NULL, NULL},
    {"waifu2x_upconv7", NULL, NULL},
    {"yolov3_nano_voc", NULL, NULL},
    /* As it was published, with a layer of type Upsample. */
    {"yolov3_nano_voc", "yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.prototxt",
     "yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.caffemodel"},
};

static qf_context *context;

/* OpenCV names outputs after layers. */
static qf_blob *output_of(const qf_net *net, const char *layer)
{
    for (int i = 0; i < net->layer_count; i++)
        if (strcmp(net->layers[i]->name, layer) == 0)
            return net->layers[i]->top[0];
    fail_msg("no layer %s", layer);
    return NULL;
}

static void feed(qf_net *net, const char *path)
{
    test_array input = test_load_npy(path);
    qf_blob *blob = net->blobs[qf_net_input(net, 0)];
    int dim[32];
    float *data;
    for (int i = 0; i < input.axes; i++)
        dim[i] = (int)input.shape[i];
    assert_ok(context, qf_blob_reshape(blob, dim, input.axes));
    assert_ok(context, qf_net_reshape(net));
    assert_ok(context, qf_blob_mutable_data(blob, &data));
    memcpy(data, input.data, input.count * sizeof *data);
    qf_free(input.data);
}

/* Within 1e-4 of the largest value. */
static void compare(qf_net *net, const char *model, const char *layer, const char *path)
{
    test_array expected = test_load_npy(path);
    qf_blob *blob = output_of(net, layer);
    const float *found, *values = expected.data;
    double largest = 0;
    assert_ok(context, qf_blob_data(blob, &found));
    assert_int_equal(qf_blob_count(blob), expected.count);
    for (size_t i = 0; i < expected.count; i++)
        largest = fmax(largest, fabs((double)values[i]));
    for (size_t i = 0; i < expected.count; i++)
        if (!(fabs((double)found[i] - (double)values[i]) <= 1e-4 * largest))
            fail_msg("%s: %s[%zu] is %g, expected %g", model, layer, i, (double)found[i],
                     (double)values[i]);
    qf_free(expected.data);
}

static char *named(const char *folder, json_t *index, const char *key, const char *instead)
{
    return test_format("%s/%s", folder,
                       instead ? instead : json_string_value(json_object_get(index, key)));
}

static void check(const char *folder, const struct model *m)
{
    char *place = test_format("%s/reference-outputs/%s", folder, m->recorded);
    char *index_path = test_format("%s/index.json", place);
    char *input = test_format("%s/input.npy", place);
    json_t *index = json_load_file(index_path, 0, NULL), *output;
    assert_non_null(index);
    char *prototxt = named(folder, index, "prototxt", m->prototxt);
    char *caffemodel = named(folder, index, "model", m->caffemodel);
    const char *layer;
    qf_net *net;
    assert_ok(context, qf_net_create(context, prototxt, QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, caffemodel));
    feed(net, input);
    assert_ok(context, qf_net_forward(net, NULL));
    json_object_foreach(json_object_get(index, "outputs"), layer, output)
    {
        char *path =
            test_format("%s/%s", place, json_string_value(json_object_get(output, "file")));
        compare(net, prototxt, layer, path);
        qf_free(path);
    }
    qf_net_destroy(net);
    json_decref(index);
    qf_free(prototxt);
    qf_free(caffemodel);
    qf_free(input);
    qf_free(index_path);
    qf_free(place);
}

static void recorded_outputs(void **state)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check(*state, &models[i]);
}

int main(void)
{
    void *folder = (void *)test_data_folder();
    if (!folder)
        return SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(recorded_outputs, folder)};
    context = test_context();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qf_context_destroy(context);
    return failed;
}
