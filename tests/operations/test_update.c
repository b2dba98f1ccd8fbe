/* The host's update rules and norms against the reference's, bit for bit. */
#include "device/reference/reference.h"
#include "harness/fixture.h"

#include <math.h>
#include <string.h>

/* One parameter smaller than a stretch of the host's, one of several with an odd tail. */
static const int sizes[] = {1003, 40961};
enum { PARAMETERS = 2, TENSORS = 4 };

/* value, gradient and two histories of each parameter. */
typedef struct parameters {
    qf_tensor *tensor[PARAMETERS][TENSORS];
} parameters;

static void make(parameters *p)
{
    qf_random random;
    qf_random_seed(&random, 3);
    for (int k = 0; k < PARAMETERS; k++)
        for (int t = 0; t < TENSORS; t++) {
            const qf_shape shape = qf_shape_make(1, &sizes[k]);
            float *values;
            assert_ok(context, qf_tensor_create(context, &p->tensor[k][t]));
            assert_ok(context, qf_tensor_reshape(context, p->tensor[k][t], &shape));
            assert_ok(context, qf_write(context, p->tensor[k][t], QF_PLAIN, &values));
            for (int i = 0; i < sizes[k]; i++)
                values[i] = t >= 2                  ? qf_random_uniform(&random, 0, 1)
                            : t == 0 && i % 50 == 0 ? 0
                                                    : qf_random_gaussian(&random, 0, 1);
        }
}

static void release(parameters *p)
{
    for (int k = 0; k < PARAMETERS; k++)
        for (int t = 0; t < TENSORS; t++)
            qf_tensor_release(p->tensor[k][t]);
}

static void update(const qf_device *device, qf_update_rule rule, bool l1, parameters *p)
{
    qf_parameter_update updates[PARAMETERS];
    const bool two = rule == QF_ADADELTA || rule == QF_ADAM;
    for (int k = 0; k < PARAMETERS; k++)
        updates[k] =
            (qf_parameter_update){.value = p->tensor[k][0],
                                  .gradient = p->tensor[k][1],
                                  .history = {p->tensor[k][2], two ? p->tensor[k][3] : NULL},
                                  .gradient_scale = 0.37f,
                                  .decay = 0.0123f,
                                  .l1 = l1,
                                  .rate = 0.01f,
                                  .momentum = 0.9f,
                                  .momentum2 = 0.999f,
                                  .delta = 1e-6f,
                                  .rms_decay = 0.98f,
                                  .iteration = 4};
    assert_ok(context, device->update->apply(context, rule, updates, PARAMETERS));
}

static void rules_equal_the_reference(void **state)
{
    (void)state;
    for (int n = 0; n < 12; n++) {
        parameters found, expected;
        make(&found);
        make(&expected);
        update(&qf_cpu, (qf_update_rule)(n / 2), n % 2, &found);
        update(&qf_reference, (qf_update_rule)(n / 2), n % 2, &expected);
        for (int k = 0; k < PARAMETERS; k++)
            for (int t = 0; t < TENSORS; t++) {
                const float *a, *b;
                assert_ok(context, qf_read(context, found.tensor[k][t], QF_PLAIN, &a));
                assert_ok(context, qf_read(context, expected.tensor[k][t], QF_PLAIN, &b));
                for (int i = 0; i < sizes[k]; i++)
                    if (memcmp(&a[i], &b[i], sizeof *a) != 0)
                        fail_msg("rule %d, parameter %d, array %d, element %d: %.9g, expected %.9g",
                                 n / 2, k, t, i, (double)a[i], (double)b[i]);
            }
        release(&found);
        release(&expected);
    }
}

static void norms_are_the_same(void **state)
{
    (void)state;
    parameters p;
    double found, expected;
    make(&p);
    qf_tensor *gradients[] = {p.tensor[0][1], p.tensor[1][1], p.tensor[0][0]};
    qf_tensor_set_zero(gradients[2]);
    assert_ok(context, qf_cpu.update->squared_norm(context, gradients, 3, &found));
    assert_ok(context, qf_reference.update->squared_norm(context, gradients, 3, &expected));
    assert_true(expected > 1000 && fabs(found - expected) <= 1e-12 * expected);
    release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_equal_the_reference),
        cmocka_unit_test(norms_are_the_same),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
