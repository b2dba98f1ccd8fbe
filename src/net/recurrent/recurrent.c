/* Unrolling the step of LSTM and RNN, and running the inner net. */
#include "net/recurrent/recurrent.h"

#include "net/net.h"

#include <stdio.h>
#include <string.h>

/* Each step is layers of its own, and building a net takes time quadratic in
 * its blobs. */

QF_LAYER_PARAM_OF(recurrent_param, RECURRENT_, Recurrent)

static int exposed_states(const qf_recurrent *r)
{
    return r->exposes ? r->kind->state_count : 0;
}

/* The bottom with the first exposed state. */
static int first_exposed(const qf_recurrent *r)
{
    return r->has_static ? 3 : 2;
}

/* ---- shapes ---- */

static qf_status check_shapes(const qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    const qf_shape *x = qf_blob_shape(layer->bottom[0]), *cont = qf_blob_shape(layer->bottom[1]);
    const qf_shape *fixed = r->has_static ? qf_blob_shape(layer->bottom[2]) : NULL;
    char first[256], second[256];
    if (x->axes < 3 || cont->axes != 2 || cont->dim[0] != x->dim[0] || cont->dim[1] != x->dim[1])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must be steps x streams x ... and '%s' steps x "
                       "streams; their shapes "
                       "are %s and %s",
                       layer->bottom[0]->name, layer->bottom[1]->name,
                       qf_shape_text(x, first, sizeof first),
                       qf_shape_text(cont, second, sizeof second));
    if (r->steps && x->dim[0] != r->steps)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the layer was built for %d time steps, '%s' has %d now; "
                       "give it its size "
                       "before the net is built",
                       r->steps, layer->bottom[0]->name, x->dim[0]);
    if (fixed && (fixed->axes < 2 || fixed->dim[0] != x->dim[1]))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the static input '%s' must be streams x ..., with %d "
                       "streams; its shape is "
                       "%s",
                       layer->bottom[2]->name, x->dim[1],
                       qf_shape_text(fixed, first, sizeof first));
    return QF_OK;
}

static qf_shape state_shape(const qf_layer *layer)
{
    return qf_shape_make(
        3, (int[]){1, qf_blob_shape(layer->bottom[0])->dim[1], (int)param_of(layer)->num_output});
}

/* ---- the text of the inner net ---- */

static void write_shape(qf_buffer *out, const qf_shape *shape)
{
    qf_buffer_print(out, " shape {");
    for (int i = 0; i < shape->axes; i++)
        qf_buffer_print(out, " dim: %d", shape->dim[i]);
    qf_buffer_print(out, " }");
}

static void write_inputs(qf_buffer *out, const qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    const qf_shape state = state_shape(layer);
    qf_buffer_print(out, "layer { type: 'Input' top: 'x' top: 'cont'%s input_param {",
                    r->has_static ? " top: 'x_static'" : "");
    for (int i = 0; i < first_exposed(r); i++)
        write_shape(out, qf_blob_shape(layer->bottom[i]));
    qf_buffer_print(out, " } }\nlayer { type: 'Input'");
    for (int i = r->kind->state_count - 1; i >= 0; i--)
        qf_buffer_print(out, " top: '%s_0'", r->kind->states[i]);
    qf_buffer_print(out, " input_param {");
    write_shape(out, &state);
    qf_buffer_print(out, " } }\n");
}

/* x of all steps at once, and the static input, become the values that a step
 * adds. */
static void write_transform(qf_buffer *out, const qf_recurrence *kind,
                            const qf_recurrent_text *text)
{
    const char *w = kind->input;
    const int outputs = kind->gates * text->outputs;
    qf_buffer_print(out,
                    "layer { name: 'x_transform' type: 'InnerProduct' bottom: 'x' top: "
                    "'W_%s_x' "
                    "param { name: 'W_%s' } param { name: '%s' } propagate_down: true "
                    "inner_product_param { num_output: %d axis: 2 weight_filler { %s } "
                    "bias_filler { %s } } }\n",
                    w, w, kind->input_bias, outputs, text->weights, text->bias);
    if (text->has_static)
        qf_buffer_print(out,
                        "layer { name: 'W_%s_x_static' type: 'InnerProduct' bottom: 'x_static' "
                        "top: 'W_%s_x_static_preshape' param { name: 'W_%s_static' } "
                        "propagate_down: true "
                        "inner_product_param { num_output: %d axis: 1 bias_term: false "
                        "weight_filler { %s } } }\n"
                        "layer { name: 'W_%s_x_static_reshape' type: 'Reshape' "
                        "bottom: 'W_%s_x_static_preshape' top: 'W_%s_x_static' "
                        "reshape_param { shape { dim: 1 dim: -1 dim: %d } } }\n",
                        w, w, w, outputs, text->weights, w, w, w, outputs);
}

/* A blob of all steps, cut into "<whole>_<t>" or joined from them. */
static void write_joint(qf_buffer *out, bool cut, const char *whole, int steps)
{
    qf_buffer_print(out, "layer { name: '%s_%s' type: '%s' %s: '%s'", whole,
                    cut ? "slice" : "concat", cut ? "Slice" : "Concat", cut ? "bottom" : "top",
                    whole);
    for (int t = 1; t <= steps; t++)
        qf_buffer_print(out, " %s: '%s_%d'", cut ? "top" : "bottom", whole, t);
    qf_buffer_print(out, " %s { axis: 0 } }\n", cut ? "slice_param" : "concat_param");
}

/* "h_conted_<t-1>": the h before step t, 0 where a sequence begins. */
static void write_h_before(qf_buffer *out, int t)
{
    qf_buffer_print(out,
                    "layer { name: 'h_conted_%d' type: 'Scale' bottom: 'h_%d' bottom: 'cont_%d' "
                    "top: 'h_conted_%d' scale_param { axis: 0 } }\n",
                    t - 1, t - 1, t, t - 1);
}

static void write_net(qf_buffer *out, const qf_layer *layer, const qf_recurrent_text *text)
{
    const qf_recurrent *r = layer->state;
    const qf_recurrence *kind = r->kind;
    /* The first step owns the weights of all, so only it fills them. */
    const qf_recurrent_text later = {text->outputs, text->has_static, "", ""};
    char transformed[64];
    snprintf(transformed, sizeof transformed, "W_%s_x", kind->input);
    write_inputs(out, layer);
    write_joint(out, true, "cont", r->steps);
    write_transform(out, kind, text);
    write_joint(out, true, transformed, r->steps);
    for (int t = 1; t <= r->steps; t++) {
        write_h_before(out, t);
        kind->write_step(out, t, t == 1 ? text : &later);
    }
    write_joint(out, false, kind->output, r->steps);
    /* What makes gradients flow; it never runs. */
    qf_buffer_print(out,
                    "layer { name: '%s_pseudoloss' type: 'Reduction' bottom: '%s' "
                    "top: '%s_pseudoloss' loss_weight: 1 }\n",
                    kind->output, kind->output, kind->output);
}

/* Names of the inner layers begin with this layer's. */
static qf_status name_layers(const qf_layer *layer, Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        qf_buffer name = {0};
        qf_buffer_print(&name, "%s_%s", layer->name,
                        net->layer[i]->name ? net->layer[i]->name : "");
        const qf_status status =
            qf_set_string(layer->context, &net->layer[i]->name, qf_buffer_text(&name));
        qf_buffer_release(&name);
        QF_TRY(status);
    }
    return QF_OK;
}

static qf_status build_net(qf_layer *layer)
{
    const Caffe__RecurrentParameter *p = param_of(layer);
    qf_recurrent *r = layer->state;
    qf_buffer weights = {0}, bias = {0}, out = {0};
    Caffe__NetParameter *net = NULL;
    if (p->weight_filler)
        qf_text_print(p->weight_filler, &weights);
    if (p->bias_filler)
        qf_text_print(p->bias_filler, &bias);
    const qf_recurrent_text text = {(int)p->num_output, r->has_static, qf_buffer_text(&weights),
                                    qf_buffer_text(&bias)};
    write_net(&out, layer, &text);
    qf_status status = QF_OK;
    if (weights.failed || bias.failed || out.failed)
        status = qf_fail(layer->context, QF_E_MEMORY, "no memory for the unrolled net");
    if (status == QF_OK)
        status = qf_text_parse(layer->context, "unrolled net", qf_buffer_text(&out), out.size,
                               &caffe__net_parameter__descriptor, &net);
    if (status == QF_OK)
        status = name_layers(layer, net);
    if (status == QF_OK)
        status = qf_net_create_from_param(layer->context, net, NULL, &r->net);
    qf_message_free(net);
    qf_buffer_release(&weights);
    qf_buffer_release(&bias);
    qf_buffer_release(&out);
    return qf_within(layer->context, status, "unrolled");
}

/* ---- between the layer and its net ---- */

static qf_blob *state_blob(const qf_recurrent *r, int state, int step)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%d", r->kind->states[state], step);
    return qf_net_blob(r->net, name);
}

static void find_blobs(qf_recurrent *r)
{
    r->x = qf_net_blob(r->net, "x");
    r->cont = qf_net_blob(r->net, "cont");
    r->fixed = qf_net_blob(r->net, "x_static");
    r->output = qf_net_blob(r->net, r->kind->output);
    for (int i = 0; i < r->kind->state_count; i++) {
        r->first[i] = state_blob(r, i, 0);
        r->last[i] = state_blob(r, i, r->steps);
    }
    r->last_layer = r->net->layer_count - 2;
}

/* The inner net's parameters are this layer's, each once. */
static qf_status add_params(qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    for (int k = 0; k < r->net->learnable_count; k++) {
        qf_blob *blob = r->net->learnables[k].blob;
        QF_TRY(qf_layer_add_param(layer, qf_blob_shape(blob), NULL));
        qf_blob_release(layer->params[k].blob);
        layer->params[k].blob = qf_blob_retain(blob);
    }
    return QF_OK;
}

/* Sharing by name or with a training net may have given this layer other blobs
 * since. */
static void follow_params(qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    for (int l = 0; l < r->net->layer_count; l++) {
        qf_layer *inner = r->net->layers[l];
        for (int i = 0; i < inner->param_count; i++)
            for (int k = 0; k < layer->param_count; k++) {
                if (inner->params[i].blob != r->net->learnables[k].blob)
                    continue;
                inner->params[i].propagate = layer->params[k].propagate;
                inner->params[i].blob = qf_blob_retain(layer->params[k].blob);
                qf_blob_release(r->net->learnables[k].blob);
                break;
            }
    }
    for (int k = 0; k < layer->param_count; k++)
        r->net->learnables[k].blob = layer->params[k].blob;
}

static void share(qf_blob *inner, qf_blob *outer)
{
    qf_blob_share_data(inner, outer);
    qf_blob_share_diff(inner, outer);
}

/* Bottoms and the top are the inner net's own arrays. */
static void connect(qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    share(r->x, layer->bottom[0]);
    qf_blob_share_data(r->cont, layer->bottom[1]);
    if (r->has_static)
        share(r->fixed, layer->bottom[2]);
    for (int i = 0; i < exposed_states(r); i++)
        qf_blob_share_data(r->first[i], layer->bottom[first_exposed(r) + i]);
    share(r->output, layer->top[0]);
}

/* Whether the gradient of an input of the inner net is computed. */
static void set_propagation(const qf_recurrent *r, const qf_blob *input, bool wanted)
{
    for (int l = 0; l < r->net->layer_count; l++)
        for (int b = 0; b < r->net->layers[l]->bottom_count; b++)
            if (r->net->layers[l]->bottom[b] == input)
                r->net->layers[l]->propagate_down[b] = wanted;
}

/* ---- the layer ---- */

static qf_status check_param(const qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    const uint32_t outputs = param_of(layer)->num_output;
    const int exposed = exposed_states(r), least = 2 + exposed;
    if (outputs < 1 || outputs > (uint32_t)(INT32_MAX / r->kind->gates))
        return qf_fail(layer->context, QF_E_VALUE,
                       "recurrent_param.num_output is %u, expected 1 to %d", outputs,
                       INT32_MAX / r->kind->gates);
    if (layer->bottom_count < least || layer->bottom_count > least + 1 ||
        layer->top_count != 1 + exposed)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "%s layer %s expose_hidden needs %d or %d bottoms (with a "
                       "static input) and "
                       "%d top%s, but has %d and %d",
                       layer->type->name, exposed ? "with" : "without", least, least + 1,
                       1 + exposed, exposed ? "s" : "", layer->bottom_count, layer->top_count);
    return QF_OK;
}

qf_status qf_recurrent_setup(qf_layer *layer, const qf_recurrence *kind)
{
    qf_recurrent *r = layer->state;
    r->kind = kind;
    r->exposes = param_of(layer)->expose_hidden;
    QF_TRY(check_param(layer));
    r->has_static = layer->bottom_count > 2 + exposed_states(r);
    QF_TRY(check_shapes(layer));
    const qf_shape *x = qf_blob_shape(layer->bottom[0]);
    if (x->dim[0] < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "'%s' has 0 time steps (its first axis), expected 1 or more",
                       layer->bottom[0]->name);
    QF_TRY(qf_check_limit(layer->context, QF_LIMIT_TIME_STEPS, (uint64_t)x->dim[0],
                          "'%s' (its first axis) has", layer->bottom[0]->name));
    r->steps = x->dim[0];
    qf_info(layer->context,
            "Initializing recurrent layer: assuming input batch contains %d "
            "timesteps of %d "
            "independent streams.",
            r->steps, x->dim[1]);
    QF_TRY(build_net(layer));
    r->net->debug_info = param_of(layer)->debug_info;
    find_blobs(r);
    return add_params(layer);
}

qf_status qf_recurrent_reshape(qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    const qf_shape state = state_shape(layer);
    char found[256], expected[256];
    QF_TRY(check_shapes(layer));
    for (int i = 0; i < r->kind->state_count; i++) {
        if (!r->exposes) {
            QF_TRY(qf_blob_reshape_to(r->first[i], &state));
            continue;
        }
        const qf_blob *given = layer->bottom[first_exposed(r) + i];
        if (!qf_shape_equal(qf_blob_shape(given), &state))
            return qf_fail(layer->context, QF_E_SHAPE, "the state '%s' has shape %s, expected %s",
                           given->name, qf_shape_text(qf_blob_shape(given), found, sizeof found),
                           qf_shape_text(&state, expected, sizeof expected));
    }
    qf_shape output = state;
    output.dim[0] = r->steps;
    QF_TRY(qf_blob_reshape_to(layer->top[0], &output));
    connect(layer);
    QF_TRY(qf_net_reshape(r->net));
    for (int i = 0; i < exposed_states(r); i++)
        QF_TRY(qf_blob_reshape_to(layer->top[1 + i], &state));
    return QF_OK;
}

qf_status qf_recurrent_forward(qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    connect(layer);
    follow_params(layer);
    for (int i = 0; !r->exposes && i < r->kind->state_count; i++)
        QF_TRY(qf_tensor_copy(layer->context, r->first[i]->data, r->last[i]->data));
    QF_TRY(qf_net_forward_range(r->net, 0, r->last_layer, NULL));
    for (int i = 0; i < exposed_states(r); i++)
        QF_TRY(qf_tensor_copy(layer->context, layer->top[1 + i]->data, r->last[i]->data));
    return QF_OK;
}

qf_status qf_recurrent_backward(qf_layer *layer)
{
    const qf_recurrent *r = layer->state;
    set_propagation(r, r->x, layer->propagate_down[0]);
    if (r->has_static)
        set_propagation(r, r->fixed, layer->propagate_down[2]);
    for (int i = 0; i < exposed_states(r); i++)
        if (layer->propagate_down[first_exposed(r) + i])
            qf_tensor_set_zero(layer->bottom[first_exposed(r) + i]->diff);
    return qf_net_backward_range(r->net, r->last_layer, 0);
}

int qf_recurrent_carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX])
{
    const qf_recurrent *r = layer->state;
    if (r->exposes)
        return 0;
    for (int i = 0; i < r->kind->state_count; i++)
        blobs[i] = r->last[i];
    return r->kind->state_count;
}

void qf_recurrent_destroy(qf_layer *layer)
{
    qf_net_destroy(((qf_recurrent *)layer->state)->net);
}
