/* Average precision against the words of VOC's development kits, in cases counted by hand and with
 * a second implementation that follows them literally; DetectionEvaluate's judgement of boxes; and
 * both in the solver's test and in `test`. */
#include "data/sources/data_source.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "train/average_precision.h"
#include "train/solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- curves ---- */

/* "+-+": the best detection is right, the next wrong … */
static double value_of(const char *judgements, size_t objects, qf_ap_version version)
{
    qf_detection_score scores[64];
    const size_t count = strlen(judgements);
    for (size_t i = 0; i < count; i++) /* the order is the function's business */
        scores[count - 1 - i] =
            (qf_detection_score){1 - (float)i / 100, (int)i, judgements[i] == '+'};
    return qf_average_precision(scores, count, objects, version);
}

static void by_hand(void **state)
{
    (void)state;
    static const struct {
        const char *judgements;
        size_t objects;
        double integral, max_integral, eleven;
    } cases[] = {
        {"+", 1, 1, 1, 1},
        {"-", 1, 0, 0, 0},
        {"", 3, 0, 0, 0},
        {"++", 2, 1, 1, 1},
        /* Recall 1/2 with precision 1, then 1 with 2/3: 6 points (0 … 0.5) of 1, 5 of 2/3. */
        {"+-+", 2, (1 + 2. / 3) / 2, (1 + 2. / 3) / 2, (6 + 5 * 2. / 3) / 11},
        /* Precision 1/2 at recall 1/3, 2/3 at 2/3, 3/4 at 1: from there on 3/4 is the best. */
        {"-+++", 3, (0.5 + 2. / 3 + 0.75) / 3, 0.75, 0.75},
        /* Recall ends at 2/10: points 0, 0.1 and 0.2. */
        {"++--", 10, 0.2, 0.2, 3. / 11},
        {"-+", 10, 0.05, 0.05, 2 * 0.5 / 11},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_float_equal(value_of(cases[i].judgements, cases[i].objects, QF_AP_INTEGRAL),
                           cases[i].integral, 1e-12);
        assert_float_equal(value_of(cases[i].judgements, cases[i].objects, QF_AP_MAX_INTEGRAL),
                           cases[i].max_integral, 1e-12);
        assert_float_equal(value_of(cases[i].judgements, cases[i].objects, QF_AP_11_POINT),
                           cases[i].eleven, 1e-12);
    }
    assert_float_equal(value_of("++", 0, QF_AP_11_POINT), 0, 0);
}

/* VOCap.m and VOCevaldet.m of 2010 and of 2007: vectors of recall and precision with a sentinel at
 * either end, made monotonous from behind; for each tenth the largest precision at or beyond it. */
static double kit(const char *judgements, size_t objects, qf_ap_version version)
{
    double recall[66] = {0}, precision[66] = {0}, sum = 0;
    const size_t count = strlen(judgements);
    size_t right = 0;
    for (size_t i = 0; i < count; i++) {
        right += judgements[i] == '+';
        recall[i + 1] = (double)right / (double)objects;
        precision[i + 1] = (double)right / (double)(i + 1);
    }
    if (version == QF_AP_11_POINT) {
        for (int t = 0; t <= 10; t++) {
            double best = 0;
            for (size_t i = 1; i <= count; i++)
                if (recall[i] >= t / 10. - 1e-9)
                    best = fmax(best, precision[i]);
            sum += best / 11;
        }
        return sum;
    }
    recall[count + 1] = 1;
    for (size_t i = count + 1; i-- > 0 && version == QF_AP_MAX_INTEGRAL;)
        precision[i] = fmax(precision[i], precision[i + 1]);
    for (size_t i = 1; i <= count + 1; i++)
        if (recall[i] != recall[i - 1])
            sum += (recall[i] - recall[i - 1]) * precision[i];
    return sum;
}

static void as_the_kits_do(void **state)
{
    (void)state;
    qf_random random;
    qf_random_seed(&random, 11);
    for (int round = 0; round < 3000; round++) {
        char judgements[64] = "";
        const uint32_t count = qf_random_below(&random, 60);
        size_t right = 0;
        for (uint32_t i = 0; i < count; i++) {
            judgements[i] = qf_random_below(&random, 3) ? '-' : '+';
            right += judgements[i] == '+';
        }
        const size_t objects = right + 1 + qf_random_below(&random, 5);
        for (int version = QF_AP_INTEGRAL; version <= QF_AP_11_POINT; version++)
            assert_float_equal(value_of(judgements, objects, (qf_ap_version)version),
                               kit(judgements, objects, (qf_ap_version)version), 1e-12);
    }
}

static void versions(void **state)
{
    (void)state;
    qf_ap_version version;
    assert_ok(context, qf_ap_version_find(context, "11point", &version));
    assert_int_equal(version, QF_AP_11_POINT);
    assert_fails(context, qf_ap_version_find(context, "12point", &version),
                 "ap_version is '12point', expected 11point, MaxIntegral or Integral");
    assert_fails(context, qf_context_set_ap_version(context, ""), "ap_version is ''");
}

/* ---- judging boxes ---- */

#define EVALUATE(param)                                                                            \
    "type: 'DetectionEvaluate' detection_evaluate_param { num_classes: 3 background_label_id: 0 "  \
    "overlap_threshold: 0.5 " param "}"

static qf_net *evaluate(const char *param, const char *detections, const char *objects)
{
    return test_make_layer(context, QF_TEST, (const char *const[]){detections, objects, NULL},
                           param, 1);
}

static void fill_case(qf_net *net)
{
    /* Image 0: an object of class 1, found twice; a difficult one, found; one of class 2, missed.
     * Image 1: class 2, found with half an overlap; class 1 detected where there is none. */
    TEST_FILL(net, "x0", 0, 1, 0.6f, 0.1f, 0.1f, 0.3f, 0.3f, /* second best: found already */
              0, 1, 0.9f, 0.1f, 0.1f, 0.3f, 0.31f,           /* the best */
              0, 1, 0.8f, 0.6f, 0.6f, 0.9f, 0.9f,            /* the difficult one */
              1, 2, 0.7f, 0.0f, 0.0f, 0.5f, 1.0f,            /* exactly one half: is enough */
              1, 1, 0.5f, 0.2f, 0.2f, 0.3f, 0.3f,            /* nothing there */
              1, -1, -1, -1, -1, -1, -1);
    TEST_FILL(net, "x1", 0, 1, 0, 0.1f, 0.1f, 0.3f, 0.3f,
              0,                                  /* item, label, instance, box, difficult */
              0, 1, 1, 0.6f, 0.6f, 0.9f, 0.9f, 1, /* difficult */
              0, 2, 0, 0.5f, 0.0f, 0.7f, 0.2f, 0, /* missed */
              1, 2, 0, 0.0f, 0.0f, 1.0f, 1.0f, 0);
    test_forward(context, net);
}

static void detections_are_judged(void **state)
{
    (void)state;
    qf_net *net = evaluate(EVALUATE("evaluate_difficult_gt: false "), "1 1 6 7", "1 1 4 8");
    fill_case(net);
    TEST_EXPECT(net, 0, "1 1 7 5 (35)", -1, 1, 1, -1, -1, -1, 2, 2, -1, -1, 0, 1, 0.9f, 1, 0, 0, 1,
                0.8f, 0, 0, 0, 1, 0.6f, 0, 1, 1, 1, 0.5f, 0, 1, 1, 2, 0.7f, 1, 0);
    qf_net_destroy(net);
    net = evaluate(EVALUATE(""), "1 1 6 7", "1 1 4 8");
    fill_case(net);
    TEST_EXPECT(net, 0, "1 1 7 5 (35)", -1, 1, 2, -1, -1, -1, 2, 2, -1, -1, 0, 1, 0.9f, 1, 0, 0, 1,
                0.8f, 1, 0, 0, 1, 0.6f, 0, 1, 1, 1, 0.5f, 0, 1, 1, 2, 0.7f, 1, 0);
    qf_net_destroy(net);
    /* Nothing on the images, and nothing found. */
    net = evaluate(EVALUATE(""), "1 1 1 7", "1 1 1 8");
    TEST_FILL(net, "x0", 0, -1, -1, -1, -1, -1, -1);
    TEST_FILL(net, "x1", -1, -1, -1, -1, -1, -1, -1, -1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 2 5 (10)", -1, 1, 0, -1, -1, -1, 2, 0, -1, -1);
    qf_net_destroy(net);
}

/* In pixels a box of one pixel more is larger: 2 x 2 of 10 pixels are 9 (3 x 3), and two of them
 * that share 2 x 3 overlap by 6/12, as shares by 2/6. Sizes go on with the images, and start again.
 */
static void sizes_count_in_pixels(void **state)
{
    (void)state;
    static const char sizes[] = "a 10 10\nb 1000 1000\nc 10 10\n";
    assert_ok(context, qf_file_write(context, "sizes.txt", sizes, strlen(sizes), 0644));
    qf_net *net = evaluate(EVALUATE("name_size_file: 'sizes.txt' "), "1 1 2 7", "1 1 2 8");
    qf_layer *layer = net->layers[net->layer_count - 1];
    TEST_FILL(net, "x0", 0, 1, 0.9f, 0.1f, 0.1f, 0.3f, 0.3f, 1, 1, 0.8f, 0.1f, 0.1f, 0.3f, 0.3f);
    TEST_FILL(net, "x1", 0, 1, 0, 0.2f, 0.1f, 0.4f, 0.3f, 0, 1, 1, 0, 0.2f, 0.1f, 0.4f, 0.3f, 0);
    test_forward(context, net);
    /* Images a and b: right, wrong (of 1000 pixels the one more is nothing). */
    TEST_EXPECT(net, 0, "1 1 4 5 (20)", -1, 1, 2, -1, -1, -1, 2, 0, -1, -1, 0, 1, 0.9f, 1, 0, 1, 1,
                0.8f, 0, 1);
    qf_data_state stands = {0};
    layer->type->data_state(layer, &stands);
    assert_int_equal(stands.position, 2);
    test_forward(context, net); /* c and a: both right */
    assert_float_equal(test_top(context, net, 0)[13], 1, 0);
    assert_float_equal(test_top(context, net, 0)[18], 1, 0);
    stands.position = 0;
    assert_ok(context, layer->type->data_restore(layer, &stands));
    test_forward(context, net); /* a and b again */
    assert_float_equal(test_top(context, net, 0)[18], 0, 0);
    qf_net_destroy(net);
}

static void refused(void **state)
{
    (void)state;
    static const test_refusal rows[] = {
        {"type: 'DetectionEvaluate'", {"1 1 2 7", "1 1 2 8"}, "needs num_classes"},
        {"type: 'DetectionEvaluate' detection_evaluate_param { num_classes: 3 overlap_threshold: 0 "
         "}",
         {"1 1 2 7", "1 1 2 8"},
         "must be above 0"},
        {EVALUATE("resize_param { } "), {"1 1 2 7", "1 1 2 8"}, "resize_param: height is 0"},
        {EVALUATE(""), {"1 1 2 6", "1 1 2 8"}, "expected 1 x 1 x rows x 7, as DetectionOutput"},
        {EVALUATE(""), {"1 1 2 7", "1 2 8"}, "expected 1 x 1 x rows x 8, as AnnotatedData"},
        {EVALUATE("name_size_file: 'bad.txt' "),
         {"1 1 2 7", "1 1 2 8"},
         "bad.txt:2: expected a name"},
    };
    static const char bad[] = "a 10 10\nb 10 -1\n";
    assert_ok(context, qf_file_write(context, "bad.txt", bad, strlen(bad), 0644));
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
    /* A net can be looked at without the file, but not run. */
    qf_net *net = evaluate(EVALUATE("name_size_file: 'nowhere' "), "1 1 1 7", "1 1 1 8");
    assert_fails(context, qf_net_forward(net, NULL), "nowhere");
    qf_net_destroy(net);
    net = evaluate(EVALUATE(""), "1 1 1 7", "1 1 1 8");
    TEST_FILL(net, "x0", 0, 0, 0.5f, 0, 0, 1, 1);
    TEST_FILL(net, "x1", -1, -1, -1, -1, -1, -1, -1, -1);
    assert_fails(context, qf_net_forward(net, NULL), "row 0 of 'x0' is of image 0 and class 0");
    TEST_FILL(net, "x0", 0, NAN, 0.5f, 0, 0, 1, 1);
    assert_fails(context, qf_net_forward(net, NULL), "class nan");
    qf_net_destroy(net);
}

/* ---- in tests ---- */

/* A net whose detections and objects are constants: of two objects one is found, then one wrong. */
#define JUDGED                                                                                     \
    "layer { name: 'd' type: 'DummyData' top: 'd' include { phase: TEST } dummy_data_param { "     \
    "shape { dim: 1 dim: 1 dim: 1 dim: 7 } data_filler { value: 1 } } } "                          \
    "layer { name: 'o' type: 'DummyData' top: 'o' include { phase: TEST } dummy_data_param { "     \
    "shape { dim: 1 dim: 1 dim: 2 dim: 8 } data_filler { value: 1 } } } "                          \
    "layer { name: 'detection_eval' type: 'DetectionEvaluate' bottom: 'd' bottom: 'o' top: "       \
    "'detection_eval' include { phase: TEST } detection_evaluate_param { num_classes: 3 "          \
    "overlap_threshold: 0.5 } } "                                                                  \
    "layer { name: 'x' type: 'DummyData' top: 'x' include { phase: TRAIN } dummy_data_param { "    \
    "shape { dim: 1 dim: 2 } } } layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'i' "     \
    "include { phase: TRAIN } inner_product_param { num_output: 2 } } layer { name: 'l' type: "    \
    "'EuclideanLoss' bottom: 'i' bottom: 'x' top: 'l' include { phase: TRAIN } } "

static char last_value[256];

static void note(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user;
    (void)level;
    (void)file;
    (void)line;
    if (strstr(text, "detection_eval = ") || strncmp(text, "class", 5) == 0) {
        strncat(last_value, text, sizeof last_value - strlen(last_value) - 2);
        strcat(last_value, "|");
    }
}

static void solvers_and_tests_say_it(void **state)
{
    (void)state;
    static const char solver_text[] =
        "net: 'judged.prototxt' test_iter: 2 test_interval: 1 max_iter: 1 base_lr: 0 lr_policy: "
        "'fixed' display: 0 snapshot_after_train: false eval_type: 'detection' ap_version: "
        "'11point' show_per_class_result: true";
    qf_solver *solver;
    qf_scores *scores;
    qf_net *net;
    const char *name;
    assert_ok(context, qf_file_write(context, "judged.prototxt", JUDGED, strlen(JUDGED), 0644));
    assert_ok(context,
              qf_file_write(context, "solver.prototxt", solver_text, strlen(solver_text), 0644));
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    qf_context_set_log(context, note, NULL, QF_INFO);
    last_value[0] = 0;
    assert_ok(context, qf_solver_test(solver, 0));
    /* All boxes are one without an area: they overlap nothing. Class 2 has neither. */
    assert_string_equal(last_value, "class1: 0|    Test net output #0: detection_eval = 0|");
    net = qf_solver_test_net(solver, 0);
    last_value[0] = 0;
    assert_ok(context, qf_net_test(net, 3, NULL, NULL, NULL, &scores));
    assert_string_equal(last_value, "class1: 0|detection_eval = 0|");
    assert_int_equal(qf_scores_count(scores), 1);
    assert_float_equal(qf_scores_main(scores, &name), 0, 0);
    assert_string_equal(name, "detection_eval");
    assert_int_equal(qf_scores_better(scores, 0), 1);
    qf_scores_destroy(scores);
    qf_solver_destroy(solver);
    qf_context_set_log(context, NULL, NULL, QF_WARNING);
}

static void solver_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *sentence;
    } cases[] = {
        {"eval_type: 'detection' net_param { layer { name: 'd' type: 'DummyData' top: 'd' "
         "dummy_data_param { shape { dim: 2 } } } }",
         "does not end in a DetectionEvaluate layer"},
        {"eval_type: 'segments' net: 'judged.prototxt'", "unknown eval_type 'segments'"},
        {"ap_version: 'all' net: 'judged.prototxt'", "ap_version is 'all'"},
    };
    qf_solver *solver;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = test_format("test_iter: 1 test_interval: 1 max_iter: 1 base_lr: 0 lr_policy: "
                                 "'fixed' snapshot_after_train: false %s",
                                 cases[i].settings);
        assert_ok(context, qf_file_write(context, "bad_solver.prototxt", text, strlen(text), 0644));
        assert_fails(context, qf_solver_create(context, "bad_solver.prototxt", &solver),
                     cases[i].sentence);
        qf_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(as_the_kits_do),
        cmocka_unit_test(versions),
        cmocka_unit_test(detections_are_judged),
        cmocka_unit_test(sizes_count_in_pixels),
        cmocka_unit_test(refused),
        cmocka_unit_test(solvers_and_tests_say_it),
        cmocka_unit_test(solver_refusals),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
