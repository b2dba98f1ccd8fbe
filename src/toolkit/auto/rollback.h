/* Automatic calibration: which layers must stay float for a model to be good enough, and in what
 * order to try (AMCT specification of post-training quantisation, section 11). Arithmetic only: who
 * evaluates is the caller's affair. */
#ifndef QF_TOOLKIT_AUTO_ROLLBACK_H
#define QF_TOOLKIT_AUTO_ROLLBACK_H

#include <stdbool.h>
#include <stddef.h>

/* How alike a layer's outputs are, in float and quantised: 0.5 + 0.5 · cosine, so 1 where they have
 * one direction, 0 where the opposite. An output of zeros loses nothing (1); one that became zeros
 * lost all (0). */
double qf_cosine_similarity(const float *original, const float *other, size_t count);
/* Indices of layers, the most sensitive (least alike) first; of equal ones the earlier. */
void qf_rollback_order(const double *similarity, size_t count, size_t *order);

/* The search among "the first k layers of that order stay float", for the least k that is good. */
typedef struct qf_rollback {
    size_t layers;
    size_t left, right; /* k - 1 of those that may still be it, `right` behind the last */
    size_t asked;       /* the k under evaluation */
    size_t best;        /* the least that was found good; `layers`: all float */
    bool last_good, repeats, done;
} qf_rollback;

/* `good`: the model is good enough with every layer quantised, so there is nothing to search. */
void qf_rollback_begin(qf_rollback *search, size_t layers, bool good);
/* The next k to evaluate; false: the search is over, and `best` is what the last evaluation left
 * or, where it is `layers`, nothing. All layers in float are never evaluated. */
bool qf_rollback_next(qf_rollback *search, size_t *k);
void qf_rollback_tell(qf_rollback *search, bool good); /* of the k that was asked for */

#endif
