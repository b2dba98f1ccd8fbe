/* What quantising one layer does, measured batch by batch in memory that does not grow. */
#ifndef QF_TOOLKIT_REPORT_LAYER_FIGURES_H
#define QF_TOOLKIT_REPORT_LAYER_FIGURES_H

#include "toolkit/report/input_histogram.h"
#include "toolkit/report/net_pair.h"

/* Sums of squares of a value, and of how far another is from it. */
typedef struct qf_noise {
    double signal, noise;
} qf_noise;

void qf_noise_add(qf_noise *n, const float *value, const float *other, size_t count);
double qf_noise_decibels(const qf_noise *n); /* INFINITY: no noise; NAN: nothing at all */

typedef struct qf_layer_figures {
    qf_noise weights, input, output, input_all, output_all;
    qf_noise from_input, from_weights; /* of the output, with only that quantised */
    double clip_low, clip_high, step;
    qf_input_histogram histogram;
    size_t input_channels, output_channels;
    float *loudest_input; /* of each channel: the largest magnitude */
    float *accumulator;   /* the same of what the layer sums up, before the shift */
    uint64_t accumulators, clipped;
    qf_tensor *kept_input, *kept_output;
} qf_layer_figures;

/* Adds the batch that both nets have just run on: first what there is, of all layers, */
qf_status qf_layer_figures_look(const qf_net_pair *pair, const qf_pair_unit *unit,
                                qf_layer_figures *figures);
/* then what there would be with only this layer quantised. The fake-quant net's blobs are others
 * afterwards, the float net's are as before. */
qf_status qf_layer_figures_try(const qf_net_pair *pair, const qf_pair_unit *unit,
                               qf_layer_figures *figures);
void qf_layer_figures_release(qf_layer_figures *figures);

/* All that is to be said of it; the name is there, the training's ranges are not. */
qf_status qf_layer_figures_take(const qf_net_pair *pair, const qf_pair_unit *unit,
                                const qf_layer_figures *figures, qf_report_layer *out);

#endif
