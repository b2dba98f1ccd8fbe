/* Likeness of boxes, and slopes by finite differences of its parts. */
#include "harness/yolo_likeness.h"

#include <math.h>

static double overlap_along(double a, double size_a, double b, double size_b)
{
    const double both = fmin(a + size_a / 2, b + size_b / 2) - fmax(a - size_a / 2, b - size_b / 2);
    return both > 0 ? both : 0;
}

static double reach(double a, double size_a, double b, double size_b)
{
    return fmax(a + size_a / 2, b + size_b / 2) - fmin(a - size_a / 2, b - size_b / 2);
}

double test_iou(box a, box b)
{
    const double both = overlap_along(a.x, a.w, b.x, b.w) * overlap_along(a.y, a.h, b.y, b.h);
    return both / (a.w * a.h + b.w * b.h - both);
}

static double empty_part(box a, box b)
{
    const double both = overlap_along(a.x, a.w, b.x, b.w) * overlap_along(a.y, a.h, b.y, b.h);
    const double around = reach(a.x, a.w, b.x, b.w) * reach(a.y, a.h, b.y, b.h);
    return (around - (a.w * a.h + b.w * b.h - both)) / around;
}

static double apart(box a, box b)
{
    const double w = reach(a.x, a.w, b.x, b.w), h = reach(a.y, a.h, b.y, b.h);
    return ((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y)) / (w * w + h * h);
}

static double other_ratio(box a, box b, double *weight)
{
    const double angle = atan(b.w / b.h) - atan(a.w / a.h);
    const double term = 4 / (M_PI * M_PI) * angle * angle;
    *weight = term / (1 - test_iou(a, b) + term + 1e-6);
    return term;
}

/* What counts twice by the sizes, and what once. */
static double overlap_part(qf_yolo_likeness of, box a, box b)
{
    return test_iou(a, b) - (of == QF_YOLO_GIOU ? empty_part(a, b) : 0);
}

static double rest_part(qf_yolo_likeness of, box a, box b)
{
    return of == QF_YOLO_DIOU || of == QF_YOLO_CIOU ? -apart(a, b) : 0;
}

double test_likeness(qf_yolo_likeness of, box a, box b)
{
    double weight, term = other_ratio(a, b, &weight);
    return overlap_part(of, a, b) + rest_part(of, a, b) - (of == QF_YOLO_CIOU ? weight * term : 0);
}

static box moved(box b, int number, double by)
{
    double numbers[] = {b.x, b.y, b.w, b.h};
    numbers[number] += by;
    return (box){numbers[0], numbers[1], numbers[2], numbers[3]};
}

static double slope_of(double (*part)(qf_yolo_likeness, box, box), qf_yolo_likeness of, box a,
                       box b, int number)
{
    const double step = 1e-6;
    return (part(of, moved(a, number, step), b) - part(of, moved(a, number, -step), b)) /
           (2 * step);
}

double test_darknet_slope(qf_yolo_likeness of, box a, box b, int number)
{
    const double twice = number < 2 ? 1 : 2;
    double slope =
        twice * slope_of(overlap_part, of, a, b, number) + slope_of(rest_part, of, a, b, number);
    if (of == QF_YOLO_CIOU && number > 1) {
        double weight;
        const double angle = atan(b.w / b.h) - atan(a.w / a.h);
        other_ratio(a, b, &weight);
        slope += weight * 8 / (M_PI * M_PI) * angle * (number == 2 ? a.h : -a.w);
    }
    return slope;
}
