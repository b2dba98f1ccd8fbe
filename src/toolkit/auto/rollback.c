/* Sensitivity of layers, and the binary search for how many of them must stay float. */
#include "toolkit/auto/rollback.h"

#include <math.h>

double qf_cosine_similarity(const float *original, const float *other, size_t count)
{
    double a = 0, b = 0, product = 0;
    for (size_t i = 0; i < count; i++) {
        a += (double)original[i] * (double)original[i];
        b += (double)other[i] * (double)other[i];
        product += (double)original[i] * (double)other[i];
    }
    if (a == 0)
        return 1;
    return b == 0 ? 0 : 0.5 + 0.5 * product / (sqrt(a) * sqrt(b));
}

void qf_rollback_order(const double *similarity, size_t count, size_t *order)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && similarity[order[at - 1]] > similarity[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

void qf_rollback_begin(qf_rollback *search, size_t layers, bool good)
{
    *search = (qf_rollback){.layers = layers,
                            .right = layers,
                            .best = good ? 0 : layers,
                            .last_good = true,
                            .done = good};
}

bool qf_rollback_next(qf_rollback *search, size_t *k)
{
    if (search->done)
        return false;
    if (search->left < search->right) {
        search->asked = (search->left + search->right - 1) / 2 + 1;
        /* All in float is as good as the original, and nothing that could be saved. */
        search->done = search->asked == search->layers;
    } else {
        /* The files of the best one were written over by a later one that failed. */
        search->repeats = true;
        search->done = search->last_good;
        search->asked = search->best;
    }
    *k = search->asked;
    return !search->done;
}

void qf_rollback_tell(qf_rollback *search, bool good)
{
    search->last_good = good;
    if (search->repeats)
        search->done = true;
    else if (good)
        search->right = search->asked - 1;
    else
        search->left = search->asked;
    if (good)
        search->best = search->asked;
}
