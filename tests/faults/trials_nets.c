/* Nets and their blobs. */
#define QF_TRIAL
#include "faults/trials.h"

#include <string.h>

static qf_status use_views(qf_context *context, qf_net *net, double *result)
{
    qf_view *view;
    float *written;
    qf_blob *blob = qf_blob_retain(qf_net_blob_at(net, 0));
    qf_status status = qf_blob_view(blob, false, &view, &written);
    if (status == QF_OK)
        status = qf_views_take(context);
    if (status == QF_OK)
        status = qf_views_show(context);
    if (status == QF_OK)
        *result += (double)written[0];
    qf_view_release(view);
    qf_blob_release(blob);
    return status;
}

static qf_status keep_weights(qf_net *net)
{
    QF_TRY(qf_net_save_weights(net, "out/net.caffemodel"));
    QF_TRY(qf_net_load_weights(net, "out/net.caffemodel"));
    return qf_net_load_weights_list(net, "out/net.caffemodel,given.caffemodel");
}

static qf_status read_blobs(qf_net *net, double *result)
{
    const float *values;
    for (int i = 0; i < qf_net_blob_count(net); i++) {
        qf_blob *blob = qf_net_blob_at(net, i);
        QF_TRY(qf_blob_data(blob, &values));
        *result += qf_blob_axes(blob) > 0 ? (double)values[0] + qf_blob_dimension(blob, 0) : 0;
        QF_TRY(qf_blob_diff(blob, &values));
    }
    return QF_OK;
}

static qf_status run_net(qf_context *context, qf_net *net, double *result)
{
    float loss, part;
    const int last = qf_net_layer_count(net) - 1;
    qf_net_keep_blobs(net, true);
    qf_net_set_timing(net, true);
    QF_TRY(qf_net_forward(net, &loss));
    qf_net_clear_param_diffs(net);
    QF_TRY(qf_net_backward(net));
    QF_TRY(qf_net_forward_range(net, 0, 2, NULL));
    QF_TRY(qf_net_forward_range(net, 3, last, &part));
    QF_TRY(qf_net_backward_range(net, last, 3));
    *result =
        (double)loss + (double)part + (qf_net_layer_seconds(net, 1, false) < 0) +
        (double)(qf_net_layer_uploaded(net, 1, false) + qf_net_layer_downloaded(net, 1, true)) +
        qf_net_layer_ran_until(net, 0);
    QF_TRY(read_blobs(net, result));
    QF_TRY(keep_weights(net));
    return use_views(context, net, result);
}

static qf_status test_net(qf_context *context, qf_net *source, double *result)
{
    qf_net *net;
    qf_scores *scores = NULL;
    const char *name = "";
    qf_status status = qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_share_weights(net, source);
    if (status == QF_OK)
        status = qf_net_test(net, 2, NULL, NULL, NULL, &scores);
    if (status == QF_OK)
        *result += qf_scores_main(scores, &name) + (double)strlen(name) + qf_scores_loss(scores) +
                   qf_scores_count(scores) + (double)strlen(qf_scores_name(scores, 0)) +
                   qf_scores_value(scores, 0) + qf_scores_better(scores, 0) +
                   (double)qf_scores_items(scores);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    return status;
}

static qf_status train_net(qf_context *context, double *result)
{
    qf_net *net;
    qf_status status = qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = run_net(context, net, result);
    if (status == QF_OK)
        status = test_net(context, net, result);
    qf_net_destroy(net);
    return status;
}

static qf_status keep_in_memory(qf_context *context, double *result)
{
    static const char text[] =
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 300 } } } "
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { "
        "num_output: 4 weight_filler { type: 'constant' value: 2 } } }";
    qf_net *net;
    void *bytes = NULL;
    size_t size = 0;
    qf_status status =
        qf_net_create_from_memory(context, text, strlen(text), QF_TEST, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_save_weights_to_memory(net, &bytes, &size);
    if (status == QF_OK)
        status = qf_net_load_weights_from_memory(net, bytes, size);
    *result = (double)size;
    qf_memory_release(bytes);
    qf_net_destroy(net);
    return status;
}

static qf_status keep_as_hdf5(qf_context *context, double *result)
{
    qf_net *net;
    qf_status status = qf_net_create(context, "plain.prototxt", QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_save_weights_hdf5(net, "out/net.caffemodel.h5", true);
    if (status == QF_OK)
        status = qf_net_load_weights(net, "out/net.caffemodel.h5");
    if (status == QF_OK)
        *result = (double)qf_blob_count(qf_net_layer_param(net, 1, 0));
    qf_net_destroy(net);
    return status;
}

/* What a net says of itself. */
static double describe(qf_net *net)
{
    double sum = (double)strlen(qf_net_name(net)) + qf_net_input_count(net) + qf_net_input(net, 0) +
                 qf_net_output_count(net) + qf_net_output(net, 0) + qf_net_blob_index(net, "c") +
                 (double)qf_net_loss_weight(net, qf_net_output(net, 0));
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        sum += (double)(strlen(qf_net_layer_name(net, l)) + strlen(qf_net_layer_type(net, l)));
        for (int i = 0; i < qf_net_layer_param_count(net, l); i++)
            sum += (double)qf_blob_count(qf_net_layer_param(net, l, i));
        for (int i = 0; i < qf_net_layer_bottom_count(net, l); i++)
            sum += qf_net_layer_bottom(net, l, i);
        for (int i = 0; i < qf_net_layer_top_count(net, l); i++)
            sum += (double)strlen(qf_net_blob_name(net, qf_net_layer_top(net, l, i)));
    }
    return sum;
}

static qf_status feed(qf_net *net, double *result)
{
    static const int larger[] = {4, 2, 6, 6};
    float *x, *dy;
    const float *y;
    QF_TRY(qf_blob_reshape(qf_net_blob(net, "x"), larger, 4));
    QF_TRY(qf_net_reshape(net));
    QF_TRY(qf_blob_mutable_data(qf_net_blob(net, "x"), &x));
    for (int i = 0; i < 4 * 2 * 36; i++)
        x[i] = (float)(i % 17) - 8;
    QF_TRY(qf_net_forward(net, NULL));
    QF_TRY(qf_blob_mutable_diff(qf_net_blob(net, "y"), &dy));
    dy[0] = 1;
    QF_TRY(qf_net_backward(net));
    QF_TRY(qf_blob_data(qf_net_blob(net, "y"), &y));
    for (size_t i = 0; i < qf_blob_count(qf_net_blob(net, "y")); i++)
        *result += (double)y[i];
    QF_TRY(qf_blob_diff(qf_net_blob(net, "x"), &y));
    *result += (double)y[40];
    return QF_OK;
}

static qf_status feed_net(qf_context *context, double *result)
{
    qf_net *net;
    qf_status status = qf_net_create(context, "plain.prototxt", QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK) {
        *result = describe(net);
        status = feed(net, result);
    }
    qf_net_destroy(net);
    return status;
}

static qf_status feed_memory(qf_context *context, double *result)
{
    static const float images[4 * 36] = {1, 2, 3}, labels[4];
    const float *pooled;
    qf_net *net;
    qf_status status = qf_net_create(context, "memory.prototxt", QF_TEST, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_set_memory_data(net, images, labels, 4);
    if (status == QF_OK)
        status = qf_net_forward(net, NULL);
    if (status == QF_OK)
        status = qf_blob_data(qf_net_blob(net, "p"), &pooled);
    if (status == QF_OK)
        *result = (double)(pooled[0] + pooled[1]);
    qf_net_destroy(net);
    return status;
}

const trial trials_of_nets[] = {
    {.name = "training and testing a net", .run = train_net, .places = 150},
    {.name = "a net with an input", .run = feed_net},
    {.name = "a net and weights in memory", .run = keep_in_memory},
    /* HDF5's texts are the C library's. */
    {.name = "weights in HDF5", .run = keep_as_hdf5, .spare = "libc"},
    {.name = "data from memory", .run = feed_memory},
    {.name = NULL},
};
