/* Which of two states of a training is kept, by what was measured of them. */
#include "harness/fixture.h"
#include "toolkit/run/keep.h"

#include <math.h>

enum { GROUPS = 25, ITEMS = 400, EVEN = 1000 };

/* A state whose losses are those of the start less `gain`, which scatters by `spread` from group to
 * group; both in thousandths. */
static qf_run_measure state(int iteration, double score, double gain, double spread)
{
    qf_run_measure m = {.iteration = iteration, .score = score};
    m.losses.groups = GROUPS;
    for (int g = 0; g < GROUPS; g++) {
        const double all = 400 + 150 * sin(g * 2.3); /* groups differ more than states */
        m.losses.mean[g] = (all - gain - spread * sqrt(2) * sin(g * 1.1 + iteration)) / EVEN;
        m.loss += m.losses.mean[g] / GROUPS;
    }
    return m;
}

static qf_run_measure average(int iteration, double score, double gain, double spread)
{
    qf_run_measure m = state(iteration, score, gain, spread);
    m.average = true;
    return m;
}

static qf_run_progress begun(qf_run_measure kept)
{
    const qf_run_measure start = state(0, 0.8, 0, 0);
    return (qf_run_progress){.better = 1,
                             .items = ITEMS,
                             .start = start,
                             .begun = start,
                             .kept = kept.iteration ? kept : start};
}

static bool gains(qf_run_measure kept, qf_run_measure now)
{
    const qf_run_progress p = begun(kept);
    return qf_run_gains(&p, &now);
}

static void losses_are_compared_group_by_group(void **unused)
{
    (void)unused;
    const qf_run_measure start = state(0, 0.8, 0, 0), now = state(1, 0.8, 6, 10);
    qf_run_difference d;
    assert_true(qf_run_compare(&start, &now, &d));
    assert_true(fabs(d.gain - 0.006) < 0.002);
    assert_true(d.error > 0.0015 && d.error < 0.003); /* 10 / 5, and not 150 / 5 thousandths */
    qf_run_measure other = now;
    other.losses.groups = GROUPS - 1;
    assert_false(qf_run_compare(&start, &other, &d));
    assert_true(isnan(d.gain) && isnan(d.error));
    other.losses.groups = 0;
    assert_false(qf_run_compare(&other, &other, &d));
}

static void an_average_needs_nothing_against_it(void **unused)
{
    (void)unused;
    const qf_run_measure none = {0};
    assert_true(gains(none, average(8, 0.8, 0, 10)));
    assert_true(gains(none, average(8, 0.7975, 0, 10)));
    assert_true(gains(none, average(8, 0.8, 20, 10)));
    assert_false(gains(none, average(8, 0.8, -20, 10)));
    assert_false(gains(none, average(8, 0.78, 20, 10)));
    assert_true(gains(none, average(8, 0.85, -20, 10)));
    assert_false(gains(none, average(8, (double)NAN, 20, 10)));
}

static void what_is_known_by_heart_does_not_consent(void **unused)
{
    (void)unused;
    qf_run_progress p = begun((qf_run_measure){0});
    qf_run_measure now = average(8, 0.995, 0, 10);
    p.start.score = p.begun.score = p.kept.score = 0.995; /* 2 of 400 are wrong */
    assert_false(qf_run_gains(&p, &now));
    now = average(8, 0.995, 20, 10);
    assert_true(qf_run_gains(&p, &now));
    p.items = 4000; /* 20 are */
    now = average(8, 0.995, 0, 10);
    assert_true(qf_run_gains(&p, &now));
}

static void a_state_has_to_prove_itself(void **unused)
{
    (void)unused;
    const qf_run_measure none = {0};
    assert_false(gains(none, state(8, 0.8, 0, 10)));
    assert_false(gains(none, state(8, 0.81, 20, 10))); /* it may only be surer of itself */
    assert_true(gains(none, state(8, 0.825, 20, 10)));
    assert_false(gains(none, state(8, 0.825, -20, 10)));
    assert_true(gains(none, state(8, 0.85, -20, 10)));
    assert_false(gains(average(4, 0.8, 0, 10), state(8, 0.81, 20, 10)));
    assert_true(gains(average(4, 0.8, 0, 10), state(8, 0.85, 20, 10)));
}

static void later_ones_go_on_in_small_steps(void **unused)
{
    (void)unused;
    assert_true(gains(average(4, 0.8, 0, 10), average(8, 0.7975, 6, 10)));
    assert_false(gains(average(4, 0.8, 6, 10), average(8, 0.8, 0, 10)));
    assert_false(gains(average(4, 0.7975, 6, 10), average(8, 0.7875, 12, 10))); /* than the start */
    assert_true(gains(state(4, 0.85, 20, 10), state(8, 0.85, 26, 10)));
    assert_false(gains(state(4, 0.85, 20, 10), state(8, 0.8475, 26, 10)));
    assert_true(gains(state(4, 0.85, 20, 10), average(8, 0.85, 26, 10)));
}

/* A regression, or the distance to the float net. */
static void without_an_accuracy_the_loss_decides(void **unused)
{
    (void)unused;
    qf_run_progress p = begun((qf_run_measure){0});
    p.better = -1;
    p.begun.score = p.kept.score = p.begun.loss;
    qf_run_measure now = state(8, 0, 1, 10);
    now.score = now.loss;
    assert_false(qf_run_gains(&p, &now));
    now.average = true;
    assert_true(qf_run_gains(&p, &now));
    now = state(8, 0, 20, 10);
    now.score = now.loss;
    assert_true(qf_run_gains(&p, &now));
    now = average(8, 0, -20, 10);
    now.score = now.loss;
    assert_false(qf_run_gains(&p, &now));
    p.begun.losses.groups = p.kept.losses.groups = 0; /* too few batches */
    assert_false(qf_run_gains(&p, &now));
    now.score = 0.95 * p.begun.score;
    assert_true(qf_run_gains(&p, &now));
}

static void without_losses_the_accuracy_decides(void **unused)
{
    (void)unused;
    qf_run_progress p = begun((qf_run_measure){0});
    p.begun.losses.groups = p.kept.losses.groups = 0;
    qf_run_measure now = average(8, 0.8, 0, 10);
    assert_true(qf_run_gains(&p, &now));
    now.score = 0.7975;
    assert_false(qf_run_gains(&p, &now));
    now.average = false;
    now.score = 0.81;
    assert_false(qf_run_gains(&p, &now));
    now.score = 0.85;
    assert_true(qf_run_gains(&p, &now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_compared_group_by_group),
        cmocka_unit_test(an_average_needs_nothing_against_it),
        cmocka_unit_test(what_is_known_by_heart_does_not_consent),
        cmocka_unit_test(a_state_has_to_prove_itself),
        cmocka_unit_test(later_ones_go_on_in_small_steps),
        cmocka_unit_test(without_an_accuracy_the_loss_decides),
        cmocka_unit_test(without_losses_the_accuracy_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
