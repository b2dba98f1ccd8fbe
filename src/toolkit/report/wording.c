/* Words and numbers that the report's forms share. */
#include "toolkit/report/wording.h"

#include <math.h>
#include <stdio.h>

double qf_badness(double decibels)
{
    const double bad = (60 - decibels) / 50;
    return !(bad > 0) ? 0 : bad < 1 ? bad : 1;
}

const char *qf_decibels_text(double decibels, char *out, size_t size)
{
    if (isfinite(decibels))
        snprintf(out, size, "%.1f", decibels);
    else
        snprintf(out, size, "%s", isnan(decibels) ? "-" : decibels > 0 ? "exact" : "lost");
    return out;
}

const char *qf_bits_text(const qf_report_layer *layer, char *out, size_t size)
{
    if (layer->weight_bits)
        snprintf(out, size, "%d, %d", layer->weight_bits, layer->activation_bits);
    else
        snprintf(out, size, "-, %d", layer->activation_bits);
    return out;
}

const char *qf_score_text(double score, char *out, size_t size)
{
    snprintf(out, size, isnan(score) ? "-" : fabs(score) < 1000 ? "%.4f" : "%.6g", score);
    return out;
}

const char *qf_bytes_text(double bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units)
        bytes /= 1024, unit++;
    snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

const char *qf_speed_text(double speed, char *out, size_t size)
{
    snprintf(out, size, isnan(speed) ? "-" : speed < 10 ? "%.2f" : "%.0f", speed);
    return out;
}

const char *qf_main_cause(const qf_report_layer *layer, double *share)
{
    const double shares[] = {layer->from_input, layer->from_weights, layer->from_rest};
    static const char *const names[] = {"input", "weights", "N, bias"};
    int most = 0;
    for (int i = 1; i < 3; i++)
        most = shares[i] > shares[most] ? i : most;
    *share = shares[most];
    return isnan(layer->from_input) ? "-" : names[most];
}

void qf_shifts_of(const qf_report_layer *layer, int *least, int *most)
{
    *least = *most = layer->channels ? layer->channel[0]->shift : 0;
    for (size_t i = 0; i < layer->channels; i++) {
        const int shift = layer->channel[i]->shift;
        *least = shift < *least ? shift : *least;
        *most = shift > *most ? shift : *most;
    }
}

double qf_least_headroom(const qf_report_layer *layer)
{
    double least = (double)NAN;
    for (size_t i = 0; i < layer->channels; i++)
        least = fmin(least, layer->channel[i]->headroom);
    return least;
}

double qf_report_score(const qf_qat_score *score, int model)
{
    const double values[QF_REPORTED_MODELS] = {score->float_score, score->calibrated_score,
                                               score->fake_quant_score, score->deploy_score};
    return values[model];
}

bool qf_report_model(const qf_report *r, int model, qf_reported_model *out)
{
    const qf_reported_model models[QF_REPORTED_MODELS] = {
        {"float", r->float_bytes, r->float_speed},
        {"calibrated", 0, (double)NAN},
        {"fake-quant", r->fake_quant_bytes, (double)NAN},
        {"deploy (int8)", r->deploy_bytes, r->deploy_speed},
    };
    bool made = models[model].bytes > 0;
    *out = models[model];
    for (int i = 0; i < r->scores; i++)
        made = made || !isnan(qf_report_score(r->score[i], model));
    return made;
}
