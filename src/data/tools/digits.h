/* A data set that needs no download: digits drawn by strokes. */
#ifndef QF_DATA_TOOLS_DIGITS_H
#define QF_DATA_TOOLS_DIGITS_H

#include "base/context.h"

enum { QF_DIGIT_SIZE = 28 };

/* Draw digit 0 … 9 into 28 x 28 bytes (ink is light, as in MNIST): one of several ways to write it,
 * slanted, scaled, moved, bent, with a pen of random width, blur, noise, and now and then a stain.
 */
void qf_draw_digit(qf_random *random, int digit, uint8_t *pixels);

#endif
