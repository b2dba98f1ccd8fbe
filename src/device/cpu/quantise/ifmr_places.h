/* Which bins of IFMR's histogram values belong into. */
#ifndef QF_DEVICE_CPU_QUANTISE_IFMR_PLACES_H
#define QF_DEVICE_CPU_QUANTISE_IFMR_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QF_IFMR_SPARE_PLACES = 16 }; /* behind the last one, which may be written */

/* The places of all values that are not 0, in their order, and how many: floor(x · bins_per_unit) −
 * first, within 16 bits. Zeros, which behind a ReLU are many, are left to be counted at once. */
typedef size_t qf_ifmr_places(const float *x, size_t n, float bins_per_unit, int first,
                              uint16_t *place);

qf_ifmr_places qf_ifmr_places_loops, qf_ifmr_places_avx512;

#endif
