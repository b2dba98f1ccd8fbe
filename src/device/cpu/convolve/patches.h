/*
 * Transposed convolution patch by patch: each pixel of the smaller image is multiplied by all
 * weights, and the patch that comes out is added to the larger image where the kernel stood.
 * Nothing is multiplied by a zero, whatever the stride, and with channels last a row of a patch is
 * a piece of a row of the image. In two axes, for values of 4 bytes.
 */
#ifndef QF_DEVICE_CPU_CONVOLVE_PATCHES_H
#define QF_DEVICE_CPU_CONVOLVE_PATCHES_H

#include "device/cpu/onednn.h"

/* Pixels of `rows` rows of one image, the first one being row `row` of the whole batch. */
typedef struct qf_patch_rows {
    size_t row, rows;
    void *patches; /* receives (pixels, groups, kernel rows, kernel columns, channels / groups), or
                      where they lie across (kernel rows, kernel columns, pixels) */
    float *own;    /* `scratch` values for each row, the caller's */
} qf_patch_rows;

typedef struct qf_patches {
    const qf_convolution_shape *shape; /* of the convolution whose transpose this is */
    int groups;                        /* of which a patch consists */
    bool across;                       /* see qf_patches_lie_across() */
    size_t scratch;
    /* Multiply, on the calling thread. */
    dnnl_status_t (*make)(const void *self, const qf_convolution_shape *, const qf_patch_rows *);
    void (*add)(const void *from, void *to, size_t n); /* to[i] += from[i] */
    const void *self;                                  /* for make */
} qf_patches;

/* Two axes, and patches of a row of pixels that are no burden on memory. */
bool qf_patches_fit(const qf_convolution_shape *shape);
/* One channel, and neighbours a column apart: then a row of pixels is added at once for each place
 * in the kernel, where a patch has but few values side by side. */
bool qf_patches_lie_across(const qf_convolution_shape *shape);
/* Adds all patches to `images`, (batch, rows, columns, channels). Each sum is taken in one order,
 * whatever the number of threads. */
qf_status qf_patches_add(qf_context *context, const qf_patches *patches, void *images);

#endif
