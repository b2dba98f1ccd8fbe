/* How alike two boxes are, and the slopes with which darknet trains (Rezatofighi et al.,
 * Generalized Intersection over Union; Zheng et al., Distance-IoU Loss). */
#include "layers/detection/yolo.h"

/* A number and its slopes by the borders of the predicted box. */
typedef struct measure {
    float value, left, right, top, bottom;
} measure;

typedef struct borders {
    float left, right, top, bottom;
} borders;

static borders borders_of(const qf_yolo_box *box)
{
    return (borders){box->x - box->width / 2, box->x + box->width / 2, box->y - box->height / 2,
                     box->y + box->height / 2};
}

static measure area_of(borders b)
{
    const float width = b.right - b.left, height = b.bottom - b.top;
    return (measure){width * height, -height, height, -width, width};
}

/* Of both; 0, without a slope, where they do not meet. */
static measure common_area(borders p, borders t)
{
    const borders b = {fmaxf(p.left, t.left), fminf(p.right, t.right), fmaxf(p.top, t.top),
                       fminf(p.bottom, t.bottom)};
    measure area = area_of(b);
    if (!(b.right > b.left && b.bottom > b.top))
        return (measure){0};
    area.left *= p.left > t.left;
    area.right *= p.right < t.right;
    area.top *= p.top > t.top;
    area.bottom *= p.bottom < t.bottom;
    return area;
}

/* Of the box around both. */
static measure area_around(borders p, borders t)
{
    measure area = area_of((borders){fminf(p.left, t.left), fmaxf(p.right, t.right),
                                     fminf(p.top, t.top), fmaxf(p.bottom, t.bottom)});
    area.left *= p.left < t.left;
    area.right *= p.right > t.right;
    area.top *= p.top < t.top;
    area.bottom *= p.bottom > t.bottom;
    return area;
}

static float quotient_slope(float a, float da, float b, float db)
{
    return (b * da - a * db) / (b * b);
}

static measure quotient(measure a, measure b)
{
    if (!(b.value > 0))
        return (measure){0};
    return (measure){a.value / b.value, quotient_slope(a.value, a.left, b.value, b.left),
                     quotient_slope(a.value, a.right, b.value, b.right),
                     quotient_slope(a.value, a.top, b.value, b.top),
                     quotient_slope(a.value, a.bottom, b.value, b.bottom)};
}

/* a + factor · b */
static measure plus(measure a, float factor, measure b)
{
    return (measure){a.value + factor * b.value, a.left + factor * b.left,
                     a.right + factor * b.right, a.top + factor * b.top,
                     a.bottom + factor * b.bottom};
}

/* The squared distance of the centres by that of the corners of the box around both. */
static float distance(const qf_yolo_box *box, const qf_yolo_box *truth, float slope[4])
{
    const borders p = borders_of(box), t = borders_of(truth);
    const float dx = box->x - truth->x, dy = box->y - truth->y, square = dx * dx + dy * dy;
    const float width = fmaxf(p.right, t.right) - fminf(p.left, t.left);
    const float height = fmaxf(p.bottom, t.bottom) - fminf(p.top, t.top);
    const float diagonal = width * width + height * height;
    const float right = p.right > t.right, left = p.left < t.left;
    const float below = p.bottom > t.bottom, above = p.top < t.top;
    if (!(diagonal > 0)) {
        for (int i = 0; i < 4; i++)
            slope[i] = 0;
        return 0;
    }
    slope[0] = quotient_slope(square, 2 * dx, diagonal, 2 * width * (right - left));
    slope[1] = quotient_slope(square, 2 * dy, diagonal, 2 * height * (below - above));
    slope[2] = quotient_slope(square, 0, diagonal, width * (right + left));
    slope[3] = quotient_slope(square, 0, diagonal, height * (below + above));
    return square / diagonal;
}

/* CIOU's term for another ratio of sides. */
static float ratio(const qf_yolo_box *box, const qf_yolo_box *truth, float iou, float slope[2])
{
    static const float scale = 0.4052847345693511f; /* 4 / π² */
    const float angle = atanf(truth->width / truth->height) - atanf(box->width / box->height);
    const float term = scale * angle * angle, weight = term / (1 - iou + term + 1e-6f);
    slope[0] = -2 * scale * angle * box->height * weight;
    slope[1] = 2 * scale * angle * box->width * weight;
    return weight * term;
}

float qf_yolo_compare(qf_yolo_likeness likeness, const qf_yolo_box *box, const qf_yolo_box *truth,
                      float slope[4])
{
    const borders p = borders_of(box), t = borders_of(truth);
    const measure common = common_area(p, t);
    const measure own = plus(area_of(p), 1, (measure){.value = truth->width * truth->height});
    const measure all = plus(own, -1, common), iou = quotient(common, all);
    measure sum = iou;
    float unused[4], *to = slope ? slope : unused, away[4] = {0}, sides[2] = {0}, less = 0;
    if (likeness == QF_YOLO_GIOU) { /* 1 is taken off, and all / around added */
        const measure around = area_around(p, t);
        if (around.value > 0)
            sum = plus(plus(iou, 1, quotient(all, around)), -1, (measure){.value = 1});
    }
    if (likeness == QF_YOLO_DIOU || likeness == QF_YOLO_CIOU)
        less += distance(box, truth, away);
    if (likeness == QF_YOLO_CIOU)
        less += ratio(box, truth, iou.value, sides);
    to[0] = sum.left + sum.right - away[0];
    to[1] = sum.top + sum.bottom - away[1];
    to[2] = sum.right - sum.left - away[2] - sides[0];
    to[3] = sum.bottom - sum.top - away[3] - sides[1];
    return sum.value - less;
}
