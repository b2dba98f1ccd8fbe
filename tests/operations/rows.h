/*
 * Rows of operations: every operation of a family on every shape of a table and on random ones,
 * each a test of its own with a name, on every device against the reference. A seed decides all
 * values and the random shapes; it is printed, and QAFFE_SEED repeats it. Where an operation has a
 * list of implementations, the row is run with what the device chooses and with each of them by
 * name (convolve/3x3/forward/cpu:onednn); it is skipped where that one does not accept it.
 * QAFFE_ROW or the first argument picks rows by the beginning of their names: convolve/3x3-stride2,
 * or one of them alone.
 */
#ifndef QF_TESTS_ROWS_H
#define QF_TESTS_ROWS_H

#include "device/reference/reference.h"
#include "harness/fixture.h"

/* ---- programs ---- */

typedef struct rows_operation {
    const char *name;
    const char *list; /* its implementations (device/choose.h) by family:operation, or NULL */
    void (*check)(const qf_device *device, const void *shape);
} rows_operation;

/* A family's rows: `shapes` are `count` structures of `size` bytes that begin with their name. */
typedef struct rows_family {
    const char *name;
    const rows_operation *operations;
    size_t operation_count;
    const void *shapes;
    size_t shape_size, shape_count;
    void (*draw)(void *shape); /* a random one; sizes that no loop divides, mostly */
    size_t drawn;              /* how many of them */
} rows_family;

#define ROWS_COUNT(array) (sizeof(array) / sizeof *(array))

/* What main() returns. Each row runs on one thread and on several. */
int rows_run(const rows_family *family, int argc, char **argv);

/* The implementation that this row forces; "" where the device chooses. */
const char *rows_forced(void);

/* ---- drawing ---- */

int rows_between(int low, int high); /* both inclusive */
bool rows_chance(double probability);

/* ---- tensors: they live until the row ends ---- */

qf_tensor *rows_tensor(int axes, const int *dimensions);
qf_tensor *rows_like(const qf_tensor *tensor); /* of its shape; zero */

/* Normally distributed, in one of the two orders. */
void rows_fill(qf_tensor *tensor);
/* Zero, -0, ±1, ±FLT_MAX, infinities and NaN among few different numbers. */
void rows_fill_special(qf_tensor *tensor);
/* All codes, the extremes often: they are what saturates. */
void rows_fill_codes(qf_tensor *tensor, int zero);
/* The same, with scales: `count` of them for `axis`. */
void rows_fill_weights(qf_tensor *tensor, int count, int axis);
void rows_fill_integers(qf_tensor *tensor); /* -100000 … 100000 */

/* The absolute values, as floats; NULL of NULL. */
qf_tensor *rows_absolute(qf_tensor *tensor);
/* A copy that shares nothing. */
qf_tensor *rows_copy(qf_tensor *tensor);

/* ---- around an operation ---- */

/* From now on the tensor is only read: rows_check() sees whether its bytes are what they were. */
void rows_input(qf_tensor *tensor);
/* The tensor's arrays of these forms (1 << form …) get guards on both sides, and contents that show
 * what was not written: NaN, or bytes of 255. A value that it has is kept. */
void rows_output(qf_tensor *tensor, unsigned forms);
#define ROWS_FLOATS (1u << QF_PLAIN | 1u << QF_NHWC)
/* After the operation: guards and inputs are whole, and what is valid lies between guards. */
void rows_check(void);

/* The reference's turn: on one thread, and what is its own afterwards. */
void rows_expect_begin(void);
void rows_expect_end(void);

/* ---- comparing ---- */

/* Rounding of a sum in float: this much of the sum of its terms' absolute values (34 units in the
 * last place; blocks of vectors leave 2 to 6). */
#define ROWS_ROUNDING 2e-6

/* |found − expected| ≤ tolerance · magnitude, element by element, and NaN only where expected. On
 * the reference itself, with other threads: equal. magnitude NULL: equal on all devices. */
void rows_compare(const qf_device *device, qf_tensor *found, qf_tensor *expected,
                  qf_tensor *magnitude, double tolerance, const char *what);
/* Integers or codes: equal to the bit, with equal scales. */
void rows_compare_form(qf_tensor *found, qf_tensor *expected, qf_form form, const char *what);

#endif
