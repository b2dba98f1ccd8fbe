/* IFMR over many batches, in memory that does not grow, against the search over all values at once:
 * the scale that it finds loses hardly more, of whatever distribution. */
#include "device/cpu/quantise/quantise_loops.h"
#include "device/device.h"
#include "harness/fixture.h"
#include "quant/ifmr_data.h"

#include <math.h>
#include <string.h>

enum { BATCHES = 11, BATCH = 20000, COUNT = BATCHES * BATCH };

static float values[COUNT];

static float gaussian(void)
{
    return qf_random_gaussian(&context->random, 0, 1);
}

static float shifted(void)
{
    return 0.3f + 2 * gaussian();
}

static float rectified(void)
{
    return fmaxf(gaussian(), 0);
}

static float heavy(void)
{
    return gaussian() * expf(gaussian());
}

static float heavy_rectified(void)
{
    return fmaxf(heavy(), 0);
}

/* As behind ReLU6. */
static float plateau(void)
{
    return fminf(fmaxf(3 + 3 * gaussian(), 0), 6);
}

static float negative(void)
{
    return -fabsf(gaussian()) - 0.125f;
}

static float small(void)
{
    return 1e-4f * gaussian();
}

static float far_from_zero(void)
{
    return 1000 + gaussian();
}

static float (*const kinds[])(void) = {gaussian, shifted,  rectified, heavy,        heavy_rectified,
                                       plateau,  negative, small,     far_from_zero};

/* What codes lose of all values. */
static double loss(float scale, int32_t offset_d)
{
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        const float value =
            qf_code_value(qf_quant_code(values[i], scale, offset_d), offset_d, scale);
        const double error = (double)value - (double)values[i];
        sum += error * error;
    }
    return sum;
}

static void add_all(qf_ifmr_data *data, size_t batch)
{
    qf_tensor *x;
    float *to;
    assert_ok(context, qf_tensor_create(context, &x));
    for (size_t at = 0; at < COUNT; at += batch) {
        const size_t n = batch < COUNT - at ? batch : COUNT - at;
        const qf_shape shape = qf_shape_make(1, (int[]){(int)n});
        assert_ok(context, qf_tensor_reshape(context, x, &shape));
        assert_ok(context, qf_write(context, x, QF_PLAIN, &to));
        memcpy(to, values + at, n * sizeof *to);
        assert_ok(context, qf_cpu.quantise->ifmr_add(context, data, x));
    }
    qf_tensor_release(x);
}

/* With a percentile that lies beyond the lists of ends, the limits of all candidates are known to a
 * part of a bin only. */
static void the_range_loses_hardly_more(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (int way = 0; way < 4; way++) {
            qf_ifmr_options options = qf_ifmr_defaults;
            options.with_offset = way & 1;
            options.max_percentile = options.min_percentile = way & 2 ? 0.999f : 0.999999f;
            qf_ifmr_data data = {0};
            float exact, found;
            int32_t exact_offset, found_offset;
            for (int i = 0; i < COUNT; i++) /* later batches reach farther */
                values[i] = kinds[kind]() * (1 + (float)(i / BATCH) / 8);
            assert_ok(context,
                      qf_ifmr_exact(context, &options, values, COUNT, &exact, &exact_offset));
            add_all(&data, BATCH);
            assert_ok(context, qf_cpu.quantise->ifmr_decide(context, &data, &options, &found,
                                                            &found_offset));
            const double least = loss(exact, exact_offset), lost = loss(found, found_offset);
            if (!(lost <= (way & 2 ? 1.005 : 1.001) * least))
                fail_msg("kind %zu, way %d: scale %.9g loses %.9g, exact %.9g loses %.9g", kind,
                         way, (double)found, lost, (double)exact, least);
            qf_ifmr_data_release(&data);
        }
}

/* Batches of any size, and any number of threads, leave the same. */
static void the_order_does_not_matter(void **state)
{
    (void)state;
    qf_ifmr_data data[3] = {{0}, {0}, {0}};
    static const size_t batches[] = {BATCH, 777, COUNT};
    for (int i = 0; i < COUNT; i++)
        values[i] = heavy() * ldexpf(1, i / (COUNT / 12));
    for (int i = 0; i < 3; i++) {
        qf_context_set_threads(context, 1 + i);
        add_all(&data[i], batches[i]);
        assert_int_equal(data[i].count, COUNT);
        assert_true(data[i].grid.exponent == data[0].grid.exponent &&
                    data[i].grid.first == data[0].grid.first);
        assert_memory_equal(data[i].bins, data[0].bins, QF_IFMR_DATA_BINS * sizeof(uint64_t));
        assert_memory_equal(&data[i].top, &data[0].top, sizeof data[0].top);
        assert_memory_equal(&data[i].bottom, &data[0].bottom, sizeof data[0].bottom);
    }
    for (int i = 0; i < 3; i++)
        qf_ifmr_data_release(&data[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_range_loses_hardly_more),
        cmocka_unit_test(the_order_does_not_matter),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
