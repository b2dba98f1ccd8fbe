/* Shifts of which the accumulators' step is known in the last batch only, against a search over all
 * values: Gaussian channels and nasty ones, of many batches. */
#include "harness/harness.h"
#include "quant/shift_tail.h"

#include <math.h>
#include <string.h>

enum { CHANNELS = 400, MOST = 40000 };

static qf_context *context;
static float values[MOST];

typedef struct counts {
    int channels, same, worse; /* worse: than one percent above the best error */
    double worst;
} counts;

/* ---- channels ---- */

static float gaussian(void)
{
    return qf_random_gaussian(&context->random, 0, 1);
}

static float uniform(float low, float high)
{
    return qf_random_uniform(&context->random, low, high);
}

static float normal_value(float scale)
{
    return scale * gaussian();
}

static float heavy_value(float scale)
{
    const float g = gaussian();
    return scale * g * expf(0.7f * gaussian());
}

static float skewed_value(float scale)
{
    const float g = gaussian();
    return scale * (g > 0 ? g * g : g / 8);
}

/* A tenth of the values are the largest one. */
static float plateau_value(float scale)
{
    return scale * fminf(gaussian(), 1.28f);
}

/* One in a thousand is far away. */
static float outlying_value(float scale)
{
    return scale * gaussian() * (uniform(0, 1) < 0.001f ? 40.f : 1.f);
}

static float constant_value(float scale)
{
    return scale;
}

static float (*const kinds[])(float) = {normal_value,  heavy_value,    skewed_value,
                                        plateau_value, outlying_value, constant_value};

/* ---- two searches ---- */

static void add(qf_shift_errors *errors, size_t from, size_t to, float deq)
{
    for (size_t i = from; i < to; i++)
        qf_shift_errors_add(errors, qf_shift_accumulator(values[i], deq));
}

static int found_shift(size_t n, size_t batch, float deq)
{
    qf_shift_tail tail = {.high = {.count = 0}, .low = {.count = 0}};
    qf_shift_errors errors = {{0}};
    for (size_t from = 0; from < n; from += batch) {
        qf_shift_tail seen = {.high = {.count = 0}, .low = {.count = 0}};
        for (size_t i = from; i < from + batch; i++) {
            qf_shift_end_add(&seen.high, values[i]);
            qf_shift_end_add(&seen.low, -values[i]);
        }
        qf_shift_tail_age(&tail);
        qf_shift_tail_join(&tail, &seen);
    }
    add(&errors, n - batch, n, deq);
    qf_shift_errors_of_all(&tail, (qf_shift_rows){n, batch}, deq, &errors);
    return qf_shift_best(&errors);
}

static void compare(counts *c, size_t n, size_t batch, float deq)
{
    qf_shift_errors exact = {{0}};
    add(&exact, 0, n, deq);
    const int best = qf_shift_best(&exact), found = found_shift(n, batch, deq);
    const double least = exact.error[best - 1], error = exact.error[found - 1];
    const double excess = error > least ? (error - least) / fmax(least, 1) : 0;
    c->channels++;
    c->same += found == best;
    c->worse += excess > 0.01;
    c->worst = fmax(c->worst, excess);
}

/* The largest value is anywhere, or, as is rare elsewhere, just above a limit of some shift. */
static float step_for(size_t n, bool near_limit)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    const float above = near_limit ? uniform(1, 1 + 4 * sqrtf((float)n) / 32768) : uniform(1, 2);
    return largest / (above * ldexpf(32768, (int)uniform(0, 7)));
}

static counts of_kind(size_t kind, bool near_limit)
{
    counts c = {0};
    for (int channel = 0; channel < CHANNELS; channel++) {
        const size_t batches = (size_t)uniform(2, 12),
                     batch = (size_t)uniform(1, (float)MOST / 12 / (channel % 2 ? 1 : 60));
        const float scale = expf(uniform(-4, 4));
        for (size_t i = 0; i < batches * batch; i++)
            values[i] = kinds[kind](scale);
        compare(&c, batches * batch, batch, step_for(batches * batch, near_limit));
    }
    return c;
}

static void nearly_all_shifts_are_the_exact_ones(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (int near_limit = 0; near_limit < 2; near_limit++) {
            const counts c = of_kind(kind, near_limit);
            if (c.same < (near_limit ? 98 : 100) * CHANNELS / 100 ||
                c.worse > (near_limit ? CHANNELS / 100 : 0))
                fail_msg("kind %zu%s: %d of %d are the same, %d lose more than 1 %% more, at most "
                         "%.3g",
                         kind, near_limit ? ", near a limit" : "", c.same, c.channels, c.worse,
                         c.worst);
        }
}

static int start(void **state)
{
    (void)state;
    context = test_context();
    qf_random_seed(&context->random, 4);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    qf_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearly_all_shifts_are_the_exact_ones),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
