/* The stages of a sweep on rows that somebody has in the cache: what makes them. */
#ifndef QF_DEVICE_CPU_SWEEP_SWEEP_ROWS_H
#define QF_DEVICE_CPU_SWEEP_SWEEP_ROWS_H

#include "device/open_sweep.h"

/* How many rows are a tile: as many as stay in the cache. */
size_t qf_sweep_tile_rows(const qf_open_sweep *sweep);
/* What the stages make of a tile of x (and the addend). y NULL: nobody but those who look wants it,
 * and there are no other stages. */
void qf_sweep_tile(const qf_open_sweep *sweep, const float *x, const float *addend, float *y,
                   size_t rows);
/* All channels of `rows` rows, forward, without codes. The addend may be NULL; y may be x or the
 * addend. By one thread of those that there were when the search or the counting began. */
void qf_sweep_rows(const qf_open_sweep *sweep, const float *x, const float *addend, float *y,
                   size_t rows);

#endif
