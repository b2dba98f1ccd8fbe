/* Figures of a quantised layer, when all batches have run. */
#include "base/memory.h"
#include "base/rows.h"
#include "model/quant_codes.h"
#include "toolkit/check/layer_bits.h"
#include "toolkit/report/layer_figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static qf_status add_channels(qf_context *context, size_t count, qf_report_layer *out)
{
    for (size_t c = 0; c < count; c++) {
        qf_report_channel *channel = qf_rows_add(&out->channel, &out->channels, sizeof *channel);
        if (!channel)
            return qf_fail(context, QF_E_MEMORY, "no memory for %zu channels", count);
        channel->low = channel->high = channel->headroom = (double)NAN;
        channel->dead = true;
    }
    return QF_OK;
}

static qf_status take_weights(const qf_net_pair *pair, const qf_pair_unit *unit,
                              qf_report_layer *out)
{
    const qf_layer *plain = pair->plain->layers[unit->plain];
    const float *w, *codes;
    if (!plain->param_count)
        return QF_OK;
    const qf_weight_layout layout = qf_layer_weight_layout(plain);
    QF_TRY(add_channels(pair->context, layout.channels, out));
    QF_TRY(qf_read(pair->context, plain->params[0].blob->data, QF_PLAIN, &w));
    QF_TRY(qf_read(pair->context, pair->fake->layers[unit->object]->params[0].blob->data, QF_PLAIN,
                   &codes));
    for (size_t i = 0; i < layout.outer * layout.channels * layout.inner; i++) {
        qf_report_channel *c = out->channel[i / layout.inner % layout.channels];
        c->low = fmin(c->low, (double)w[i]);
        c->high = fmax(c->high, (double)w[i]);
        c->dead = c->dead && codes[i] == 0;
    }
    return QF_OK;
}

/* Scales, shifts and what they leave of 16 bits. */
static qf_status take_factors(const qf_net_pair *pair, const qf_pair_unit *unit,
                              const qf_layer_figures *f, qf_report_layer *out)
{
    const qf_layer *dequant = pair->fake->layers[unit->dequant];
    const size_t scales = qf_blob_count(dequant->params[0].blob);
    const float *deq, *shift;
    QF_TRY(qf_read(pair->context, dequant->params[0].blob->data, QF_PLAIN, &deq));
    QF_TRY(qf_read(pair->context, dequant->params[1].blob->data, QF_PLAIN, &shift));
    out->scale_per_channel = scales > 1;
    for (size_t c = 0; c < out->channels; c++) {
        const size_t s = scales == 1 ? 0 : c % scales;
        qf_report_channel *channel = out->channel[c];
        channel->scale = (double)deq[s] / f->step;
        channel->shift = (int)shift[s];
        if (channel->shift && c < f->output_channels && f->accumulator[c] > 0)
            channel->headroom = log2(32767.5) + channel->shift - log2((double)f->accumulator[c]);
        out->dead_channels += channel->dead;
    }
    return QF_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest of values, and how many times their median it is; NAN: the median is 0. `values` are
 * sorted afterwards. */
static double stand_out(double *values, size_t count, int *largest)
{
    *largest = 0;
    for (size_t i = 0; i < count; i++)
        if (values[i] > values[*largest])
            *largest = (int)i;
    qsort(values, count, sizeof *values, by_value);
    return count && values[count / 2] > 0 ? values[count - 1] / values[count / 2] : (double)NAN;
}

static qf_status find_outliers(qf_context *context, const qf_layer_figures *f, qf_report_layer *out)
{
    const size_t most = out->channels > f->input_channels ? out->channels : f->input_channels;
    double *values = qf_alloc(most, sizeof *values);
    if (!values)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu channels", most);
    for (size_t c = 0; c < f->input_channels; c++) {
        values[c] = (double)f->loudest_input[c];
        out->silent_inputs += values[c] == 0;
    }
    out->input_channels = f->input_channels;
    out->loudest_ratio = stand_out(values, f->input_channels, &out->loudest_input);
    for (size_t c = 0; c < out->channels; c++)
        values[c] = fmax(fabs(out->channel[c]->low), fabs(out->channel[c]->high));
    out->widest_ratio = stand_out(values, out->channels, &out->widest_channel);
    qf_free(values);
    return QF_OK;
}

static qf_status take_histogram(qf_context *context, const qf_layer_figures *f,
                                qf_report_layer *out)
{
    qf_shown_histogram shown;
    qf_input_histogram_show(&f->histogram, f->clip_low, f->clip_high, &shown);
    out->bin = qf_alloc(shown.bins, sizeof *out->bin);
    if (!out->bin)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    memcpy(out->bin, shown.bin, shown.bins * sizeof *out->bin);
    out->bins = shown.bins;
    out->histogram_low = shown.low;
    out->histogram_high = shown.high;
    out->clip_low = f->clip_low;
    out->clip_high = f->clip_high;
    out->input_low = f->histogram.low;
    out->input_high = f->histogram.high;
    out->saturated = f->histogram.count ? (double)(f->histogram.below + f->histogram.above) /
                                              (double)f->histogram.count
                                        : (double)NAN;
    return QF_OK;
}

/* Noises of input and weights add up, for they have nothing to do with one another; what they do
 * not explain is the shift's and the bias's. */
static void share_noise(const qf_layer_figures *f, qf_report_layer *out)
{
    const double input = f->from_input.noise, weights = f->from_weights.noise;
    const double rest = fmax(0, f->output.noise - input - weights);
    const double sum = input + weights + rest;
    out->from_input = sum > 0 ? input / sum : (double)NAN;
    out->from_weights = sum > 0 ? weights / sum : (double)NAN;
    out->from_rest = sum > 0 ? rest / sum : (double)NAN;
}

qf_status qf_layer_figures_take(const qf_net_pair *pair, const qf_pair_unit *unit,
                                const qf_layer_figures *f, qf_report_layer *out)
{
    const qf_layer *plain = pair->plain->layers[unit->plain];
    const Caffe__QuantParameter *p = pair->fake->layers[unit->quant]->param->quant_param;
    qf_layer_bits bits;
    snprintf(out->name, sizeof out->name, "%s", plain->name);
    snprintf(out->type, sizeof out->type, "%s", plain->type->name);
    out->scale_d = 1 / p->scale;
    out->offset_d = qf_quant_codes_read(p).offset_d - qf_code_lift((int)p->num_bits);
    out->weight_sqnr = plain->param_count ? qf_noise_decibels(&f->weights) : (double)NAN;
    out->input_sqnr = qf_noise_decibels(&f->input);
    out->output_sqnr = qf_noise_decibels(&f->output);
    out->input_sqnr_all = qf_noise_decibels(&f->input_all);
    out->output_sqnr_all = qf_noise_decibels(&f->output_all);
    out->clipped = f->accumulators ? (double)f->clipped / (double)f->accumulators : (double)NAN;
    share_noise(f, out);
    QF_TRY(qf_layer_bits_find(pair->fake, pair->fake->layers[unit->object], true, &bits));
    out->weight_bits = bits.weights;
    out->activation_bits = bits.input;
    QF_TRY(take_histogram(pair->context, f, out));
    QF_TRY(take_weights(pair, unit, out));
    QF_TRY(take_factors(pair, unit, f, out));
    return find_outliers(pair->context, f, out);
}
