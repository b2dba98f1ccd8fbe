/* Inside the CPU's integer convolutions: from sums to values and codes, tile by tile. */
#ifndef QF_BACKEND_CPU_REQUANTISE_H
#define QF_BACKEND_CPU_REQUANTISE_H

#include "backend/backend.h"

/* What is read beside the sums, and what is written; each may be NULL. Rows of channels. */
typedef struct qf_requantise_arrays {
    const float *addend;
    float *y;
    uint8_t *codes;
} qf_requantise_arrays;

/* The arrays of these tensors (each may be NULL); codes get their scale and zero point. y may be
 * addend. */
qf_status qf_requantise_outputs(qf_context *, const qf_requantisation *, qf_tensor *addend,
                                qf_tensor *y, qf_tensor *codes, qf_requantise_arrays *out);

/* `acc` holds `rows` rows, which are rows first … of the arrays. One thread. */
void qf_requantise_rows(const qf_requantisation *, const int32_t *acc, const qf_requantise_arrays *,
                        size_t first, size_t rows);
/* The same on all threads. */
void qf_requantise_all(const qf_requantisation *, const int32_t *acc, const qf_requantise_arrays *,
                       size_t first, size_t rows);
void qf_requantise_tile(const qf_requantisation *, const int32_t *acc, const float *addend,
                        float *y, uint8_t *codes, size_t rows, size_t channels);

#endif
