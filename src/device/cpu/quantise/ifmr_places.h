/* Which bins of IFMR's histogram values belong into. */
#ifndef QF_DEVICE_CPU_QUANTISE_IFMR_PLACES_H
#define QF_DEVICE_CPU_QUANTISE_IFMR_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QF_IFMR_BLOCK = 4096, QF_IFMR_CHUNK = 256, QF_IFMR_CHUNKS = QF_IFMR_BLOCK / QF_IFMR_CHUNK };
enum { QF_IFMR_SPARE_PLACES = 16 }; /* behind the last one, which may be written */

/* What is found of a block of values. */
typedef struct qf_ifmr_block {
    bool finite; /* all of them; else nothing else holds */
    float highest[QF_IFMR_CHUNKS], lowest[QF_IFMR_CHUNKS];
    /* floor(x · bins_per_unit), where that is an int32_t, of all values that are not 0, in their
     * order. Zeros, which behind a ReLU are many, are left to be counted at once. */
    size_t count;
    int32_t place[QF_IFMR_BLOCK + QF_IFMR_SPARE_PLACES];
} qf_ifmr_block;

/* Of up to QF_IFMR_BLOCK values. */
typedef void qf_ifmr_look(const float *x, size_t n, float bins_per_unit, qf_ifmr_block *block);

qf_ifmr_look qf_ifmr_look_loops, qf_ifmr_look_avx512;

#endif
