#include "harness/one_layer.h"

#include "harness/command.h"

#include "data/stores/hdf5_writer.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

qf_status test_net_of(qf_context *context, const char *text, qf_phase phase, qf_net **out)
{
    Caffe__NetParameter *param;
    qf_upgrade upgrade;
    QF_TRY(qf_text_parse(context, "net", text, strlen(text), &caffe__net_parameter__descriptor,
                         &param));
    qf_status status = qf_net_param_upgrade(context, "net", param, &upgrade);
    if (status == QF_OK)
        status = qf_net_param_set_state(context, param, phase, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    qf_message_free(param);
    return status;
}

static void put_hdf5(qf_context *context, qf_hdf5_writer *writer,
                     const Caffe__LayerParameter *layer)
{
    for (size_t b = 0; b < layer->n_blobs; b++) {
        int dims[QF_MAX_AXES], axes;
        char *name = test_format("/data/%s/%zu", layer->name, b);
        assert_ok(context, qf_blob_proto_shape(context, layer->blobs[b], dims, &axes, NULL));
        assert_ok(context, qf_hdf5_put_floats(writer, name, dims, axes, layer->blobs[b]->data));
        qf_free(name);
    }
}

void test_write_weights(qf_context *context, const char *path, const Caffe__NetParameter *weights)
{
    qf_hdf5_writer writer;
    if (!strstr(path, ".h5")) {
        assert_ok(context, qf_wire_write(context, path, weights, 0640));
        return;
    }
    assert_ok(context, qf_hdf5_create(context, path, &writer));
    for (size_t l = 0; l < weights->n_layer; l++)
        put_hdf5(context, &writer, weights->layer[l]);
    assert_ok(context, qf_hdf5_finish(&writer, QF_OK));
}

char *test_name_values(const char *text, bool apart)
{
    char *named = qf_strdup(text), *to = named;
    for (const char *at = text; *at; at++) {
        if (*at != '#') {
            *to++ = *at;
        } else if (apart) {
            *to++ = '_';
        } else {
            while (isdigit((unsigned char)at[1]))
                at++;
        }
    }
    *to = '\0';
    return named;
}

qf_status test_one_layer(qf_context *context, qf_phase phase, const char *const *shapes,
                         const char *rest, int tops, qf_net **out)
{
    qf_buffer text = {0};
    int bottoms = 0;
    qf_buffer_print(&text, "force_backward: true layer { name: 'in' type: 'Input' input_param {");
    for (; shapes[bottoms]; bottoms++) {
        int used = 0, dim;
        qf_buffer_print(&text, " shape {");
        for (const char *at = shapes[bottoms]; sscanf(at, "%d%n", &dim, &used) == 1; at += used)
            qf_buffer_print(&text, " dim: %d", dim);
        qf_buffer_print(&text, " }");
    }
    qf_buffer_print(&text, " }");
    for (int i = 0; i < bottoms; i++)
        qf_buffer_print(&text, " top: 'x%d'", i);
    qf_buffer_print(&text, " }\nlayer { name: 'it' %s", rest);
    for (int i = 0; i < bottoms; i++)
        qf_buffer_print(&text, " bottom: 'x%d'", i);
    for (int i = 0; i < tops; i++)
        qf_buffer_print(&text, " top: 'y%d'", i);
    qf_buffer_print(&text, " }\n");
    const qf_status status = test_net_of(context, qf_buffer_text(&text), phase, out);
    qf_buffer_release(&text);
    return status;
}

qf_net *test_make_layer(qf_context *context, qf_phase phase, const char *const *shapes,
                        const char *rest, int tops)
{
    qf_net *net;
    assert_ok(context, test_one_layer(context, phase, shapes, rest, tops, &net));
    return net;
}

void test_expect_refusals(qf_context *context, qf_phase phase, const test_refusal *rows,
                          size_t count)
{
    for (const test_refusal *row = rows; row < rows + count; row++) {
        const char *shapes[TEST_BOTTOMS_MAX] = {NULL};
        qf_net *net = NULL;
        memcpy(shapes, row->shapes, sizeof row->shapes);
        if (test_one_layer(context, phase, shapes, row->rest, 1, &net) == QF_OK)
            fail_msg("%s is not refused", row->rest);
        if (!strstr(qf_error_text(context), row->sentence))
            fail_msg("expected \"%s\" in: %s", row->sentence, qf_error_text(context));
        qf_net_destroy(net);
    }
}

void test_fill(qf_context *context, qf_blob *blob, const float *values, size_t count)
{
    float *data;
    assert_int_equal(qf_blob_count(blob), count);
    assert_ok(context, qf_blob_mutable_data(blob, &data));
    memcpy(data, values, count * sizeof *data);
}

void test_fill_anyhow(qf_context *context, qf_blob *blob, unsigned seed)
{
    float *data;
    unsigned state = seed * 2654435761u + 12345;
    assert_ok(context, qf_blob_mutable_data(blob, &data));
    for (size_t i = 0; i < qf_blob_count(blob); i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
    }
}

void test_forward(qf_context *context, qf_net *net)
{
    assert_ok(context, qf_net_forward(net, NULL));
}

const float *test_top(qf_context *context, qf_net *net, int top)
{
    const float *data;
    assert_ok(context, qf_blob_data(net->layers[1]->top[top], &data));
    return data;
}

const float *test_bottom(qf_context *context, qf_net *net, int bottom)
{
    const float *data;
    assert_ok(context, qf_blob_data(net->layers[1]->bottom[bottom], &data));
    return data;
}

void test_expect(qf_context *context, qf_net *net, int top, const char *shape, const float *values)
{
    const qf_blob *blob = net->layers[1]->top[top];
    const float *found = test_top(context, net, top);
    char text[256];
    assert_string_equal(qf_shape_text(qf_blob_shape(blob), text, sizeof text), shape);
    for (size_t i = 0; i < qf_blob_count(blob); i++)
        if (!(fabsf(found[i] - values[i]) <= 1e-5f * fmaxf(1, fabsf(values[i]))))
            fail_msg("%s[%zu] is %g, expected %g", blob->name, i, (double)found[i],
                     (double)values[i]);
}

void test_write_net(qf_context *context, const char *text)
{
    qf_net *net;
    test_write_text(context, "net.prototxt", text);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    for (int l = 0; l < net->layer_count; l++)
        for (int i = 0; i < qf_net_layer_param_count(net, l); i++)
            test_fill_anyhow(context, qf_net_layer_param(net, l, i), (unsigned)(l + 3));
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
}

void test_write_images(qf_context *context, const char *folder, float *values, int files,
                       size_t size)
{
    unsigned drawn = 1;
    for (int b = 0; b < files; b++) {
        char *path = test_format("%s/%d.bin", folder, b);
        float *of_file = values + (size_t)b * size;
        for (size_t k = 0; k < size; k++) {
            drawn = drawn * 1664525u + 1013904223u;
            of_file[k] = (float)(drawn >> 8) / (float)(1 << 24);
        }
        assert_ok(context, qf_file_write(context, path, of_file, size * sizeof *values, 0640));
        qf_free(path);
    }
}
