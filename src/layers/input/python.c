/* Layers that users write in Python: everything is handed to the functions that the front end set
 * (qf_context_set_python_layers). */
#include "base/signals.h"
#include "base/sized_options.h"
#include "layers/layer.h"
#include "layers/own_data.h"

#include <string.h>

typedef struct state {
    void *theirs;
    bool made;
} state;

static qf_status setup(qf_layer *layer)
{
    const qf_context *context = layer->context;
    const Caffe__PythonParameter *p = layer->param->python_param;
    state *s = layer->state;
    if (!context->python_layers.setup)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "layers of type Python run only in Python: import caffe there");
    if (!p || !p->module || !*p->module || !p->layer || !*p->layer)
        return qf_fail(layer->context, QF_E_FORMAT, "python_param needs module and layer");
    QF_TRY(context->python_layers.setup(context->python_user, layer, &s->theirs));
    s->made = true;
    return QF_OK;
}

static qf_status call(qf_layer *layer, qf_status (*function)(void *, qf_layer *, void *))
{
    const int depth = qf_signals_suspend();
    const qf_status status =
        function(layer->context->python_user, layer, ((state *)layer->state)->theirs);
    qf_signals_resume(depth);
    return status;
}

static qf_status reshape(qf_layer *layer)
{
    return call(layer, layer->context->python_layers.reshape);
}

/* Written in place, but on a blob of its own (net/net_build.c): such layers may change only a part
 * of what is there. */
static qf_status fill_tops(const qf_layer *layer)
{
    for (int i = 0; i < layer->top_count && i < layer->bottom_count; i++)
        if (layer->top[i] != layer->bottom[i] &&
            strcmp(layer->top[i]->name, layer->param->bottom[i]) == 0 &&
            qf_blob_count(layer->top[i]) == qf_blob_count(layer->bottom[i]))
            QF_TRY(qf_tensor_copy_elements(layer->context, layer->top[i]->data,
                                           layer->bottom[i]->data));
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    QF_TRY(fill_tops(layer));
    return call(layer, layer->context->python_layers.forward);
}

static qf_status backward(qf_layer *layer)
{
    return call(layer, layer->context->python_layers.backward);
}

static void destroy(qf_layer *layer)
{
    const qf_context *context = layer->context;
    const state *s = layer->state;
    if (s->made)
        context->python_layers.destroy(context->python_user, s->theirs);
}

const qf_layer_type qf_python_layer = {
    .name = "Python",
    .state_size = sizeof(state),
    QF_BOTTOMS(0, -1),
    QF_TOPS(0, -1),
    .in_place = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

void *qf_python_layer_state(const qf_layer *layer)
{
    return layer->type == &qf_python_layer ? ((state *)layer->state)->theirs : NULL;
}

/* ---- what such a layer may ask for ---- */

const char *qf_layer_name(const qf_layer *layer)
{
    return layer->name;
}

qf_phase qf_layer_phase(const qf_layer *layer)
{
    return layer->phase;
}

const char *qf_layer_python_module(const qf_layer *layer)
{
    return layer->param->python_param->module;
}

const char *qf_layer_python_class(const qf_layer *layer)
{
    return layer->param->python_param->layer;
}

const char *qf_layer_python_text(const qf_layer *layer)
{
    return layer->param->python_param->param_str;
}

int qf_layer_bottom_count(const qf_layer *layer)
{
    return layer->bottom_count;
}

qf_blob *qf_layer_bottom(const qf_layer *layer, int index)
{
    return index >= 0 && index < layer->bottom_count ? layer->bottom[index] : NULL;
}

bool qf_layer_propagates(const qf_layer *layer, int index)
{
    return layer->propagate_down && index >= 0 && index < layer->bottom_count &&
           layer->propagate_down[index];
}

int qf_layer_top_count(const qf_layer *layer)
{
    return layer->top_count;
}

qf_blob *qf_layer_top(const qf_layer *layer, int index)
{
    return index >= 0 && index < layer->top_count ? layer->top[index] : NULL;
}

int qf_layer_blob_count(const qf_layer *layer)
{
    return layer->param_count;
}

qf_blob *qf_layer_blob(const qf_layer *layer, int index)
{
    return index >= 0 && index < layer->param_count ? layer->params[index].blob : NULL;
}

qf_status qf_layer_add_blob(qf_layer *layer, const int *dimensions, int axes)
{
    if (axes < 0 || axes > QF_MAX_AXES)
        return qf_fail(layer->context, QF_E_ARGUMENT, "a blob can have 0 to %d axes, not %d",
                       QF_MAX_AXES, axes);
    const qf_shape shape = qf_shape_make(axes, dimensions);
    return qf_layer_add_param(layer, &shape, NULL);
}

qf_status qf_context_set_python_layers(qf_context *context, const qf_python_layers *functions,
                                       void *user)
{
    qf_python_layers taken = {0};
    if (functions)
        QF_TRY(qf_options_take(context, "qf_python_layers", functions, &taken, sizeof taken));
    context->python_layers = taken;
    context->python_user = user;
    return QF_OK;
}

void qf_context_fail(qf_context *context, const char *sentence)
{
    qf_fail(context, QF_E_VALUE, "%s", sentence);
}
