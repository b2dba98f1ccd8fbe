/* Inside the CPU's integer convolutions: from sums to values and codes, tile by tile. */
#ifndef QF_DEVICE_CPU_SWEEP_CPU_REQUANTISE_H
#define QF_DEVICE_CPU_SWEEP_CPU_REQUANTISE_H

#include "device/device.h"

/* Sums of some positions and channels of the output. */
typedef struct qf_sum_tile {
    const int32_t *sums;
    size_t stride;            /* sums from row to row */
    size_t row, rows;         /* rows row … row + rows − 1 of the arrays */
    size_t channel, channels; /* and these of their channels */
} qf_sum_tile;

/* What is done to sums, what is read beside them and what is written: rows of r->channels. Each
 * array may be NULL; y may be addend. */
typedef struct qf_requantiser {
    const qf_requantisation *r;
    const float *deq; /* its numbers of each channel */
    const int32_t *shift;
    const float *addend;
    float *y;
    uint8_t *codes;
    void (*tile)(const struct qf_requantiser *, const qf_sum_tile *); /* one thread */
} qf_requantiser;

/* For the arrays of these tensors (each may be NULL); codes get their scale and zero point, `tile`
 * is chosen from the list. */
qf_status qf_requantiser_open(qf_context *, const qf_requantisation *, qf_tensor *addend,
                              qf_tensor *y, qf_tensor *codes, qf_requantiser *out);
/* All channels of `rows` rows, which are rows first … of the arrays. One thread. */
void qf_requantise_rows(const qf_requantiser *, const int32_t *acc, size_t first, size_t rows);
/* The same on all threads. */
void qf_requantise_all(const qf_requantiser *, const int32_t *acc, size_t first, size_t rows);

/* With AVX-512, and of regular factors (requantise_avx512.c): the bits of the loops. */
void qf_requantise_tile_avx512(const qf_requantiser *, const qf_sum_tile *);

#endif
