/* Which convolutions are taken apart into two thin ones, in which way, and with how many channels
 * between them (AMCT specification, sections 13.1, 13.3 and 13.4). Arithmetic only. */
#ifndef QF_TOOLKIT_DECOMPOSE_RANK_H
#define QF_TOOLKIT_DECOMPOSE_RANK_H

#include <stddef.h>

/* What decides of a Convolution; pairs are height and width. */
typedef struct qf_convolution_form {
    int outputs, inputs; /* channels, of all groups */
    int kernel[2], stride[2], dilation[2];
    int group;
} qf_convolution_form;

/* AMCT's numbers and names. FC: fewer outputs than inputs, SC: not so; FK: the kernel is no higher
 * than wide, SK: higher. */
typedef enum qf_decompose_mode {
    QF_LEFT_WHOLE,
    QF_FCFK,
    QF_FCSK,
    QF_SCFK,
    QF_SCSK
} qf_decompose_mode;

qf_decompose_mode qf_decompose_mode_of(const qf_convolution_form *form);

/* How many of the singular values of a matrix of `rows` × `columns` (rows ≤ columns, a value for
 * each row, the largest first) stand out of noise: the empirical variational Bayes estimate. */
size_t qf_evbmf_rank(size_t rows, size_t columns, const double *singular);

/* That estimate within AMCT's limits, a multiple of 16 where there are so many values. `estimate`
 * is what it was; `length` unlike the matrix of the form: no estimate, and all of them. */
size_t qf_decompose_rank(const qf_convolution_form *form, const double *singular, size_t length,
                         size_t *estimate);

#endif
