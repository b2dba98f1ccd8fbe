/* Layers of forks that have one or two nets each, compared with double arithmetic. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(phase, rest, ...)                                                                     \
    test_make_layer(context, phase, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

/* As DetectionOutput, and behind each row the place of its prior in a map of 2 × 3 cells with 2
 * anchors. */
static void places_of_detections(void **state)
{
    enum { PRIORS = 12 };
    static const char param[] = "detection_output_param { num_classes: 2 keep_top_k: 5 "
                                "confidence_threshold: 0.1 nms_param { nms_threshold: 0.4 } }";
    (void)state;
    char *plain = test_format("type: 'DetectionOutput' %s", param);
    char *extended = test_format("type: 'DetectionOutputExtended' %s", param);
    qf_net *nets[] = {MAKE(QF_TEST, plain, "2 2 3 8", "2 24", "1 2 48"),
                      MAKE(QF_TEST, extended, "2 2 3 8", "2 24", "1 2 48")};
    const float *tops[2];
    int places = 0;
    for (int n = 0; n < 2; n++) {
        float *priors;
        test_fill_anyhow(context, qf_net_blob(nets[n], "x0"), 5);
        test_fill_anyhow(context, qf_net_blob(nets[n], "x1"), 6);
        assert_ok(context, qf_blob_mutable_data(qf_net_blob(nets[n], "x2"), &priors));
        for (int i = 0; i < PRIORS; i++) {
            const float x = (float)(i / 2 % 3) / 3, y = (float)(i / 6) / 2, w = i % 2 ? 0.3f : 0.2f;
            memcpy(priors + 4 * i, (float[]){x, y, x + w, y + 0.4f}, 4 * sizeof(float));
            memcpy(priors + 4 * (PRIORS + i), (float[]){0.01f, 0.01f, 0.01f, 0.01f},
                   4 * sizeof(float));
        }
        test_forward(context, nets[n]);
        tops[n] = test_top(context, nets[n], 0);
    }
    const int rows = qf_blob_dimension(qf_net_blob(nets[0], "y0"), 2);
    assert_int_equal(qf_blob_dimension(qf_net_blob(nets[1], "y0"), 2), rows);
    assert_int_equal(qf_blob_dimension(qf_net_blob(nets[1], "y0"), 3), 10);
    assert_in_range(rows, 5, 10);
    for (int i = 0; i < rows; i++) { /* offsets are of a hundredth of a prior */
        const float *row = tops[1] + (size_t)(10 * i);
        assert_memory_equal(row, tops[0] + (size_t)(7 * i), 7 * sizeof(float));
        assert_float_equal(row[3], row[8] / 3, 0.03);
        assert_float_equal(row[4], row[9] / 2, 0.03);
        assert_float_equal(row[5] - row[3], row[7] == 1 ? 0.3f : 0.2f, 0.03);
        places |= 1 << (int)(row[7] + 2 * row[8] + 6 * row[9]);
    }
    assert_true(places & (places - 1)); /* more than one */
    test_fill(context, qf_net_blob(nets[1], "x1"), (float[48]){0}, 48);
    test_forward(context, nets[1]);
    TEST_EXPECT(nets[1], 0, "1 1 2 10 (20)", 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, -1, -1, -1,
                -1, -1, -1, -1, -1, -1);
    for (int n = 0; n < 2; n++)
        qf_net_destroy(nets[n]);
    qf_free(plain);
    qf_free(extended);
}

/* What is handed down, by a way of its own; the loss is the sum of its squares. */
static void check_segments(bool counted)
{
    enum { IMAGES = 2, CLASSES = 2, PLANE = 6 };
    static const float labels[IMAGES * CLASSES * PLANE] = {1, 0, 0, 1, 0.7f, 0, 0, 0, 0, 0, 0, 1,
                                                           0, 0, 0, 0, 0.2f, 0, 1, 1, 0, 1, 1, 1};
    static const float counts[IMAGES * CLASSES] = {2, 1, 0, 5};
    static const char rest[] = "type: 'YoloSeg' yolo_seg_param { object_scale: 0.5 }";
    qf_net *net = counted ? MAKE(QF_TRAIN, rest, "2 2 2 3", "2 2 2 3", "2 2")
                          : MAKE(QF_TRAIN, rest, "2 2 2 3", "2 2 2 3");
    double sum = 0;
    float *weight;
    const float *dx;
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 3);
    test_fill(context, qf_net_blob(net, "x1"), labels, IMAGES * CLASSES * PLANE);
    if (counted)
        test_fill(context, qf_net_blob(net, "x2"), counts, IMAGES * CLASSES);
    test_forward(context, net);
    qf_layer *layer = net->layers[net->layer_count - 1];
    layer->propagate_down[0] = true;
    assert_ok(context, qf_blob_mutable_diff(layer->top[0], &weight));
    *weight = 3;
    assert_ok(context, layer->type->backward(layer));
    assert_ok(context, qf_blob_diff(layer->bottom[0], &dx));
    const float *x = test_bottom(context, net, 0);
    for (int i = 0; i < IMAGES * CLASSES * PLANE; i++) {
        const int class = i / PLANE % CLASSES;
        const double mine = (double)(counts[class] + counts[CLASSES + class]);
        const double rare = counted && labels[i] > 0.5f ? 2 - mine / (2 * PLANE - mine) : 1;
        const double slope = 0.5 * rare * (1 / (1 + exp(-(double)x[i])) - (double)labels[i]);
        assert_float_equal(dx[i], 3 * slope / IMAGES, 1e-6);
        sum += slope * slope / IMAGES;
    }
    assert_float_equal(test_top(context, net, 0)[0], sum, 1e-5);
    qf_net_destroy(net);
}

static void segments(void **state)
{
    (void)state;
    check_segments(true);
    check_segments(false);
}

/* A mean of 0 and a variance of 1 stay; in TEST nothing changes. */
static void dropout_of_selu(void **state)
{
    enum { COUNT = 20000 };
    static const char rest[] = "type: 'SeLuDropout' selu_dropout_param { dropout_ratio: 0.2 }";
    float *x = qf_alloc(COUNT, sizeof *x);
    (void)state;
    qf_random random;
    qf_random_seed(&random, 7);
    for (int i = 0; i < COUNT; i++)
        x[i] = qf_random_gaussian(&random, 0, 1);
    for (int phase = 0; phase < 2; phase++) {
        qf_net *net = MAKE(phase ? QF_TRAIN : QF_TEST, rest, "20000");
        double sum = 0, squares = 0;
        int dropped = 0;
        qf_context_set_seed(context, 5);
        test_fill(context, qf_net_blob(net, "x0"), x, COUNT);
        test_forward(context, net);
        const float *y = test_top(context, net, 0);
        if (!phase) {
            assert_memory_equal(y, x, COUNT * sizeof *x);
        } else {
            const double a = 1 / sqrt(0.8 + 1.7580993408473766 * 1.7580993408473766 * 0.8 * 0.2);
            const double b = a * 0.2 * 1.7580993408473766;
            for (int i = 0; i < COUNT; i++) {
                const bool kept = fabs((double)y[i] - (a * (double)x[i] + b)) < 1e-5;
                if (!kept)
                    assert_float_equal(y[i], b - a * 1.7580993408473766, 1e-5);
                dropped += !kept;
                sum += (double)y[i];
                squares += (double)y[i] * (double)y[i];
            }
            assert_float_equal(dropped / (double)COUNT, 0.2, 0.02);
            assert_float_equal(sum / COUNT, 0, 0.05);
            assert_float_equal(squares / COUNT, 1, 0.05);
        }
        qf_net_destroy(net);
    }
    qf_free(x);
}

/* GRN, and NormFace's Normalize as its first nets wrote it; products along a last axis. */
static void read_as_others(void **state)
{
    static const char *const same[] = {
        "type: 'GRN' grn_param { bias: 0.000001 }", "type: 'Normalize' normalize_param { }",
        "type: 'Normalize' normalize_param { bp_norm: true }",
        "type: 'Normalize' normalize_param { } softmax_param { normalize_type: 'L2' }"};
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        qf_net *net = MAKE(QF_TEST, same[i], "2 3 2 2");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 4);
        test_forward(context, net);
        const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
        for (int n = 0; n < 2; n++)
            for (int p = 0; p < 4; p++) {
                double sum = 1e-6;
                for (int c = 0; c < 3; c++)
                    sum += pow((double)x[(n * 3 + c) * 4 + p], 2);
                for (int c = 0; c < 3; c++)
                    assert_float_equal(y[(n * 3 + c) * 4 + p],
                                       (double)x[(n * 3 + c) * 4 + p] / sqrt(sum), 1e-6);
            }
        qf_net_destroy(net);
    }
    qf_net *net = MAKE(QF_TEST,
                       "type: 'InnerProduct' inner_product_param { axis: 3 bias_term: "
                       "false num_output: 2 }",
                       "1 1 2 3", "2 3");
    TEST_FILL(net, "x0", 1, 2, 3, 4, 5, 6);
    TEST_FILL(net, "x1", 1, 0, 1, 0, 2, 0);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 2 2 (4)", 4, 4, 10, 10);
    qf_net_destroy(net);
}

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'DetectionOutputExtended' detection_output_param { num_classes: 3 }",
         {"1 1 1 8", "1 6", "1 2 8"},
         "needs num_classes 2"},
        {"type: 'DetectionOutputExtended' detection_output_param { num_classes: 2 }",
         {"1 8", "1 4", "1 2 8"},
         "must be of 4 axes"},
        {"type: 'YoloSeg'", {"2 2 2 3", "2 2 2 2"}, "expected a label for each score"},
        {"type: 'YoloSeg'", {"2 2 2 3", "2 2 2 3", "2 3"}, "a number for each class"},
        {"type: 'YoloSeg' yolo_seg_param { use_hardsigmoid: true }",
         {"2 2 2 3", "2 2 2 3"},
         "use_hardsigmoid false"},
        {"type: 'SeLuDropout' selu_dropout_param { dropout_ratio: 1 }",
         {"2 3"},
         "dropout_ratio is 1, expected"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
    qf_net *net;
    assert_fails(context,
                 test_net_of(context,
                             "layer { name: 'v' type: 'VideoData' top: 'x' video_data_param { "
                             "video_type: VIDEO video_file: 'a.avi' } }",
                             QF_TEST, &net),
                 "VideoData reads the video a.avi");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_of_detections),
        cmocka_unit_test(segments),
        cmocka_unit_test(dropout_of_selu),
        cmocka_unit_test(read_as_others),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
