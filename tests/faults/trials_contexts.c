/* Contexts and what they say; layers that are written in another language. */
#define QF_TRIAL
#include "faults/trials.h"

#include <string.h>

static double length(const char *text)
{
    return text ? (double)strlen(text) : -1;
}

static void sink(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)level, (void)file, (void)line, (void)text;
    ++*(int *)user;
}

static qf_status set_all(qf_context *context, double *result)
{
    uint64_t initial;
    const char *unit;
    int messages = 0;
    qf_context *other;
    qf_status status = qf_context_create(&other);
    qf_context_destroy(other);
    if (status != QF_OK) {
        qf_context_fail(context, qf_status_name(status)); /* a sentence needs a context */
        return status;
    }
    qf_context_set_log(context, sink, &messages, QF_DEBUG);
    qf_context_set_seed(context, 5);
    QF_TRY(qf_context_set_ap_version(context, "11point"));
    qf_context_set_threads(context, 1);
    qf_context_set_compute(context, QF_COMPUTE_FLOAT, QF_BACKWARD_F32);
    qf_context_keep_unknown_fields(context, true);
    qf_context_write_checksums(context, true);
    QF_TRY(qf_context_set_until(context, "conv5,rpn_cls_score"));
    QF_TRY(qf_context_set_until(context, NULL));
    QF_TRY(qf_context_set_limit(context, "image_pixels", 1000));
    QF_TRY(qf_context_set_limits(context, "image_pixels=64M,list_lines=1000"));
    uint64_t free, total;
    QF_TRY(qf_context_set_device(context, qf_device_name(0)));
    *result = qf_device_count() + length(qf_device_description(0)) +
              qf_device_memory(0, &free, &total) + length(qf_context_device(context));
    *result += length(qf_limit_describe(0, &initial, &unit)) + length(unit) + length(qf_version()) +
               qf_version_number() + (double)qf_struct_size("qf_progress") +
               length(qf_layer_type_name(3)) + length(qf_error_text(context));
    return QF_OK;
}

static qf_status open_log(qf_context *context, double *result)
{
    *result = 0;
    const qf_status status = qf_context_open_amct_log(context);
    qf_context_log_amct(context, QF_INFO, "Trial", "a line that waits for the first step");
    return status;
}

/* ---- a layer of a user's ---- */

static qf_status setup(void *user, qf_layer *layer, void **state)
{
    *state = user;
    *(double *)user += length(qf_layer_name(layer)) + length(qf_layer_python_module(layer)) +
                       length(qf_layer_python_class(layer)) + length(qf_layer_python_text(layer)) +
                       qf_layer_phase(layer);
    return qf_layer_add_blob(layer, (const int[]){2, 3}, 2);
}

static qf_status reshape(void *user, qf_layer *layer, void *state)
{
    (void)user, (void)state;
    return qf_layer_top_count(layer) == 1 && qf_layer_bottom_count(layer) == 1
               ? qf_blob_reshape(qf_layer_top(layer, 0), (const int[]){2, 3}, 2)
               : QF_E_ARGUMENT;
}

static qf_status forward(void *user, qf_layer *layer, void *state)
{
    const float *x, *w;
    float *y;
    (void)user, (void)state;
    QF_TRY(qf_blob_data(qf_layer_bottom(layer, 0), &x));
    QF_TRY(qf_blob_data(qf_layer_blob(layer, 0), &w));
    QF_TRY(qf_blob_mutable_data(qf_layer_top(layer, 0), &y));
    for (int i = 0; i < 6; i++)
        y[i] = 2 * x[i] + w[i] + (float)qf_layer_blob_count(layer);
    return QF_OK;
}

static qf_status backward(void *user, qf_layer *layer, void *state)
{
    const float *dy;
    float *dx;
    (void)state;
    *(double *)user += qf_layer_propagates(layer, 0);
    QF_TRY(qf_blob_diff(qf_layer_top(layer, 0), &dy));
    QF_TRY(qf_blob_mutable_diff(qf_layer_bottom(layer, 0), &dx));
    for (int i = 0; i < 6; i++)
        dx[i] = 2 * dy[i];
    return QF_OK;
}

static void destroy(void *user, void *state)
{
    (void)user, (void)state;
}

static qf_status run_users_layer(qf_net *net, double *result)
{
    const float *y;
    QF_TRY(qf_net_forward(net, NULL));
    QF_TRY(qf_net_backward(net));
    QF_TRY(qf_blob_data(qf_net_blob(net, "y"), &y));
    for (int i = 0; i < 6; i++)
        *result += (double)y[i];
    *result += qf_net_layer_python_state(net, 1) == result;
    return QF_OK;
}

static qf_status users_layer(qf_context *context, double *result)
{
    static const qf_python_layers layers = {sizeof layers, setup,   reshape, forward,
                                            backward,      destroy, NULL};
    qf_net *net;
    *result = 0;
    QF_TRY(qf_context_set_python_layers(context, &layers, result));
    qf_status status = qf_net_create(context, "python.prototxt", QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = run_users_layer(net, result);
    qf_net_destroy(net);
    return status;
}

const trial trials_of_contexts[] = {
    {.name = "settings", .run = set_all},
    {.name = "the log", .run = open_log},
    {.name = "a user's layer", .run = users_layer},
    {.name = NULL},
};
