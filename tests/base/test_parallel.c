/* Threads are woken only where the work repays it: not at all in nets as small as these, and they
 * are where the same nets are large. */
#include "harness/harness.h"
#include "train/solver.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

static atomic_int shared; /* regions of more than one thread */

/* GNU OpenMP's, for a region, oneDNN's too; 1 thread where a condition says so. */
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags)
{
    static void (*original)(void (*)(void *), void *, unsigned, unsigned);
    if (!original)
        *(void **)&original = dlsym(RTLD_NEXT, "GOMP_parallel");
    shared += threads != 1;
    original(body, data, threads, flags);
}

/* What stands between data and loss; the data have `size` rows and columns. */
static const char *const middles[] = {
    "layer { name: 'a' type: 'Convolution' bottom: 'data' top: 'a' convolution_param {"
    "  num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } }"
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'a' top: 'a' }"
    "layer { name: 'scale' type: 'Scale' bottom: 'a' top: 'a' scale_param { bias_term: true } }"
    "layer { name: 'relu' type: 'ReLU' bottom: 'a' top: 'a' }"
    "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param {"
    "  num_output: 4 kernel_size: 1 weight_filler { type: 'msra' } } }"
    "layer { name: 'sum' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'out' }",
    "layer { name: 'pool' type: 'Pooling' bottom: 'data' top: 'pool' pooling_param {"
    "  pool: MAX kernel_size: 3 stride: 1 pad: 1 } }"
    "layer { name: 'mean' type: 'Pooling' bottom: 'pool' top: 'mean' pooling_param {"
    "  pool: AVE kernel_size: 3 stride: 1 pad: 1 } }"
    "layer { name: 'product' type: 'Eltwise' bottom: 'pool' bottom: 'mean' top: 'out'"
    "  eltwise_param { operation: PROD } }",
    "layer { name: 'prelu' type: 'PReLU' bottom: 'data' top: 'prelu' }"
    "layer { name: 'lrn' type: 'LRN' bottom: 'prelu' top: 'lrn' }"
    "layer { name: 'within' type: 'LRN' bottom: 'lrn' top: 'within' lrn_param {"
    "  norm_region: WITHIN_CHANNEL local_size: 3 } }"
    "layer { name: 'norm' type: 'Normalize' bottom: 'within' top: 'norm' }"
    "layer { name: 'mvn' type: 'MVN' bottom: 'norm' top: 'out' }",
    "layer { name: 'shuffle' type: 'ShuffleChannel' bottom: 'data' top: 'shuffle'"
    "  shuffle_channel_param { group: 2 } }"
    "layer { name: 'crelu' type: 'CReLU' bottom: 'shuffle' top: 'crelu' }"
    "layer { name: 'large' type: 'Interp' bottom: 'crelu' top: 'large' interp_param {"
    "  zoom_factor: 2 } }"
    "layer { name: 'tanh' type: 'TanH' bottom: 'large' top: 'out' }",
};

/* Regions that threads shared in an iteration; the first one sets up. */
static int count_regions(const char *middle, int size)
{
    char *folder = test_make_directory();
    char *net = test_format(
        "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"
        "  shape { dim: 2 dim: 4 dim: %d dim: %d } shape { dim: 2 }"
        "  data_filler { type: 'constant' value: 0.5 } data_filler { type: 'constant' } } } %s"
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'out' top: 'ip' inner_product_param {"
        "  num_output: 3 weight_filler { type: 'xavier' } } }"
        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }",
        size, size, middle);
    char *net_path = test_format("%s/net.prototxt", folder);
    char *solver_path = test_format("%s/solver.prototxt", folder);
    char *settings = test_format("net: '%s' base_lr: 0.001 lr_policy: 'fixed' momentum: 0.9 "
                                 "clip_gradients: 1 max_iter: 2 snapshot_after_train: false",
                                 net_path);
    qf_context *context = test_context();
    qf_solver *solver;
    qf_context_set_threads(context, 2);
    assert_ok(context, qf_file_write(context, net_path, net, strlen(net), 0644));
    assert_ok(context, qf_file_write(context, solver_path, settings, strlen(settings), 0644));
    assert_ok(context, qf_solver_create(context, solver_path, &solver));
    assert_ok(context, qf_solver_step(solver, 1));
    shared = 0;
    assert_ok(context, qf_solver_step(solver, 1));
    const int regions = shared;
    qf_solver_destroy(solver);
    qf_context_destroy(context);
    qf_free(settings);
    qf_free(solver_path);
    qf_free(net_path);
    qf_free(net);
    test_remove_directory(folder);
    qf_free(folder);
    return regions;
}

static void threads_share_only_what_is_large(void **state)
{
    (void)state;
    test_needs_the_host();
#ifdef __clang__ /* whose OpenMP has another entry */
    skip();
#endif
    for (size_t i = 0; i < sizeof middles / sizeof *middles; i++) {
        assert_int_equal(count_regions(middles[i], 8), 0);
        assert_true(count_regions(middles[i], 96) > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_only_what_is_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
