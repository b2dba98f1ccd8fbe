/* Do a fake-quant model and its deploy model compute the same integers? Both run on the same
 * batches, layer by layer; codes are compared behind every Quant, dequantised values, in units of
 * their step, behind every DeQuant.
 *
 * Only the fake-quant model's sources are read: what they put out is handed to the deploy model.
 * Two sources of the same settings may well deliver different batches (shuffle, mirror, noise). */
#include "base/file.h"
#include "base/memory.h"
#include "net/net.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct pair {
    qf_context *context;
    qf_net *fake, *deploy;
    qf_verification *found;
    int batch;
} pair;

static qf_status open_net(qf_context *context, const char *prefix, const char *kind,
                          const qf_data_options *data, qf_net **out)
{
    const size_t length = strlen(prefix);
    const char *joint = length && prefix[length - 1] == '/' ? "" : "_";
    qf_buffer model = {0}, weights = {0};
    *out = NULL;
    qf_buffer_print(&model, "%s%s%s_model.prototxt", prefix, joint, kind);
    qf_buffer_print(&weights, "%s%s%s_weights.caffemodel", prefix, joint, kind);
    qf_status status = qf_buffer_whole(context, weights.failed ? &weights : &model);
    if (status == QF_OK)
        status = qf_fed_net_open(context, data, model.data, qf_buffer_text(&weights), out);
    qf_buffer_release(&model);
    qf_buffer_release(&weights);
    return status;
}

static void note_difference(pair *p, const qf_layer *layer, size_t element, double fake,
                            double deploy)
{
    qf_verification *found = p->found;
    if (found->differing++ > 0)
        return;
    snprintf(found->layer, sizeof found->layer, "%s", layer->name);
    found->batch = p->batch;
    found->element = element;
    found->fake_quant = fake;
    found->deploy = deploy;
}

static qf_status compare_codes(pair *p, const qf_layer *fake, const qf_layer *deploy)
{
    const uint8_t *a, *b;
    QF_TRY(qf_tensor_read(p->context, fake->top[0]->data, QF_CODES, &a));
    QF_TRY(qf_tensor_read(p->context, deploy->top[0]->data, QF_CODES, &b));
    const size_t count = qf_blob_count(fake->top[0]);
    for (size_t i = 0; i < count; i++)
        if (a[i] != b[i]) /* as AMCT's signed codes */
            note_difference(p, fake, i, a[i] - 128, b[i] - 128);
    p->found->compared += count;
    return QF_OK;
}

/* Both models' values are whole steps deq (means of codes: fractions of one), up to float rounding.
 */
enum { STEP_FRACTION = 32 }; /* a difference below 1/32 of a step is rounding */

static qf_status compare_values(pair *p, const qf_layer *fake, const qf_layer *deploy)
{
    const float *a, *b, *deq;
    QF_TRY(qf_read(p->context, fake->top[0]->data, QF_PLAIN, &a));
    QF_TRY(qf_read(p->context, deploy->top[0]->data, QF_PLAIN, &b));
    QF_TRY(qf_read(p->context, fake->params[0].blob->data, QF_PLAIN, &deq));
    const qf_shape *shape = qf_blob_shape(fake->top[0]);
    const size_t count = qf_blob_count(fake->top[0]), scales = qf_blob_count(fake->params[0].blob);
    size_t inner = 1;
    for (int i = 2; i < shape->axes; i++)
        inner *= (size_t)shape->dim[i];
    for (size_t i = 0; i < count; i++) {
        const double step = (double)deq[scales == 1 ? 0 : i / inner % scales];
        const double distance = fabs((double)a[i] - (double)b[i]) / step;
        if (!(distance < 1.0 / STEP_FRACTION))
            note_difference(p, fake, i, (double)a[i] / step, (double)b[i] / step);
        p->found->largest_distance = fmax(p->found->largest_distance, distance);
    }
    p->found->compared += count;
    return QF_OK;
}

/* Does it bring values into the net that no other layer made? Parameter's top is its weights. */
static bool is_source(const qf_layer *layer)
{
    return layer->bottom_count == 0 && layer->param_count == 0;
}

static qf_status hand_over(pair *p, const qf_layer *from, const qf_layer *to)
{
    if (from->top_count != to->top_count)
        return qf_fail(p->context, QF_E_MISMATCH,
                       "the models are not of one net: layer %s has %d and %d tops", from->name,
                       from->top_count, to->top_count);
    for (int t = 0; t < from->top_count; t++) {
        QF_TRY(qf_blob_reshape_like(to->top[t], from->top[t]));
        QF_TRY(qf_tensor_share(p->context, to->top[t]->data, from->top[t]->data));
    }
    return QF_OK;
}

/* Layers that draw random numbers draw the same in both models. */
static qf_status run_layer(pair *p, int index)
{
    const qf_layer *fake = p->fake->layers[index], *deploy = p->deploy->layers[index];
    const qf_random random = p->context->random;
    QF_TRY(qf_net_forward_range(p->fake, index, index, NULL));
    if (is_source(fake) && is_source(deploy))
        return hand_over(p, fake, deploy);
    const qf_random after = p->context->random;
    p->context->random = random;
    const qf_status status = qf_net_forward_range(p->deploy, index, index, NULL);
    p->context->random = after;
    return status;
}

static qf_status compare_layer(pair *p, int index)
{
    const qf_layer *fake = p->fake->layers[index], *deploy = p->deploy->layers[index];
    if (strcmp(fake->name, deploy->name) != 0)
        return qf_fail(p->context, QF_E_MISMATCH,
                       "the models are not of one net: layer %d is %s in one, %s in the other",
                       index, fake->name, deploy->name);
    QF_TRY(run_layer(p, index));
    const bool quant = strcmp(fake->type->name, "Quant") == 0,
               dequant = strcmp(fake->type->name, "DeQuant") == 0;
    if (p->batch == 0)
        p->found->layers += quant || dequant;
    return quant     ? compare_codes(p, fake, deploy)
           : dequant ? compare_values(p, fake, deploy)
                     : QF_OK;
}

static qf_status compare(pair *p, int batches, qf_action_function action,
                         qf_progress_function progress, void *user)
{
    if (p->fake->layer_count != p->deploy->layer_count)
        return qf_fail(p->context, QF_E_MISMATCH,
                       "the models are not of one net: they have %d and %d layers",
                       p->fake->layer_count, p->deploy->layer_count);
    for (p->batch = 0; p->batch < batches; p->batch++) {
        for (int i = 0; i < p->fake->layer_count; i++)
            QF_TRY(compare_layer(p, i));
        if (progress)
            progress(user, &(qf_progress){.testing = true,
                                          .iteration = p->batch + 1,
                                          .total = batches,
                                          .what = "comparing integers"});
        if (action && action(user) == QF_STOP)
            return qf_fail(p->context, QF_E_STOPPED, "stopped after %d of %d batches", p->batch + 1,
                           batches);
    }
    const qf_verification *found = p->found;
    return found->differing == 0
               ? QF_OK
               : qf_fail(p->context, QF_E_MISMATCH,
                         "%zu of %zu integers differ, first in layer %s, batch %d, element %zu: %g "
                         "in the fake-quant "
                         "model, %g in the deploy model",
                         found->differing, found->compared, found->layer, found->batch,
                         found->element, found->fake_quant, found->deploy);
}

void qf_verification_destroy(qf_verification *verification)
{
    qf_free(verification);
}

qf_status qf_verify(qf_context *context, const char *prefix, const qf_data_options *given,
                    int batches, qf_action_function action, qf_progress_function progress,
                    void *user, qf_verification **out)
{
    qf_data_options data;
    pair p = {.context = context, .found = *out = qf_alloc(1, sizeof **out)};
    if (!p.found)
        return qf_fail(context, QF_E_MEMORY, "no memory for a comparison");
    if (batches < 1)
        return qf_fail(context, QF_E_ARGUMENT, "at least one batch is needed, not %d", batches);
    qf_status status = qf_data_options_take(context, given, &data);
    if (status == QF_OK)
        status = open_net(context, prefix, "fake_quant", &data, &p.fake);
    if (status == QF_OK)
        status = open_net(context, prefix, "deploy", &data, &p.deploy);
    if (status == QF_OK)
        status = compare(&p, batches, action, progress, user);
    qf_net_destroy(p.fake);
    qf_net_destroy(p.deploy);
    return status;
}
