/*
 * Stages: what a layer does, said so that it can run together with its neighbours. A layer that can
 * take part fills in a qf_stage when it is asked (`stage` in layers/layer.h): a kind, the tensors
 * that it works with now and plain numbers. What is joined of that (net/schedule) knows kinds of
 * stages, never layers.
 */
#ifndef QF_LAYERS_STAGE_H
#define QF_LAYERS_STAGE_H

#include "device/device.h"

struct qf_layer;

typedef enum qf_stage_kind {
    QF_STAGE_NONE,       /* takes no part, as it is */
    QF_STAGE_CONVOLVE,   /* one bottom, whose channels are axis 1 */
    QF_STAGE_PRODUCT,    /* another product that may make integers: its forward does */
    QF_STAGE_DEQUANTISE, /* of deployed products: integers become values */
    QF_STAGE_NORMALISE,  /* value = (x − mean) · inverse */
    QF_STAGE_SCALE,      /* value = x · factor + summand, of each channel */
    QF_STAGE_SEARCH,     /* looks at values and leaves them alone */
    QF_STAGE_COUNT,      /* looks at values and has no top */
    QF_STAGE_SUM,        /* of two different bottoms, into a third blob */
    QF_STAGE_RECTIFY,    /* ReLU, ReLU6 */
    QF_STAGE_SPLIT,      /* hands on the very tensor to several */
    QF_STAGE_QUANTISE,   /* codes for training, with a gradient and a range that learns */
    QF_STAGE_ENCODE,     /* codes of deployed models */
    QF_STAGE_SELECT,     /* each value is one of those below: codes may go through instead */
} qf_stage_kind;

typedef struct qf_stage {
    qf_stage_kind kind;
    struct qf_layer *layer; /* whose it is */
    /* By kind. Gradients (d_…) are added to; NULL: nobody asks. */
    union {
        struct {
            qf_convolution *operation; /* of CONVOLVE */
            qf_tensor *weights, *bias; /* bias may be NULL */
            bool deployed;             /* the weights are integers: so is the result */
        } product;
        struct {
            qf_requantisation factors; /* as far as they are DEQUANTISE's */
            bool deployed;             /* else a fake-quant model's: values come in */
        } dequantise;
        struct {
            qf_statistics statistics;
            bool of_batch; /* mean and inverse are those of x */
        } normalise;
        struct {
            qf_tensor *factor, *summand; /* summand may be NULL */
            qf_tensor *d_factor, *d_summand;
        } scale;
        qf_shift_search *search; /* NULL: it has seen all that it wants to */
        qf_ifmr_count *count;    /* NULL: there is none in this pass */
        struct {
            float slope; /* of negative values */
            float limit; /* 0: none */
        } rectify;
        struct {
            bool known;   /* there is a range; else the layer's forward has to measure it first */
            bool regular; /* the range, as far as it is known, is fit for sweeps */
            qf_ulq codes;
            qf_ulq_terms terms; /* of the gradients */
            qf_tensor *d_clip[2];
        } quantise;
        struct {
            float scale;
            int32_t offset_d;
        } encode;
    };
} qf_stage;

#endif
