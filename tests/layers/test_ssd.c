/* Layers of SSD and the losses of detectors: small cases worked out by hand, and plain references
 * that go about it another way than the layers. */
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "layers/detection/boxes.h"

#include <math.h>
#include <string.h>

#define MAKE(rest, tops, ...)                                                                      \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, tops)

/* ---- SSD: priors, codes, detections ---- */

static void prior_box(void **state)
{
    (void)state;
    /* A map of 1 × 2 cells over an image of 100 × 200: cells of 100 pixels, the first around
     * (50, 50). Squares of 30 and √(30 · 60) pixels, 30√2 × 30/√2 and the other way round; 30.9
     * counts as 30. */
    const float first[] = {0.175f,    0.35f,     0.325f,    0.65f,     0.143934f, 0.287868f,
                           0.356066f, 0.712132f, 0.143934f, 0.393934f, 0.356066f, 0.606066f,
                           0.196967f, 0.287868f, 0.303033f, 0.712132f};
    qf_net *net = MAKE("type: 'PriorBox' prior_box_param { min_size: 30.9 max_size: 60 "
                       "aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2 variance: 0.1 variance: "
                       "0.2 variance: 0.3 variance: 0.4 }",
                       1, "1 8 1 2", "1 3 100 200");
    float expected[64];
    for (int i = 0; i < 16; i++) {
        expected[i] = first[i];
        expected[16 + i] = first[i] + (i % 2 ? 0 : 0.5f);
        expected[32 + i] = expected[48 + i] = 0.1f * (float)(i % 4 + 1);
    }
    test_forward(context, net);
    test_expect(context, net, 0, "1 2 32 (64)", expected);
    qf_net_destroy(net);

    net =
        MAKE("type: 'PriorBox' prior_box_param { min_size: 10 min_size: 20 clip: true flip: false "
             "aspect_ratio: 4 img_h: 40 img_w: 20 step_h: 8 step_w: 4 offset: 0 }",
             1, "1 1 1 1", "1 1 9 9");
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 16 (32)", 0, 0, 0.25, 0.125, 0, 0, 0.5, 0.0625, 0, 0, 0.5, 0.25, 0, 0,
                1, 0.125, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f,
                0.1f, 0.1f, 0.1f, 0.1f);
    qf_net_destroy(net);
}

/* Two boxes of whole and broken sizes around each of two cells, 16 pixels apart: like those of a
 * PriorBox, but as given, and not cut to whole pixels. */
static void prior_box_clustered(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'PriorBoxClustered' prior_box_param { width: 10.5 width: 20 height: "
                       "12 height: 24 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 "
                       "step: 16 offset: 0.5 }",
                       1, "1 8 1 2", "1 3 50 100");
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 16 (32)", 0.0275f, 0.04f, 0.1325f, 0.28f, -0.02f, -0.08f, 0.18f, 0.4f,
                0.1875f, 0.04f, 0.2925f, 0.28f, 0.14f, -0.08f, 0.34f, 0.4f, 0.1f, 0.1f, 0.2f, 0.2f,
                0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f);
    qf_net_destroy(net);

    /* The step that nobody gives is that from cell to cell; boxes end at the image. */
    net = MAKE("type: 'PriorBoxClustered' prior_box_param { width: 40 height: 10 clip: true }", 1,
               "1 8 2 1", "1 3 20 30");
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 8 (16)", 0, 0, 1, 0.5f, 0, 0.5f, 1, 1, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f,
                0.1f, 0.1f, 0.1f);
    qf_net_destroy(net);
}

static void box_codes(void **state)
{
    (void)state;
    const qf_box prior = {0.1f, 0.1f, 0.3f, 0.5f}, variance = {0.1f, 0.1f, 0.2f, 0.2f};
    const qf_box box = {0.2f, 0.2f, 0.4f, 0.4f};
    const qf_priors priors = {&prior, &variance, 1};
    const struct {
        int type;
        float code[4], with_variance[4];
    } cases[] = {
        {CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CORNER, {1, 1, 0.5f, -0.5f}, {.1f, .1f, .1f, -.1f}},
        {CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CENTER_SIZE,
         {5, 0, 0, -3.465736f},
         {0.5f, 0, 0, -0.6931472f}},
        {CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CORNER_SIZE,
         {5, 2.5f, 2.5f, -1.25f},
         {0.5f, 0.25f, 0.5f, -0.25f}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int in_target = 0; in_target < 2; in_target++) {
            const qf_box_code code = {cases[i].type, in_target};
            const qf_box found = qf_box_encode(&code, &priors, 0, &box);
            const qf_box back = qf_box_decode(&code, &priors, 0, &found);
            const float *expected = in_target ? cases[i].with_variance : cases[i].code;
            for (int k = 0; k < 4; k++) {
                assert_float_equal((&found.x1)[k], expected[k], 1e-5f);
                assert_float_equal((&back.x1)[k], (&box.x1)[k], 1e-6f);
            }
        }
    const qf_box nan_box = {NAN, 0, 1, 1}, unit = {0, 0, 1, 1}, wrong = {1, 1, 0, 0};
    assert_float_equal(qf_box_overlap(&unit, &unit, QF_BOX_BORDERS), 1, 0);
    assert_float_equal(qf_box_overlap(&unit, &nan_box, QF_BOX_BORDERS), 0, 0);
    assert_float_equal(qf_box_overlap(&unit, &wrong, QF_BOX_BORDERS), 0, 0);
    assert_float_equal(qf_box_overlap(&wrong, &wrong, QF_BOX_BORDERS), 0, 0);
    assert_float_equal(qf_box_area(&unit, QF_BOX_PIXELS), 4, 0);
    assert_float_equal(qf_box_overlap(&unit, &(qf_box){1, 1, 2, 2}, QF_BOX_PIXELS), 1.f / 7, 1e-7f);
}

/* Three priors that the first two are nearly one; what is wanted of them varies. */
static void detection_output(void **state)
{
    (void)state;
    static const char *const shapes[] = {"1 12", "1 6", "1 2 12", NULL};
    static const struct {
        const char *param, *shape;
        float rows[14];
    } cases[] = {
        {"confidence_threshold: 0.2 nms_param { nms_threshold: 0.5 }",
         "1 1 2 7 (14)",
         {0, 1, 0.9f, 0.02f, 0, 0.5f, 0.5f, 0, 1, 0.3f, 0.5f, 0.5f, 1, 1}},
        {"confidence_threshold: 0.2 nms_param { nms_threshold: 0.5 top_k: 2 }",
         "1 1 1 7 (7)",
         {0, 1, 0.9f, 0.02f, 0, 0.5f, 0.5f}},
        {"keep_top_k: 1 nms_param { nms_threshold: 0.97 }",
         "1 1 1 7 (7)",
         {0, 1, 0.9f, 0.02f, 0, 0.5f, 0.5f}},
        {"confidence_threshold: 0.5 nms_param { nms_threshold: 0.97 }",
         "1 1 2 7 (14)",
         {0, 1, 0.9f, 0.02f, 0, 0.5f, 0.5f, 0, 1, 0.6f, 0, 0, 0.5f, 0.5f}},
        {"confidence_threshold: 0.5 nms_param { nms_threshold: 0.97 eta: 0.9 }", /* 0.873 after 1 */
         "1 1 1 7 (7)",
         {0, 1, 0.9f, 0.02f, 0, 0.5f, 0.5f}},
        {"confidence_threshold: 0.95", "1 1 1 7 (7)", {0, -1, -1, -1, -1, -1, -1}},
        {"background_label_id: 1 confidence_threshold: 0.65",
         "1 1 1 7 (7)",
         {0, 0, 0.7f, 0.5f, 0.5f, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *rest = test_format("type: 'DetectionOutput' detection_output_param { num_classes: 2 "
                                 "variance_encoded_in_target: true %s }",
                                 cases[i].param);
        qf_net *net = test_make_layer(context, QF_TRAIN, shapes, rest, 1);
        TEST_FILL(net, "x1", 0.4f, 0.6f, 0.1f, 0.9f, 0.7f, 0.3f);
        TEST_FILL(net, "x2", 0, 0, 0.5f, 0.5f, 0.02f, 0, 0.5f, 0.5f, 0.5f, 0.5f, 1, 1, 1, 1, 1, 1,
                  1, 1, 1, 1, 1, 1, 1, 1);
        test_forward(context, net);
        test_expect(context, net, 0, cases[i].shape, cases[i].rows);
        TEST_FILL(net, "x1", NAN, NAN, NAN, NAN, NAN, NAN);
        test_forward(context, net);
        TEST_EXPECT(net, 0, "1 1 1 7 (7)", 0, -1, -1, -1, -1, -1, -1);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* Many boxes, locations for each class: again and again the best box that is left, which then
 * takes those that overlap it with it. */
static void detection_output_against_reference(void **state)
{
    (void)state;
    enum { IMAGES = 2, PRIORS = 40, CLASSES = 3 };
    qf_net *net = MAKE("type: 'DetectionOutput' detection_output_param { num_classes: 3 "
                       "share_location: false code_type: CENTER_SIZE background_label_id: 0 "
                       "confidence_threshold: 0.1 nms_param { nms_threshold: 0.3 } }",
                       1, "2 480", "2 120", "1 2 160");
    float *priors;
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_fill_anyhow(context, qf_net_blob(net, "x1"), 2);
    test_fill_anyhow(context, qf_net_blob(net, "x2"), 3);
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x2"), &priors));
    for (size_t i = 0; i < PRIORS; i++) {
        priors[4 * i] = fabsf(priors[4 * i]) / 2;
        priors[4 * i + 1] = fabsf(priors[4 * i + 1]) / 2;
        priors[4 * i + 2] = priors[4 * i] + 0.1f + fabsf(priors[4 * i + 2]) / 3;
        priors[4 * i + 3] = priors[4 * i + 1] + 0.1f + fabsf(priors[4 * i + 3]) / 3;
        for (size_t k = 0; k < 4; k++)
            priors[4 * PRIORS + 4 * i + k] = k < 2 ? 0.1f : 0.2f;
    }
    test_forward(context, net);
    const float *loc = test_bottom(context, net, 0), *conf = test_bottom(context, net, 1);
    const float *row = test_top(context, net, 0);
    size_t rows = 0;
    for (int image = 0; image < IMAGES; image++)
        for (int label = 1; label < CLASSES; label++) {
            bool gone[PRIORS] = {false};
            double box[PRIORS][4];
            for (int i = 0; i < PRIORS; i++) {
                const float *p = priors + 4 * i;
                const float *t = loc + ((image * PRIORS + i) * CLASSES + label) * 4;
                const double w = p[2] - p[0], h = p[3] - p[1];
                const double x = p[0] + w / 2 + 0.1 * t[0] * w, y = p[1] + h / 2 + 0.1 * t[1] * h;
                const double half_w = w * exp(0.2 * t[2]) / 2, half_h = h * exp(0.2 * t[3]) / 2;
                memcpy(box[i], (double[]){x - half_w, y - half_h, x + half_w, y + half_h},
                       sizeof box[i]);
            }
            for (;;) {
                int best = -1;
                double score = 0.1;
                for (int i = 0; i < PRIORS; i++)
                    if (!gone[i] && conf[(image * PRIORS + i) * CLASSES + label] > score) {
                        best = i;
                        score = conf[(image * PRIORS + i) * CLASSES + label];
                    }
                if (best < 0)
                    break;
                assert_float_equal(row[0], image, 0);
                assert_float_equal(row[1], label, 0);
                assert_float_equal(row[2], score, 1e-6);
                for (int k = 0; k < 4; k++)
                    assert_float_equal(row[3 + k], box[best][k], 1e-5);
                row += 7;
                rows++;
                for (int i = 0; i < PRIORS; i++) {
                    const double *a = box[i], *b = box[best];
                    const double w = fmin(a[2], b[2]) - fmax(a[0], b[0]);
                    const double h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
                    const double both = w > 0 && h > 0 ? w * h : 0;
                    const double all =
                        (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
                    gone[i] |= both / (all - both) > 0.3;
                }
            }
        }
    assert_int_equal(qf_blob_count(qf_net_blob(net, "y0")), rows * 7);
    assert_true(rows > 20);
    qf_net_destroy(net);
}

/* ---- losses ---- */

static void smooth_l1_loss(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'SmoothL1Loss'", 1, "2 2", "2 2");
    TEST_FILL(net, "x0", 0.5f, 1, -3, 2);
    TEST_FILL(net, "x1", 0, 0, 0, 2);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "(1)", (0.125f + 0.5f + 2.5f) / 2);
    qf_net_destroy(net);

    /* sigma 2: a square up to 1/4; (2 · 0.1)² / 2, and 1 − 1/8. */
    net = MAKE("type: 'SmoothL1Loss' smooth_l1_loss_param { sigma: 2 }", 1, "1 3", "1 3", "1 3",
               "1 3");
    TEST_FILL(net, "x0", 0.1f, -1, 7);
    TEST_FILL(net, "x2", 1, 1, 0);
    TEST_FILL(net, "x3", 1, 10, 1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "(1)", 0.02f + 8.75f);
    qf_net_destroy(net);
}

/* Three priors, the first of which is the truth itself; see the arithmetic at each case. */
static void multi_box_loss(void **state)
{
    (void)state;
    static const char *const shapes[] = {"1 12", "1 6", "1 2 12", "1 1 1 8", NULL};
    const float place = 0.125f + 1.5f, positive = logf(2), hard = logf(4), easy = logf(4.f / 3);
    const struct {
        const char *param;
        float loss;
    } cases[] = {
        {"neg_pos_ratio: 1", place + positive + hard},
        {"neg_pos_ratio: 2", place + positive + hard + easy},
        {"neg_pos_ratio: 0.5", place + positive},
        {"neg_pos_ratio: 1 loc_weight: 2", 2 * place + positive + hard},
        {"neg_pos_ratio: 1 loc_loss_type: L2", 0.125f + 2 + positive + hard},
        {"mining_type: NONE", place + positive + hard + easy},
        {"mining_type: HARD_EXAMPLE sample_size: 1", place + positive},
        {"mining_type: HARD_EXAMPLE sample_size: 2", place + positive + hard},
        {"neg_pos_ratio: 1 neg_overlap: 0", place + positive},
        {"neg_pos_ratio: 1 do_neg_mining: true match_type: BIPARTITE", place + positive + hard},
        {"neg_pos_ratio: 1 use_prior_for_nms: true nms_param { nms_threshold: 0.5 }",
         place + positive + hard},
        {"neg_pos_ratio: 1 conf_loss_type: LOGISTIC", /* scores (0, 0) → (0, 1); (0, ln 3) → bg */
         place + 2 * logf(2) + logf(2) + logf(4)},
        /* Scores (0, 0) → class 1, the others → no class: ln 2 and ln 4. */
        {"mining_type: NONE conf_loss_type: LOGISTIC",
         place + 2 * logf(2) + 2 * (logf(2) + logf(4))},
        /* The third prior reaches down to 1.2. */
        {"mining_type: NONE ignore_cross_boundary_bbox: true", place + positive + hard + easy},
        {"neg_pos_ratio: 2 ignore_cross_boundary_bbox: true", place + positive + hard},
        {"neg_pos_ratio: 1 bp_inside: true", place + positive + hard},
        {"neg_pos_ratio: 1 encode_variance_in_target: true", /* the same numbers over 0.1 */
         4.5f + 19.5f + positive + hard},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *rest = test_format("type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 %s }",
                                 cases[i].param);
        qf_net *net = test_make_layer(context, QF_TRAIN, shapes, rest, 1);
        TEST_FILL(net, "x0", 0.5f, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0);
        TEST_FILL(net, "x1", 0, 0, 0, logf(3), logf(3), 0);
        TEST_FILL(net, "x2", 0, 0, 0.4f, 0.4f, 0.5f, 0.5f, 0.9f, 0.9f, 0, 0.6f, 0.4f, 1.2f, 0.1f,
                  0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f);
        TEST_FILL(net, "x3", 0, 1, 0, 0, 0, 0.4f, 0.4f, 0);
        test_forward(context, net);
        const float found = test_top(context, net, 0)[0];
        if (!(fabsf(found - cases[i].loss) < 1e-5f * fmaxf(1, cases[i].loss)))
            fail_msg("%s: the loss is %g, expected %g", cases[i].param, (double)found,
                     (double)cases[i].loss);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* Two images, the second without truths; who matches whom. */
static void multi_box_matches(void **state)
{
    (void)state;
    static const char *const shapes[] = {"2 16", "2 8", "1 2 16", "1 1 3 8", NULL};
    /* Priors: A equals the first truth; B overlaps it by 2/3; C overlaps it by 3/7 and is the best
     * for the second truth, which it overlaps by 1/3; D is alone. */
    static const struct {
        const char *param;
        float matches; /* VALID: the loss of equal scores is ln 2 of each sample over the matches */
        float samples;
    } cases[] = {
        {"match_type: BIPARTITE mining_type: NONE", 2, 8},
        {"mining_type: NONE", 3, 8},
        {"overlap_threshold: 0.7 mining_type: NONE", 2, 8},
        {"neg_pos_ratio: 3", 3, 4}, /* no truths in the second image: no samples */
        {"neg_pos_ratio: 3 neg_overlap: 0.7 overlap_threshold: 0.7", 2, 4},
        {"neg_pos_ratio: 3 overlap_threshold: 0.7", 2,
         3}, /* B overlaps too much to be background */
        {"use_difficult_gt: false mining_type: NONE", 2, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *rest = test_format(
            "type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 loc_weight: 0 %s "
            "}",
            cases[i].param);
        qf_net *net = test_make_layer(context, QF_TRAIN, shapes, rest, 1);
        TEST_FILL(net, "x2", 0, 0, 0.3f, 0.1f, 0.06f, 0, 0.36f, 0.1f, 0.12f, 0, 0.42f, 0.1f, 0.8f,
                  0.8f, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
        TEST_FILL(net, "x3", 0, 1, 0, 0, 0, 0.3f, 0.1f, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0.27f,
                  0, 0.57f, 0.1f, 1);
        test_forward(context, net);
        const float found = test_top(context, net, 0)[0];
        const float expected = logf(2) * cases[i].samples / cases[i].matches;
        if (!(fabsf(found - expected) < 1e-5f))
            fail_msg("%s: the loss is %g ln 2, expected %g / %g", cases[i].param,
                     (double)(found / logf(2)), (double)cases[i].samples, (double)cases[i].matches);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'PriorBox'", {"1 1 2 2", "1 1 9 9"}, "needs a min_size"},
        {"type: 'PriorBox' prior_box_param { min_size: 0 }",
         {"1 1 2 2", "1 1 9 9"},
         "greater than"},
        {"type: 'PriorBox' prior_box_param { min_size: nan }", {"1 1 2 2", "1 1 9 9"}, "greater"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 max_size: 8 }",
         {"1 1 2 2", "1 1 9 9"},
         "max_size 8 must be greater"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 max_size: 10 max_size: 11 }",
         {"1 1 2 2", "1 1 9 9"},
         "2 max_size for 1 min_size"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 aspect_ratio: -2 }",
         {"1 1 2 2", "1 1 9 9"},
         "aspect_ratio"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 variance: 0 }",
         {"1 1 2 2", "1 1 9 9"},
         "variance"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 variance: 1 variance: 1 }",
         {"1 1 2 2", "1 1 9 9"},
         "2 variances"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 img_h: 9 }",
         {"1 1 2 2", "1 1 9 9"},
         "size of the image"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 img_h: 9 img_w: 9 img_size: 9 }",
         {"1 1 2 2", "1 1 9 9"},
         "not both"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 step: -1 }",
         {"1 1 2 2", "1 1 9 9"},
         "step must be"},
        {"type: 'PriorBox' prior_box_param { min_size: 9 }", {"1 1 2", "1 1 9 9"}, "4 axes"},
        {"type: 'PriorBoxClustered' prior_box_param { width: 9 width: 8 height: 9 }",
         {"1 1 2 2", "1 1 9 9"},
         "2 width and 1 height"},
        {"type: 'PriorBoxClustered' prior_box_param { min_size: 9 }",
         {"1 1 2 2", "1 1 9 9"},
         "0 width and 0 height"},
        {"type: 'PriorBoxClustered' prior_box_param { width: 9 height: nan }",
         {"1 1 2 2", "1 1 9 9"},
         "box 0 of a cell is 9 wide and nan high"},
        {"type: 'DetectionOutput'", {"1 8", "1 4", "1 2 8"}, "needs num_classes"},
        {"type: 'DetectionOutput' detection_output_param { num_classes: 3 }",
         {"1 8", "1 4", "1 2 8"},
         "4 scores for each image, expected 6"},
        {"type: 'DetectionOutput' detection_output_param { num_classes: 4294967295 }",
         {"1 8", "1 4", "1 2 8"},
         "do num_classes and share_location fit"},
        {"type: 'DetectionOutput' detection_output_param { num_classes: 2 share_location: false }",
         {"1 8", "1 4", "1 2 8"},
         "8 locations for each image, expected 16"},
        {"type: 'DetectionOutput' detection_output_param { num_classes: 2 }",
         {"1 8", "2 4", "1 2 8"},
         "same number of images"},
        {"type: 'DetectionOutput' detection_output_param { num_classes: 2 nms_param { "
         "nms_threshold: "
         "-1 } }",
         {"1 8", "1 4", "1 2 8"},
         "nms_threshold"},
        {"type: 'DetectionOutput' detection_output_param { num_classes: 2 nms_param { eta: 0 } }",
         {"1 8", "1 4", "1 2 8"},
         "eta"},
        {"type: 'MultiBoxLoss'", {"1 8", "1 4", "1 2 8", "1 1 1 8"}, "needs num_classes"},
        {"type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 background_label_id: 2 }",
         {"1 8", "1 4", "1 2 8", "1 1 1 8"},
         "none of the 2 classes"},
        {"type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 share_location: false }",
         {"1 16", "1 4", "1 2 8", "1 1 1 8"},
         "mining needs share_location"},
        {"type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 do_neg_mining: false }",
         {"1 8", "1 4", "1 2 8", "1 1 1 8"},
         "contradicts"},
        {"type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 mining_type: HARD_EXAMPLE "
         "sample_size: 0 }",
         {"1 8", "1 4", "1 2 8", "1 1 1 8"},
         "sample_size"},
        {"type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 }",
         {"1 8", "1 4", "1 2 8", "1 1 1 7"},
         "rows of 8"},
        {"type: 'SmoothL1Loss' smooth_l1_loss_param { sigma: 0 }", {"1 2", "1 2"}, "sigma"},
        {"type: 'SmoothL1Loss'", {"1 2", "1 3"}, "do not match"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

/* Values that only a forward pass sees. */
static void refused_values(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'DetectionOutput' detection_output_param { num_classes: 2 code_type: "
                       "CENTER_SIZE }",
                       1, "1 4", "1 2", "1 2 4");
    TEST_FILL(net, "x2", 0.5f, 0, 0.5f, 1, 1, 1, 1, 1);
    assert_fails(context, qf_net_forward(net, NULL), "has no area");
    TEST_FILL(net, "x2", 0, 0, NAN, 1, 1, 1, 1, 1);
    assert_fails(context, qf_net_forward(net, NULL), "has no area");
    TEST_FILL(net, "x2", 0, 0, 1, 1, 1, 1, 0, 1);
    assert_fails(context, qf_net_forward(net, NULL), "not positive");
    TEST_FILL(net, "x2", 0, 0, 1, 1, 1, 1, 1, 1);
    TEST_FILL(net, "x0", NAN, INFINITY, 1e30f, -1e30f);
    TEST_FILL(net, "x1", 0, 1);
    test_forward(context, net);
    assert_int_equal(qf_blob_count(qf_net_blob(net, "y0")), 7);
    qf_net_destroy(net);

    net = MAKE("type: 'MultiBoxLoss' multibox_loss_param { num_classes: 3 }", 1, "1 4", "1 3",
               "1 2 4", "1 1 1 8");
    TEST_FILL(net, "x2", 0, 0, 1, 1, 1, 1, 1, 1);
    static const struct {
        float row[8];
        const char *sentence;
    } rows[] = {
        {{1, 1, 0, 0, 0, 1, 1, 0}, "is of image 1, but the batch has 1"},
        {{NAN, 1, 0, 0, 0, 1, 1, 0}, "is of image nan"},
        {{0, 3, 0, 0, 0, 1, 1, 0}, "has label 3, but num_classes is 3"},
        {{0, -1, 0, 0, 0, 1, 1, 0}, "has label -1"},
        {{0, 0, 0, 0, 0, 1, 1, 0}, "label of the background"},
        {{0, 1, 0, 0, NAN, 1, 1, 0}, "box without area"},
        {{0, 1, 0, 1, 0, 0, 1, 0}, "box without area"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_fill(context, qf_net_blob(net, "x3"), rows[i].row, 8);
        assert_fails(context, qf_net_forward(net, NULL), rows[i].sentence);
    }
    TEST_FILL(net, "x3", 0, 1, 0, 0, 0, 1, 1, 0);
    TEST_FILL(net, "x1", NAN, 0, 0);
    test_forward(context, net);
    assert_ok(context, qf_net_backward(net));
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prior_box),
        cmocka_unit_test(prior_box_clustered),
        cmocka_unit_test(box_codes),
        cmocka_unit_test(detection_output),
        cmocka_unit_test(detection_output_against_reference),
        cmocka_unit_test(smooth_l1_loss),
        cmocka_unit_test(multi_box_loss),
        cmocka_unit_test(multi_box_matches),
        cmocka_unit_test(refused),
        cmocka_unit_test(refused_values),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
