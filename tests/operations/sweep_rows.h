/* What the rows of sweeps are made of: their stages and shapes, operands, and how large sums are.
 */
#ifndef QF_TESTS_SWEEP_ROWS_H
#define QF_TESTS_SWEEP_ROWS_H

#include "operations/rows.h"

typedef struct sweep_shape {
    const char *name;
    int axes, size[5];
    bool norm, batch; /* BatchNorm, with statistics of the batch */
    bool factor, summand, addend, relu;
    float slope, limit;
    int above; /* sweeps that make the addend */
    bool codes;
    int readers, code_readers;
} sweep_shape;

extern const sweep_shape sweep_shapes[];
extern const size_t sweep_shape_count;
void sweep_draw(void *shape);

typedef struct sweep_operands {
    const sweep_shape *shape;
    qf_sweep sweep, above[QF_SWEEP_CHAIN];
    qf_ulq_terms terms; /* of the codes' range */
    qf_tensor *x, *addend, *above_x[QF_SWEEP_CHAIN];
} sweep_operands;

/* In a channel or two x passes all stages as it is, and lies on the clip range's ends or beside
 * them. */
sweep_operands sweep_open(const sweep_shape *, bool special);

/* What backward makes the value from. */
void sweep_list_values(const sweep_operands *, qf_sweep_gradients *);
qf_tensor *sweep_value(const sweep_operands *); /* by the reference */

/* Floats: equal to the bit, but for NaN, which has many. */
void sweep_compare_bits(qf_tensor *found, qf_tensor *expected, const char *what);

/* Values of each channel, to be given to a sweep or to be added to; `added`: small whole numbers.
 */
qf_tensor *sweep_channels(size_t channels);

/* Sums of absolute values, with what they are added to, which roundings of the sums are in
 * proportion to. */
typedef struct sweep_magnitudes {
    qf_tensor *factor, *summand, *clip, *dx;
} sweep_magnitudes;
sweep_magnitudes sweep_measure(const sweep_operands *, const qf_sweep_gradients *expected);

#endif
