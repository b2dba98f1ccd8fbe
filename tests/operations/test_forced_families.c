/* QAFFE_FORCE=FAMILY:reference: one family after the other is the reference's in a step of training
 * that uses all of them, beside the host's others, and the step stays what it was. */
#include "device/reference/reference.h"
#include "harness/fixture.h"
#include "harness/training_run.h"

#include <stdlib.h>
#include <string.h>

#define CONVOLUTION(name, bottom, more)                                                            \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name "' " more      \
    " convolution_param { num_output: 24 kernel_size: 3 pad: 1 bias_term: false "                  \
    "weight_filler { type: 'msra' } } }\n"                                                         \
    "layer { name: '" name "_bn' type: 'BatchNorm' bottom: '" name "' top: '" name "' }\n"         \
    "layer { name: '" name "_scale' type: 'Scale' bottom: '" name "' top: '" name                  \
    "' scale_param { bias_term: true } }\n"                                                        \
    "layer { name: '" name "_relu' type: 'ReLU' bottom: '" name "' top: '" name "' }\n"
#define SOURCE                                                                                     \
    "layer { name: 'in' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"             \
    "  shape { dim: 3 dim: 5 dim: 11 dim: 9 } shape { dim: 3 } data_filler { type: 'gaussian' } "  \
    "  data_filler { type: 'constant' value: 1 } } }\n"
#define QUANTISED                                                                                  \
    "layer { name: 'lrn' type: 'LRN' bottom: 'a' top: 'lrn' }\n"                                   \
    "layer { name: 'max' type: 'Pooling' bottom: 'lrn' top: 'max' pooling_param {"                 \
    "  kernel_size: 2 stride: 2 } }\n"                                                             \
    "layer { name: 'b_q' type: 'ActivationQAT' bottom: 'max' top: 'b_q' "                          \
    "param { lr_mult: 1 } param { lr_mult: 1 } "                                                   \
    "retrain_data_quant_param { clip_max: 1.5 clip_min: -0.5 ifmr_init: false } }\n"               \
    "layer { name: 'b_w' type: 'WeightQAT' bottom: 'b_q' top: 'b_w' "                              \
    "param { name: 'b_codes' lr_mult: 1 decay_mult: 0 } param { name: 'b_master' } "               \
    "retrain_weight_quant_param { cout: 24 cin: 24 h: 3 w: 3 channel_wise: true } }\n"
#define HEAD                                                                                       \
    "layer { name: 'sum' type: 'Eltwise' bottom: 'max' bottom: 'b' top: 'sum' }\n"                 \
    "layer { name: 'ave' type: 'Pooling' bottom: 'sum' top: 'ave' pooling_param {"                 \
    "  pool: AVE kernel_size: 3 stride: 2 } }\n"                                                   \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'ave' top: 'ip' inner_product_param {"        \
    "  num_output: 4 weight_filler { type: 'xavier' } } }\n"                                       \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n"

static const char net_text[] = SOURCE CONVOLUTION("a", "data", "")
    QUANTISED CONVOLUTION("b", "b_w", "param { name: 'b_codes' lr_mult: 1 decay_mult: 0 }") HEAD;

/* Of all families only this one is the reference's. */
static void assert_forced(const qf_device *device, const char *family)
{
#define EXPECT(name)                                                                               \
    if ((device->name == &qf_reference_##name) != (strcmp(#name, family) == 0))                    \
        fail_msg("with %s forced, the family %s is not the one expected", family, #name);
    QF_FAMILIES(EXPECT)
#undef EXPECT
}

static void force(const char *family)
{
    char *list = test_format("%s:reference", family);
    setenv("QAFFE_FORCE", list, 1);
    qf_free(list);
}

static void gradients_stay(void **state)
{
    const char *family = *state;
    test_run host, forced;
    test_run_open(&host, net_text, true, false);
    test_run_step(&host);
    force(family);
    test_run_open(&forced, net_text, true, false);
    assert_forced(qf_device_of(forced.context), family);
    test_run_step(&forced);
    test_run_same_gradients(&host, &forced, 1e-3, 1e-2);
    test_run_close(&forced);
    test_run_close(&host);
}

/* Where the device has a memory of its own, the host's families reach its tensors with qf_read(),
 * the reference's would reach into that memory. */
static void devices_keep_their_families(void **state)
{
    static qf_device bare = {.name = "bare", .description = "memory only, for a test"};
    qf_context *own;
    (void)state;
    bare.memory = qf_paranoid.memory;
    assert_true(qf_device_register(&bare));
    setenv("QAFFE_FORCE", "pool:reference", 1);
    assert_int_equal(qf_context_create(&own), QF_OK);
    assert_ok(own, qf_context_set_device(own, "bare"));
    assert_ptr_equal(qf_device_of(own)->pool, qf_cpu.pool);
    qf_context_destroy(own);
}

static int stop_forcing(void **state)
{
    (void)state;
    unsetenv("QAFFE_FORCE");
    return 0;
}

int main(void)
{
#define TEST(family) {#family, gradients_stay, NULL, stop_forcing, #family},
    const struct CMUnitTest tests[] = {
        QF_FAMILIES(TEST) cmocka_unit_test_teardown(devices_keep_their_families, stop_forcing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
