/* The net of bars and what its tests do with it. */
#include "harness/bars_net.h"

#include "data/stores/sample_store.h"
#include "harness/command.h"
#include "harness/fixture.h"

#include <stdio.h>
#include <string.h>

/* A bar in one of four places and noise; its label, or that of the place `misled` further on, or,
 * of so many out of ten, any. */
void test_put_bars(const char *path, int count, uint64_t seed, int misled, uint32_t wrong)
{
    qf_sample_writer *writer;
    qf_random random;
    qf_random_seed(&random, seed);
    assert_ok(context, qf_sample_writer_create(context, path, QF_STORE_LMDB, &writer));
    for (int i = 0; i < count; i++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        uint8_t pixels[BARS_SIDE * BARS_SIDE];
        char key[16];
        const int label = i % BARS_CLASSES;
        for (int k = 0; k < BARS_SIDE * BARS_SIDE; k++)
            pixels[k] = (uint8_t)(qf_random_below(&random, 120) +
                                  (k % BARS_SIDE == label || k / BARS_SIDE == label ? 90 : 0));
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = 1;
        datum.height = datum.width = BARS_SIDE;
        datum.label = qf_random_below(&random, 10) < wrong
                          ? (int)qf_random_below(&random, BARS_CLASSES)
                          : (label + misled) % BARS_CLASSES;
        datum.data.data = pixels;
        datum.data.len = sizeof pixels;
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

int test_bars_start(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    test_put_bars("train_lmdb", BARS_ITEMS, 1, 0, 0);
    test_put_bars("misled_lmdb", BARS_ITEMS, 2, 1, 0);
    test_put_bars("test_lmdb", 100, 3, 0, 0);
    test_put_bars("more_lmdb", 90, 4, 0, 0);
    test_put_bars("unclear_lmdb", BARS_ITEMS, 5, 1, 4);
    test_write_text(context, "net.prototxt",
                    BARS_DATA("TRAIN", "train_lmdb", "shuffle: true")
                        BARS_DATA("TEST", "test_lmdb", "") BARS_BODY);
    test_write_text(context, "misled.prototxt",
                    BARS_DATA("TRAIN", "misled_lmdb", "") BARS_DATA("TEST", "test_lmdb", "")
                        BARS_BODY);
    test_write_text(context, "unclear.prototxt",
                    BARS_DATA("TRAIN", "unclear_lmdb", "shuffle: true")
                        BARS_DATA("TEST", "test_lmdb", "") BARS_BODY);
    test_write_text(
        context, "both.prototxt",
        "layer { name: 'data' type: 'Data' top: 'data' top: 'label' data_param { source: "
        "'train_lmdb' backend: LMDB batch_size: 16 } transform_param { scale: 0.0078125 "
        "mean_value: 100 } } " BARS_BODY);
    test_write_text(
        context, "solver.prototxt",
        "net: 'net.prototxt' base_lr: 0.05 momentum: 0.9 lr_policy: 'fixed' max_iter: 200 "
        "test_iter: 4 test_interval: 200 test_initialization: false snapshot_prefix: "
        "'float' random_seed: 1");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    return 0;
}

qf_qat_options test_bars_options(const char *model)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_set_defaults(&o);
    o.model = model;
    o.weights = "float_iter_200.caffemodel";
    o.save_path = "q/m";
    o.iterations = BARS_ITERATIONS;
    o.base_lr = 0.01;
    o.distil = QF_DISTIL_OFF; /* labels alone teach */
    return o;
}

qf_qat_options test_bars_early(const char *model, float base_lr)
{
    test_write_text(
        context, "early.prototxt",
        "net: 'net.prototxt' base_lr: 0.05 momentum: 0.9 lr_policy: 'fixed' max_iter: 20 "
        "test_iter: 1 test_interval: 200 test_initialization: false snapshot_prefix: 'early' "
        "random_seed: 1");
    test_command(0, "Optimization Done.", "", "train --solver early.prototxt");
    qf_qat_options o = test_bars_options(model);
    o.weights = "early_iter_20.caffemodel";
    o.validation_data = "more_lmdb";
    o.base_lr = base_lr;
    return o;
}

qf_qat_result *test_bars_run(const qf_qat_options *o)
{
    qf_qat_result *result;
    qf_context_set_seed(context, 5);
    assert_ok(context, qf_qat_run(context, o, NULL, NULL, NULL, &result));
    return result;
}

void test_bars_expect_same(const char *first, const char *second)
{
    qf_buffer a = {0}, b = {0};
    assert_ok(context, qf_file_read(context, first, &a));
    assert_ok(context, qf_file_read(context, second, &b));
    if (a.size != b.size || memcmp(a.data, b.data, a.size) != 0)
        fail_msg("%s and %s differ", first, second);
    qf_buffer_release(&a);
    qf_buffer_release(&b);
}

/* What calibration alone makes of the model, of all training data. */
void test_bars_refuse(const qf_qat_options *o, const char *part)
{
    qf_qat_result *result;
    assert_fails(context, qf_qat_run(context, o, NULL, NULL, NULL, &result), part);
    qf_qat_result_destroy(result);
}
