/* Figures of a quantised layer, while batches run. */
#include "toolkit/report/layer_figures.h"

#include "base/memory.h"
#include "model/quant_codes.h"
#include "quant/quant.h"

#include <math.h>

void qf_noise_add(qf_noise *n, const float *value, const float *other, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double x = (double)value[i], error = x - (double)other[i];
        n->signal += x * x;
        n->noise += error * error;
    }
}

double qf_noise_decibels(const qf_noise *n)
{
    return n->noise == 0 ? (n->signal > 0 ? (double)INFINITY : (double)NAN)
                         : 10 * log10(n->signal / n->noise);
}

static qf_status compare(qf_context *context, qf_tensor *value, qf_tensor *other, qf_noise *n)
{
    const float *x, *y;
    QF_TRY(qf_read(context, value, QF_NHWC, &x));
    QF_TRY(qf_read(context, other, QF_NHWC, &y));
    if (!qf_shape_equal(&value->shape, &other->shape))
        return qf_fail(context, QF_E_MISMATCH,
                       "the models are not of one net: the shapes of a layer differ");
    qf_noise_add(n, x, y, qf_shape_count(&value->shape));
    return QF_OK;
}

static const qf_layer *fake_layer(const qf_net_pair *pair, int index)
{
    return pair->fake->layers[index];
}

/* ---- once ---- */

static qf_status begin(const qf_net_pair *pair, const qf_pair_unit *unit, qf_layer_figures *f)
{
    const Caffe__QuantParameter *p = fake_layer(pair, unit->quant)->param->quant_param;
    const qf_quant_codes_of codes = qf_quant_codes_read(p);
    f->step = 1 / (double)p->scale;
    f->clip_low = (codes.low - codes.offset_d) * f->step;
    f->clip_high = (codes.high - codes.offset_d) * f->step;
    f->input_channels = qf_tensor_extent(&qf_pair_plain_input(pair, unit)->shape).channels;
    f->output_channels = qf_tensor_extent(&qf_pair_plain_output(pair, unit)->shape).channels;
    f->loudest_input = qf_alloc(f->input_channels, sizeof *f->loudest_input);
    f->accumulator = qf_alloc(f->output_channels, sizeof *f->accumulator);
    if (!f->loudest_input || !f->accumulator)
        return qf_fail(pair->context, QF_E_MEMORY, "no memory for a layer's figures");
    QF_TRY(qf_tensor_create(pair->context, &f->kept_input));
    return qf_tensor_create(pair->context, &f->kept_output);
}

void qf_layer_figures_release(qf_layer_figures *f)
{
    qf_free(f->loudest_input);
    qf_free(f->accumulator);
    qf_tensor_release(f->kept_input);
    qf_tensor_release(f->kept_output);
    *f = (qf_layer_figures){0};
}

/* ---- what there is ---- */

static qf_status look_at_input(const qf_net_pair *pair, const qf_pair_unit *unit,
                               qf_layer_figures *f)
{
    const float *x;
    qf_tensor *input = qf_pair_plain_input(pair, unit);
    QF_TRY(qf_read(pair->context, input, QF_NHWC, &x));
    const size_t count = qf_shape_count(&input->shape);
    qf_input_histogram_add(&f->histogram, x, count, f->clip_low - f->step / 2,
                           f->clip_high + f->step / 2);
    for (size_t i = 0; i < count; i++) {
        float *loudest = &f->loudest_input[i % f->input_channels];
        *loudest = fabsf(x[i]) > *loudest ? fabsf(x[i]) : *loudest;
    }
    return QF_OK;
}

/* Sums of products, from what a fake-quant layer puts out, which is them in units of deq. */
static qf_status look_at_accumulators(const qf_net_pair *pair, const qf_pair_unit *unit,
                                      qf_layer_figures *f)
{
    const qf_layer *dequant = fake_layer(pair, unit->dequant);
    qf_tensor *values = dequant->bottom[0]->data;
    const size_t scales = qf_blob_count(dequant->params[0].blob);
    const float *y, *deq, *shift;
    QF_TRY(qf_read(pair->context, dequant->params[0].blob->data, QF_PLAIN, &deq));
    QF_TRY(qf_read(pair->context, dequant->params[1].blob->data, QF_PLAIN, &shift));
    QF_TRY(qf_read(pair->context, values, QF_NHWC, &y));
    const size_t count = qf_shape_count(&values->shape);
    for (size_t i = 0; i < count; i++) {
        const size_t c = i % f->output_channels, s = scales == 1 ? 0 : c;
        const float sum = fabsf(y[i] / deq[s]);
        f->accumulator[c] = sum > f->accumulator[c] ? sum : f->accumulator[c];
        f->clipped += shift[s] > 0 && (double)sum >= ldexp(32767.5, (int)shift[s]);
    }
    f->accumulators += count;
    return QF_OK;
}

/* ---- trials with only this layer quantised ---- */

/* The float layer on what the codes of its input stand for. */
static qf_status try_input(const qf_net_pair *pair, const qf_pair_unit *unit, qf_layer_figures *f)
{
    qf_tensor *input = qf_pair_plain_input(pair, unit);
    QF_TRY(qf_tensor_share(pair->context, input, fake_layer(pair, unit->quant)->top[0]->data));
    qf_status status = qf_pair_run_plain(pair, unit);
    if (status == QF_OK)
        status = compare(pair->context, f->kept_output, qf_pair_plain_output(pair, unit),
                         &f->from_input);
    QF_TRY(qf_tensor_share(pair->context, input, f->kept_input));
    return status;
}

/* The float layer with what the codes of its weights stand for. */
static qf_status try_weights(const qf_net_pair *pair, const qf_pair_unit *unit, qf_layer_figures *f)
{
    const qf_layer *plain = pair->plain->layers[unit->plain],
                   *object = fake_layer(pair, unit->object);
    qf_tensor *kept = NULL;
    if (!plain->param_count)
        return QF_OK;
    qf_tensor *weights = plain->params[0].blob->data, *codes = object->params[0].blob->data;
    if (qf_shape_count(&weights->shape) != qf_shape_count(&codes->shape))
        return qf_fail(pair->context, QF_E_MISMATCH,
                       "the models are not of one net: layer %s has %zu and %zu weights",
                       plain->name, qf_shape_count(&weights->shape), qf_shape_count(&codes->shape));
    QF_TRY(qf_tensor_create(pair->context, &kept));
    qf_status status = qf_tensor_copy(pair->context, kept, weights);
    if (status == QF_OK && f->weights.signal == 0)
        status = compare(pair->context, kept, codes, &f->weights);
    const float *values;
    float *to;
    if (status == QF_OK)
        status = qf_read(pair->context, codes, QF_PLAIN, &values);
    if (status == QF_OK)
        status = qf_write(pair->context, weights, QF_PLAIN, &to);
    for (size_t i = 0; status == QF_OK && i < qf_shape_count(&weights->shape); i++)
        to[i] = values[i];
    if (status == QF_OK)
        status = qf_pair_run_plain(pair, unit);
    if (status == QF_OK)
        status = compare(pair->context, f->kept_output, qf_pair_plain_output(pair, unit),
                         &f->from_weights);
    const qf_status back = qf_tensor_copy(pair->context, weights, kept);
    qf_tensor_release(kept);
    return status == QF_OK ? back : status;
}

/* The quantised layer, on the float net's values. */
static qf_status try_alone(const qf_net_pair *pair, const qf_pair_unit *unit, qf_layer_figures *f)
{
    QF_TRY(qf_tensor_share(pair->context, qf_pair_fake_input(pair, unit), f->kept_input));
    QF_TRY(qf_pair_run_fake(pair, unit));
    QF_TRY(compare(pair->context, f->kept_input, fake_layer(pair, unit->quant)->top[0]->data,
                   &f->input));
    return compare(pair->context, f->kept_output, qf_pair_fake_output(pair, unit), &f->output);
}

qf_status qf_layer_figures_look(const qf_net_pair *pair, const qf_pair_unit *unit,
                                qf_layer_figures *f)
{
    if (!f->kept_output)
        QF_TRY(begin(pair, unit, f));
    QF_TRY(look_at_input(pair, unit, f));
    QF_TRY(look_at_accumulators(pair, unit, f));
    QF_TRY(compare(pair->context, qf_pair_plain_input(pair, unit),
                   fake_layer(pair, unit->quant)->top[0]->data, &f->input_all));
    return compare(pair->context, qf_pair_plain_output(pair, unit), qf_pair_fake_output(pair, unit),
                   &f->output_all);
}

qf_status qf_layer_figures_try(const qf_net_pair *pair, const qf_pair_unit *unit,
                               qf_layer_figures *f)
{
    qf_context *context = pair->context;
    qf_tensor *output = qf_pair_plain_output(pair, unit);
    QF_TRY(qf_tensor_share(context, f->kept_input, qf_pair_plain_input(pair, unit)));
    QF_TRY(qf_tensor_share(context, f->kept_output, output));
    QF_TRY(try_alone(pair, unit, f));
    QF_TRY(try_input(pair, unit, f));
    QF_TRY(try_weights(pair, unit, f));
    QF_TRY(qf_tensor_share(context, output, f->kept_output));
    qf_tensor_forget(f->kept_input);
    qf_tensor_forget(f->kept_output);
    return QF_OK;
}
