/* qf_calibrate() and `qaffe ptq calibrate`: from made digits to models that agree, and what the
 * record is where calibration cannot go on. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "net/net.h"

#include <math.h>
#include <string.h>

enum { BATCH = 20, BATCHES = 3, IMAGE = 28 * 28 };

#define NET(data)                                                                                  \
    "name: 'small' " data                                                                          \
    "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { "           \
    "num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: 'msra' } } } "                   \
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } "                                       \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'c' top: 'ip' inner_product_param { "         \
    "num_output: 10 weight_filler { type: 'xavier' } } } "
#define DIGITS                                                                                     \
    "layer { name: 'd' type: 'Data' top: 'data' top: 'label' transform_param { scale: 0.004 } "    \
    "data_param { source: 'test_lmdb' batch_size: 20 backend: LMDB } } "                           \
    "layer { name: 's' type: 'Silence' bottom: 'label' } "
#define INPUT                                                                                      \
    "layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 20 dim: 1 dim: 28 "   \
    "dim: 28 } } } "

static void write_raw(const char *path, float from)
{
    static float values[BATCH * IMAGE];
    for (int i = 0; i < BATCH * IMAGE; i++)
        values[i] = from + (float)(i % 97) / 97;
    assert_ok(context, qf_file_write(context, path, values, sizeof values, 0644));
}

/* Calibration models with digits of their own and with an Input, of BATCHES batches. */
static int set_up(void **state)
{
    qf_net *net;
    qf_quant_graph *graph;
    qf_quant_options options = {.size = sizeof options};
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 10, BATCH * 10, 1));
    test_write_text(context, "own.prototxt", NET(DIGITS));
    test_write_text(context, "input.prototxt", NET(INPUT));
    assert_ok(context, qf_net_create(context, "own.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "w.caffemodel"));
    qf_net_destroy(net);
    qf_quant_set_defaults(&options);
    options.batch_num = BATCHES;
    for (int i = 0; i < 2; i++) {
        const char *model = i ? "input.prototxt" : "own.prototxt";
        const char *record = i ? "input.txt" : "own.txt";
        assert_ok(context,
                  qf_create_quant_config(context, "config.json", model, "w.caffemodel", &options));
        assert_ok(context,
                  qf_quant_init(context, "config.json", model, "w.caffemodel", record, &graph));
        assert_ok(context,
                  qf_quantize_model(context, graph, i ? "input_cal.prototxt" : "own_cal.prototxt",
                                    "cal.caffemodel"));
        qf_quant_graph_destroy(graph);
    }
    for (int i = 0; i < BATCHES; i++) {
        char *path = test_format("raw/%d.bin", i), *bad = test_format("bad/%d.bin", i);
        write_raw(path, (float)i);
        write_raw(bad, i == BATCHES - 1 ? NAN : (float)i);
        qf_free(path);
        qf_free(bad);
    }
    write_raw("few/0.bin", 0);
    return 0;
}

static char *read_text(const char *path)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, path, &file));
    char *text = test_format("%s", qf_buffer_text(&file));
    qf_buffer_release(&file);
    return text;
}

static qf_data_options data_of(const char *source)
{
    qf_data_options data = {.size = sizeof data};
    qf_data_set_defaults(&data);
    data.source = source;
    return data;
}

/* Fails with `status` and a sentence that has `words`, and leaves the record as it was. */
static void is_refused(const char *model, const char *source, int batches, qf_status status,
                       const char *words)
{
    const qf_data_options data = data_of(source);
    char *before = read_text("input.txt");
    const qf_status got =
        qf_calibrate(context, model, "cal.caffemodel", &data, batches, NULL, NULL, NULL);
    if (got != status || !strstr(qf_error_text(context), words))
        fail_msg("%s with %s: %d, %s", model, source, (int)got, qf_error_text(context));
    char *after = read_text("input.txt");
    assert_string_equal(after, before);
    qf_free(before);
    qf_free(after);
}

static void what_cannot_be_calibrated(void **state)
{
    (void)state;
    is_refused("input_cal.prototxt", "raw", 2, QF_E_ARGUMENT,
               "calibration needs 3 batches, 1 more than the 2 asked for");
    is_refused("input_cal.prototxt", "raw", -1, QF_E_ARGUMENT, "batches is -1");
    is_refused("input_cal.prototxt", "few", 0, QF_E_MISMATCH,
               "Total batches found: 1, but trying to load: 3.");
    is_refused("input_cal.prototxt", "bad", 0, QF_E_VALUE, "blob 'data'");
    is_refused("input_cal.prototxt", NULL, 0, QF_E_ARGUMENT, "name some with --data");
    is_refused("input.prototxt", "raw", 0, QF_E_MISMATCH,
               "give the model that `qaffe ptq prepare`");
}

typedef struct watch {
    int calls, last, total, asked;
} watch;

static void see(void *user, const qf_progress *now)
{
    watch *w = user;
    w->calls++;
    w->last = now->iteration;
    w->total = now->total;
    assert_true(now->testing);
    assert_string_equal(now->what, "calibrating");
}

static qf_action stop_at_once(void *user)
{
    ((watch *)user)->asked++;
    return QF_STOP;
}

static void it_can_be_stopped_and_begun_again(void **state)
{
    (void)state;
    watch w = {0};
    const qf_data_options data = data_of("raw");
    assert_int_equal(qf_calibrate(context, "input_cal.prototxt", "cal.caffemodel", &data, 0,
                                  stop_at_once, see, &w),
                     QF_E_STOPPED);
    assert_string_equal(qf_error_text(context), "stopped after 1 of 3 batches of calibration");
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.asked, 1);
    assert_false(test_file_has(context, "input.txt", "scale_d"));
    assert_ok(context, qf_calibrate(context, "input_cal.prototxt", "cal.caffemodel", &data, 0, NULL,
                                    see, &w));
    assert_int_equal(w.last, BATCHES);
    assert_int_equal(w.total, BATCHES);
    assert_true(test_file_has(context, "input.txt", "scale_d"));
    assert_true(test_file_has(context, "input.txt", "shift_bit"));
}

/* As a user would, on the model's own digits. */
static void the_commands_go_all_the_way(void **state)
{
    (void)state;
    test_command(0, "", "",
                 "ptq config --model own.prototxt --weights w.caffemodel --out c.json --batch-num "
                 "2");
    test_command(0, "qaffe ptq calibrate", "",
                 "ptq prepare --model own.prototxt --weights w.caffemodel --config c.json "
                 "--out-model m.prototxt --out-weights m.caffemodel --record r.txt");
    test_command(1, "1 more than the 1 asked for", "",
                 "ptq calibrate --model m.prototxt --weights m.caffemodel --batches 1");
    assert_false(test_file_has(context, "r.txt", "scale_d"));
    test_command(0, "Next: qaffe ptq export", "",
                 "ptq calibrate --model m.prototxt --weights m.caffemodel");
    test_command(0, "", "",
                 "ptq export --model own.prototxt --weights w.caffemodel --config c.json --record "
                 "r.txt --out out/m");
    test_command(0, "0 differ", "", "verify --model out/m --iterations 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_calibrated),
        cmocka_unit_test(it_can_be_stopped_and_begun_again),
        cmocka_unit_test(the_commands_go_all_the_way),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
