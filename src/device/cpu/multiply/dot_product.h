/*
 * Tiles of sums of products of unsigned and signed bytes, exact in 32 bits: the heart of integer
 * convolutions and inner products. A tile has QF_DOT_ROWS positions of the output and up to
 * QF_DOT_COLUMNS channels. A position's operands are the same in all tiles: runs of `steps` times
 * four bytes, which begin `tap[0 … taps − 1]` bytes behind the position's address.
 */
#ifndef QF_DEVICE_CPU_MULTIPLY_DOT_PRODUCT_H
#define QF_DEVICE_CPU_MULTIPLY_DOT_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QF_DOT_ROWS = 7, QF_DOT_DEPTH = 4, QF_DOT_LANES = 16, QF_DOT_COLUMNS = 64 };

typedef struct qf_dot_operands {
    const size_t *tap;
    size_t taps, steps;
} qf_dot_operands;

/* sums[row · QF_DOT_COLUMNS + lane] = start[lane] + Σ bytes(row) · weights(lane), for `vectors`
 * times QF_DOT_LANES lanes, 1 … 4 vectors. `w` is in the order (tap, step, lane, 4 bytes). */
typedef void (*qf_dot_tile)(const uint8_t *const position[QF_DOT_ROWS], const qf_dot_operands *o,
                            const int8_t *w, const int32_t *start, int vectors, int32_t *sums);

/* The depthwise tile has the same shape, but a lane multiplies only the bytes of its own channel,
 * one a tap (`steps` is not used, `taps` a multiple of QF_DOT_DEPTH):
 * sums[row][lane] = start[lane] + Σ over taps of position[row][tap + lane] · weight(tap, lane). It
 * reads all QF_DOT_COLUMNS bytes behind each tap, and makes as many sums. */
size_t qf_depthwise_place(size_t tap, size_t lane); /* of that weight in a block's `w` */

/* The fastest this processor has; NULL: none but the reference. */
qf_dot_tile qf_dot_tile_fast(void);
qf_dot_tile qf_depthwise_tile_fast(void);
/* Plain loops: what the fast one is tested against. */
void qf_dot_tile_reference(const uint8_t *const position[QF_DOT_ROWS], const qf_dot_operands *o,
                           const int8_t *w, const int32_t *start, int vectors, int32_t *sums);
void qf_depthwise_tile_reference(const uint8_t *const position[QF_DOT_ROWS],
                                 const qf_dot_operands *o, const int8_t *w, const int32_t *start,
                                 int vectors, int32_t *sums);

#endif
