/* docs/adding-a-device.md, done: a device with a memory of its own and one family computes Pooling;
 * everything else comes from the host. */
#include "device/device.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <stdlib.h>
#include <string.h>

/* ---- the device ---- */

static int runs; /* of its operations */

static void *take(size_t size)
{
    return aligned_alloc(64, size);
}

static void give_back(void *slab, size_t size)
{
    (void)size;
    free(slab);
}

static qf_status copy(qf_context *of, void *to, const void *from, size_t size)
{
    (void)of;
    memcpy(to, from, size);
    return QF_OK;
}

static qf_status clear(qf_context *of, void *to, size_t size)
{
    (void)of;
    memset(to, 0, size);
    return QF_OK;
}

static const qf_memory memory = {.alignment = 64,
                                 .take = take,
                                 .give_back = give_back,
                                 .upload = copy,
                                 .download = copy,
                                 .copy = copy,
                                 .clear = clear};

static qf_status create(qf_context *of, const qf_pooling_shape *shape, qf_pooling **out)
{
    *out = malloc(sizeof *shape);
    if (!*out)
        return qf_fail(of, QF_E_MEMORY, "no memory for pooling");
    memcpy(*out, shape, sizeof *shape);
    return QF_OK;
}

static void destroy(qf_pooling *pooling)
{
    free(pooling);
}

/* MAX over windows that lie inside the image. */
static qf_status forward(qf_context *of, qf_pooling *pooling, qf_tensor *x, qf_tensor *y,
                         qf_tensor *mask, bool remember)
{
    QF_ON_DEVICE(of);
    const qf_pooling_shape *s = (const qf_pooling_shape *)pooling;
    const float *from;
    float *to;
    if (s->average || mask || remember || s->pad[0] || s->pad[1])
        return qf_fail(of, QF_E_UNSUPPORTED, "the toy takes maxima, forward, without padding");
    QF_TRY(qf_device_read(of, x, QF_PLAIN, &from));
    QF_TRY(qf_device_write(of, y, QF_PLAIN, &to));
    for (int image = 0; image < s->batch * s->channels; image++, from += s->in[0] * s->in[1])
        for (int h = 0; h < s->out[0]; h++)
            for (int w = 0; w < s->out[1]; w++, to++) {
                const float *first = from + h * s->stride[0] * s->in[1] + w * s->stride[1];
                *to = *first;
                for (int i = 0; i < s->kernel[0] * s->kernel[1]; i++) {
                    const float value = first[i / s->kernel[1] * s->in[1] + i % s->kernel[1]];
                    *to = value > *to ? value : *to;
                }
            }
    runs++;
    return QF_OK;
}

static const qf_pool_family pool = {.create = create, .destroy = destroy, .forward = forward};

static const qf_device toy = {
    .name = "toy", .description = "one family, for a test", .memory = &memory, .pool = &pool};

/* ---- the tests ---- */

static const char net_text[] =
    "input: 'x' input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }"
    "layer { name: 'double' type: 'Convolution' bottom: 'x' top: 'double' convolution_param {"
    "  num_output: 1 kernel_size: 1 bias_term: false"
    "  weight_filler { type: 'constant' value: 2 } } }"
    "layer { name: 'pool' type: 'Pooling' bottom: 'double' top: 'pool' pooling_param {"
    "  kernel_size: 2 stride: 2 } }";

static void test_families(void **state)
{
    (void)state;
    assert_true(qf_device_register(&toy));
    assert_false(qf_device_register(&toy)); /* the name is taken */
    assert_ok(context, qf_context_set_device(context, "toy"));
    assert_string_equal(qf_device_of(context)->name, "toy");
    assert_ptr_equal(qf_device_of(context)->pool, &pool);
    assert_ptr_equal(qf_device_of(context)->convolve, qf_cpu.convolve);
    assert_ptr_equal(qf_device_of(context)->reduce, qf_cpu.reduce);
}

static void test_layer(void **state)
{
    qf_net *net;
    const float *values;
    (void)state;
    assert_ok(context, test_net_of(context, net_text, QF_TEST, &net));
    TEST_FILL(net, "x", 1, 2, 3, 4, 8, 7, 6, 5, -1, -2, -3, -4, -8, -7, -6, -5);
    const int before = runs;
    assert_ok(context, qf_net_forward(net, NULL));
    assert_int_equal(runs, before + 1);
    assert_ok(context, qf_blob_data(qf_net_blob(net, "pool"), &values));
    assert_memory_equal(values, ((const float[]){16, 12, -2, -6}), 4 * sizeof(float));
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_layer),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
