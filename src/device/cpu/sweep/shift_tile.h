/*
 * What shifts 1 ... 16 lose of a tile of accumulators: 16 channels, up to 64 rows. Every sum is an
 * exact integer, so tiles may come in any order and from any thread (quant_math.h has the
 * definition).
 */
#ifndef QF_DEVICE_CPU_SWEEP_SHIFT_TILE_H
#define QF_DEVICE_CPU_SWEEP_SHIFT_TILE_H

#include "quant/quant.h"

enum { QF_SHIFT_LANES = 16, QF_SHIFT_ROWS = 64, QF_SHIFT_PIECES = 27 };

/* The sums of 16 channels: low + 2^32 * high, plus what `piece` stands for. */
typedef struct qf_shift_sums {
    /* Sums in 32 bits, of `rows` rows, that only the kernel which made them can read. */
    _Alignas(64) uint32_t piece[QF_SHIFT_PIECES][QF_SHIFT_LANES];
    uint64_t low[QF_SHIFT_MAX][QF_SHIFT_LANES]; /* modulo 2^64; the true sum is below that */
    int64_t high[QF_SHIFT_MAX][QF_SHIFT_LANES];
    uint32_t rows; /* 0: `piece` is not set */
    bool wide;     /* false: `low` and `high` are not set */
} qf_shift_sums;

/* Of one tile: x of up to QF_SHIFT_ROWS rows, `stride` floats apart. */
typedef struct qf_shift_tile {
    const float *x, *deq;
    const float *inverse; /* 1 / deq */
    size_t rows, stride, channels;
} qf_shift_tile;

/* Zero low and high if they are not set. */
void qf_shift_widen(qf_shift_sums *sums);
/* Any values on any machine. */
void qf_shift_add_tile(qf_shift_sums *sums, const qf_shift_tile *tile);

/* The same with 8-bit multiply-adds (AVX-512 VNNI), where available; false: nothing was added,
 * because some accumulator or deq is outside what it can do. */
bool qf_shift_vnni_available(void);
bool qf_shift_add_tile_vnni(qf_shift_sums *sums, const qf_shift_tile *tile);
/* Pieces go into low. */
void qf_shift_flush_vnni(qf_shift_sums *sums);

#endif
