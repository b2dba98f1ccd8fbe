/* Areas of rectangles, and of what two have in common. */
#include "base/box.h"

#include <math.h>

float qf_box_area(const qf_box *box, qf_box_kind kind)
{
    const float inside = kind == QF_BOX_PIXELS ? 1 : 0;
    if (!(box->x2 >= box->x1 && box->y2 >= box->y1))
        return 0;
    return (box->x2 - box->x1 + inside) * (box->y2 - box->y1 + inside);
}

/* Comparisons, since fminf is a call into libm: suppression measures millions of pairs. */
static float least(float a, float b)
{
    return a < b ? a : b;
}

static float most(float a, float b)
{
    return a > b ? a : b;
}

float qf_box_common_area(const qf_box *a, const qf_box *b, qf_box_kind kind)
{
    const float inside = kind == QF_BOX_PIXELS ? 1 : 0;
    const float width = least(a->x2, b->x2) - most(a->x1, b->x1) + inside;
    const float height = least(a->y2, b->y2) - most(a->y1, b->y1) + inside;
    return width > 0 && height > 0 ? width * height : 0;
}

float qf_box_overlap(const qf_box *a, const qf_box *b, qf_box_kind kind)
{
    const float both = qf_box_common_area(a, b, kind);
    if (!(both > 0))
        return 0;
    const float overlap = both / (qf_box_area(a, kind) + qf_box_area(b, kind) - both);
    return overlap > 0 ? overlap : 0; /* NaN where least() passed over one */
}

float qf_box_coverage(const qf_box *box, const qf_box *other)
{
    const float both = qf_box_common_area(box, other, QF_BOX_BORDERS);
    return both > 0 ? both / qf_box_area(box, QF_BOX_BORDERS) : 0;
}

static float within(float value, float most)
{
    return fmaxf(0, fminf(value, most));
}

qf_box qf_box_clip(const qf_box *box, float right, float bottom)
{
    return (qf_box){within(box->x1, right), within(box->y1, bottom), within(box->x2, right),
                    within(box->y2, bottom)};
}

bool qf_box_is_finite(const qf_box *box)
{
    return isfinite(box->x1) && isfinite(box->y1) && isfinite(box->x2) && isfinite(box->y2);
}
