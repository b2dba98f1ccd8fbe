/* Positions of a layer's output, picked from batches: what the layer reads there in the quantised
 * net, and what it puts out there in the float net. */
#ifndef QF_TOOLKIT_RUN_LAYER_SAMPLES_H
#define QF_TOOLKIT_RUN_LAYER_SAMPLES_H

#include "base/random.h"
#include "toolkit/report/net_pair.h"

/* An InnerProduct is a convolution of images of one pixel. In a Deconvolution an output reads where
 * a tap of its kernel meets a pixel, and 0 elsewhere. */
typedef struct qf_layer_samples {
    size_t groups, outputs, inputs; /* outputs of a group, inputs of an output */
    int kernel[2], stride[2], pad[2], dilation[2];
    bool transposed; /* a Deconvolution, whose blob has inputs first */
    size_t count, room;
    size_t each;   /* positions of a batch, at most */
    float *input;  /* (groups, room, inputs) */
    float *target; /* (room, groups · outputs) */
} qf_layer_samples;

/* Room for positions of so many batches; false in *fits: the layer is none of which positions can
 * be picked. To be closed also after a failure. */
qf_status qf_layer_samples_open(qf_context *context, const qf_layer *layer, int batches, bool *fits,
                                qf_layer_samples *out);
void qf_layer_samples_close(qf_layer_samples *samples);
/* Where weight `i` of (groups, outputs, inputs) lies in the layer's blob. */
size_t qf_layer_samples_place(const qf_layer_samples *samples, size_t i);
/* Of the batch that both nets have just run on, spread evenly over images and pixels. */
qf_status qf_layer_samples_add(const qf_net_pair *pair, const qf_pair_unit *unit, qf_random *random,
                               qf_layer_samples *samples);

#endif
