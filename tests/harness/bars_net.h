/* A net that learns where a bar stands, and its data, for tests of whole runs of retraining; in the
 * working directory: train_lmdb, test_lmdb, more_lmdb, misled_lmdb (other labels) and unclear_lmdb
 * (many wrong ones), models that read them, float_iter_200.caffemodel. */
#ifndef QF_TESTS_BARS_NET_H
#define QF_TESTS_BARS_NET_H

#include "harness/harness.h"

enum { BARS_SIDE = 6, BARS_CLASSES = 4, BARS_ITEMS = 256, BARS_BATCH = 16, BARS_ITERATIONS = 60 };

#define BARS_DATA(phase, source, more)                                                             \
    "layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: " phase " } "     \
    "data_param { source: '" source "' backend: LMDB batch_size: 16 " more " } "                   \
    "transform_param { scale: 0.0078125 mean_value: 100 } } "
#define BARS_BODY                                                                                  \
    "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { "     \
    "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } } } "                           \
    "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } "                              \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip' inner_product_param { "      \
    "num_output: 4 weight_filler { type: 'xavier' } } } "                                          \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' } "     \
    "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { "      \
    "phase: TEST } } "

/* For cmocka_run_group_tests(), instead of test_start_in_folder(). */
int test_bars_start(void **state);
/* A database of `count` bars in noise; labels are those of the place `misled` further on, or, of so
 * many out of ten, any. */
void test_put_bars(const char *path, int count, uint64_t seed, int misled, uint32_t wrong);

/* Of a short run into q/m. */
qf_qat_options test_bars_options(const char *model);
/* By the same seed each time. */
qf_qat_result *test_bars_run(const qf_qat_options *options);
/* early_iter_20.caffemodel, with more to learn: a short run at `base_lr` that keeps an average. */
qf_qat_options test_bars_early(const char *model, float base_lr);
/* The run ends with this in its sentence. */
void test_bars_refuse(const qf_qat_options *options, const char *part);
/* Two files have the same bytes. */
void test_bars_expect_same(const char *first, const char *second);

#endif
