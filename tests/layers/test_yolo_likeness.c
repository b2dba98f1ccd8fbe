/* YOLO's likenesses of boxes and their gradients, against a calculation in double. */
#include "harness/fixture.h"
#include "harness/yolo_likeness.h"

#include <math.h>

static void likeness(void **state)
{
    static const box pairs[][2] = {
        {{0.5, 0.5, 0.2, 0.3}, {0.57, 0.46, 0.3, 0.2}}, /* each beyond the other */
        {{0.5, 0.5, 0.1, 0.1}, {0.52, 0.49, 0.4, 0.3}}, /* inside */
        {{0.5, 0.5, 0.6, 0.5}, {0.45, 0.52, 0.2, 0.3}}, /* around */
        {{0.2, 0.2, 0.1, 0.2}, {0.7, 0.6, 0.3, 0.1}},   /* apart */
        {{0.2, 0.5, 0.1, 0.2}, {0.7, 0.55, 0.3, 0.15}}, /* apart along one axis */
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int kind = QF_YOLO_IOU; kind <= QF_YOLO_CIOU; kind++) {
            const box a = pairs[i][0], b = pairs[i][1];
            const qf_yolo_box mine = {(float)a.x, (float)a.y, (float)a.w, (float)a.h};
            const qf_yolo_box other = {(float)b.x, (float)b.y, (float)b.w, (float)b.h};
            float slope[4];
            const double found = (double)qf_yolo_compare(kind, &mine, &other, slope);
            if (!(fabs(found - test_likeness(kind, a, b)) <= 1e-6))
                fail_msg("pair %zu, likeness %d is %.8g, expected %.8g", i, kind, found,
                         test_likeness(kind, a, b));
            for (int k = 0; k < 4; k++)
                if (!(fabs((double)slope[k] - test_darknet_slope(kind, a, b, k)) <= 2e-5))
                    fail_msg("pair %zu, likeness %d: slope %d is %.8g, expected %.8g", i, kind, k,
                             (double)slope[k], test_darknet_slope(kind, a, b, k));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likeness),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
