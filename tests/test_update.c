/* The six update rules against their formulas written out, element by element, bit for bit. */
#include "harness/harness.h"
#include "train/solver.h"

#include <math.h>
#include <string.h>

enum { COUNT = 1003 };

typedef struct element {
    float value, history[2];
} element;

static float direction(const qf_parameter_update *u, float w)
{
    return u->l1 ? (w > 0 ? 1 : w < 0 ? -1 : 0) : w;
}

static void expected(const char *rule, const qf_parameter_update *u, float gradient, element *e)
{
    float *h = e->history;
    const float g = gradient * u->gradient_scale + u->decay * direction(u, e->value);
    if (strcmp(rule, "SGD") == 0) {
        h[0] = u->momentum * h[0] + u->rate * g;
        e->value -= h[0];
    } else if (strcmp(rule, "Nesterov") == 0) {
        const float old = h[0];
        h[0] = u->momentum * old + u->rate * g;
        e->value -= (1 + u->momentum) * h[0] - u->momentum * old;
    } else if (strcmp(rule, "AdaGrad") == 0) {
        h[0] += g * g;
        e->value -= u->rate * g / (sqrtf(h[0]) + u->delta);
    } else if (strcmp(rule, "RMSProp") == 0) {
        h[0] = u->rms_decay * h[0] + (1 - u->rms_decay) * g * g;
        e->value -= u->rate * g / (sqrtf(h[0]) + u->delta);
    } else if (strcmp(rule, "AdaDelta") == 0) {
        h[0] = u->momentum * h[0] + (1 - u->momentum) * g * g;
        const float step = g * sqrtf((h[1] + u->delta) / (h[0] + u->delta));
        h[1] = u->momentum * h[1] + (1 - u->momentum) * step * step;
        e->value -= u->rate * step;
    } else {
        const double t = u->iteration + 1;
        const float correction =
            (float)(sqrt(1 - pow((double)u->momentum2, t)) / (1 - pow((double)u->momentum, t)));
        h[0] = u->momentum * h[0] + (1 - u->momentum) * g;
        h[1] = u->momentum2 * h[1] + (1 - u->momentum2) * g * g;
        e->value -= u->rate * correction * h[0] / (sqrtf(h[1]) + u->delta);
    }
}

static void rules_equal_formulas(void **state)
{
    (void)state;
    static const char *const names[] = {"SGD",     "Nesterov", "AdaGrad",
                                        "RMSProp", "AdaDelta", "Adam"};
    static float value[COUNT], gradient[COUNT], history[2][COUNT];
    static element wanted[COUNT];
    qf_random random;
    qf_random_seed(&random, 3);
    for (size_t n = 0; n < 2 * sizeof names / sizeof *names; n++) {
        const char *name = names[n / 2];
        const qf_update_rule *rule = qf_update_rule_find(name);
        const qf_parameter_update u = {.count = COUNT,
                                       .value = value,
                                       .gradient = gradient,
                                       .history = {history[0], history[1]},
                                       .gradient_scale = 0.37f,
                                       .decay = 0.0123f,
                                       .l1 = n % 2,
                                       .rate = 0.01f,
                                       .momentum = 0.9f,
                                       .momentum2 = 0.999f,
                                       .delta = 1e-6f,
                                       .rms_decay = 0.98f,
                                       .iteration = 4};
        assert_non_null(rule);
        for (int i = 0; i < COUNT; i++) {
            value[i] = i % 50 ? qf_random_gaussian(&random, 0, 1) : 0;
            gradient[i] = qf_random_gaussian(&random, 0, 1);
            history[0][i] = qf_random_uniform(&random, 0, 1);
            history[1][i] = qf_random_uniform(&random, 0, 1);
            wanted[i] = (element){value[i], {history[0][i], history[1][i]}};
            if (i >= 1 && i < COUNT - 1) /* the stretch below */
                expected(name, &u, gradient[i], &wanted[i]);
        }
        rule->apply(&u, 1, COUNT - 1);
        for (int i = 0; i < COUNT; i++)
            if (value[i] != wanted[i].value || history[0][i] != wanted[i].history[0] ||
                history[1][i] != wanted[i].history[1])
                fail_msg("%s, element %d: %.9g, expected %.9g", name, i, (double)value[i],
                         (double)wanted[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules_equal_formulas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
