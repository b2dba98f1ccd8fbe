/* CTC against what it means: the sum over all ways through the steps, one by one in small cases;
 * and against a plain forward-backward in probabilities, in double, in larger ones. Layouts of
 * labels, and the decoder. */
#include "base/random.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "layers/loss/ctc.h"

#include <math.h>
#include <string.h>

enum { STEPS_MAX = 24, CLASSES_MAX = 8, LABELS_MAX = 10 };

typedef struct sequence {
    int steps, classes, label_count, blank;
    bool merge;
    float scores[STEPS_MAX * CLASSES_MAX];
    int labels[LABELS_MAX];
} sequence;

static void probabilities(const sequence *s, double p[STEPS_MAX][CLASSES_MAX])
{
    for (int t = 0; t < s->steps; t++) {
        double sum = 0;
        for (int k = 0; k < s->classes; k++)
            sum += p[t][k] = exp((double)s->scores[t * s->classes + k]);
        for (int k = 0; k < s->classes; k++)
            p[t][k] /= sum;
    }
}

/* ---- all ways ---- */

static bool gives_labels(const sequence *s, const int *way)
{
    int count = 0;
    for (int t = 0; t < s->steps; t++) {
        if (way[t] == s->blank || (s->merge && t > 0 && way[t] == way[t - 1]))
            continue;
        if (count == s->label_count || way[t] != s->labels[count])
            return false;
        count++;
    }
    return count == s->label_count;
}

/* p of the labels, and for each step and class what the ways through it are of that. */
static double all_ways(const sequence *s, double share[STEPS_MAX][CLASSES_MAX])
{
    double p[STEPS_MAX][CLASSES_MAX], sum = 0;
    int way[STEPS_MAX] = {0}, at = 0;
    probabilities(s, p);
    memset(share, 0, sizeof(double[STEPS_MAX][CLASSES_MAX]));
    while (at >= 0) {
        if (gives_labels(s, way)) {
            double its = 1;
            for (int t = 0; t < s->steps; t++)
                its *= p[t][way[t]];
            sum += its;
            for (int t = 0; t < s->steps; t++)
                share[t][way[t]] += its;
        }
        for (at = s->steps - 1; at >= 0 && ++way[at] == s->classes; at--)
            way[at] = 0;
    }
    for (int t = 0; t < s->steps; t++)
        for (int k = 0; k < s->classes; k++)
            share[t][k] = sum > 0 ? share[t][k] / sum : 0;
    return sum;
}

/* ---- forward and backward in probabilities (Graves et al., equations 6, 7, 9, 10, 14) ---- */

static int extended(const sequence *s, int state)
{
    return state % 2 ? s->labels[state / 2] : s->blank;
}

static bool may_skip(const sequence *s, int state)
{
    return state % 2 && state >= 2 && extended(s, state) != extended(s, state - 2);
}

static double in_probabilities(const sequence *s, double share[STEPS_MAX][CLASSES_MAX])
{
    static double a[STEPS_MAX][2 * LABELS_MAX + 3], b[STEPS_MAX][2 * LABELS_MAX + 3];
    const int states = 2 * s->label_count + 1, last = s->steps - 1;
    double y[STEPS_MAX][CLASSES_MAX];
    probabilities(s, y);
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    memset(share, 0, sizeof(double[STEPS_MAX][CLASSES_MAX]));
    for (int t = 0; t <= last; t++)
        for (int i = 0; i < states; i++) {
            double sum = t == 0 ? (i < 2) : a[t - 1][i];
            if (t > 0 && i > 0)
                sum += a[t - 1][i - 1];
            if (t > 0 && may_skip(s, i))
                sum += a[t - 1][i - 2];
            a[t][i] = sum * y[t][extended(s, i)];
        }
    for (int t = last; t >= 0; t--)
        for (int i = states - 1; i >= 0; i--) {
            double sum = t == last ? (i >= states - 2) : b[t + 1][i];
            if (t < last && i + 1 < states)
                sum += b[t + 1][i + 1];
            if (t < last && i + 2 < states && may_skip(s, i + 2))
                sum += b[t + 1][i + 2];
            b[t][i] = sum * y[t][extended(s, i)];
        }
    const double p = a[last][states - 1] + (states > 1 ? a[last][states - 2] : 0);
    for (int t = 0; t <= last; t++)
        for (int i = 0; i < states; i++)
            share[t][extended(s, i)] += a[t][i] * b[t][i] / y[t][extended(s, i)] / p;
    return p;
}

/* ---- comparing ---- */

static void check(const sequence *s, double p, double share[STEPS_MAX][CLASSES_MAX])
{
    const qf_ctc ctc = {.scores = s->scores,
                        .steps = (size_t)s->steps,
                        .classes = (size_t)s->classes,
                        .stride = (size_t)s->classes,
                        .labels = s->labels,
                        .label_count = (size_t)s->label_count,
                        .blank = s->blank,
                        .merge = s->merge};
    double *work = qf_alloc(qf_ctc_work(ctc.steps, ctc.label_count), sizeof *work);
    float gradient[STEPS_MAX * CLASSES_MAX];
    double y[STEPS_MAX][CLASSES_MAX];
    const double loss = qf_ctc_loss(&ctc, work);
    if (p == 0) {
        assert_true(isinf(loss) && loss > 0);
        qf_free(work);
        return;
    }
    if (!(fabs(loss + log(p)) <= 1e-10 * fmax(1, fabs(loss))))
        fail_msg("loss %.15g, expected %.15g", loss, -log(p));
    qf_ctc_gradient(&ctc, work, loss, 1, gradient);
    probabilities(s, y);
    for (int t = 0; t < s->steps; t++)
        for (int k = 0; k < s->classes; k++) {
            const double expected = y[t][k] - share[t][k];
            if (!(fabs((double)gradient[t * s->classes + k] - expected) <= 1e-6))
                fail_msg("step %d, class %d: gradient %g, expected %g", t, k,
                         (double)gradient[t * s->classes + k], expected);
        }
    qf_free(work);
}

static int below(qf_random *random, int limit)
{
    return (int)((qf_random_next(random) >> 33) % (uint64_t)limit);
}

static void draw(qf_random *random, int steps, int classes, int label_count, sequence *s)
{
    *s = (sequence){.steps = steps, .classes = classes, .label_count = label_count, .merge = true};
    s->blank = below(random, classes);
    for (int i = 0; i < steps * classes; i++)
        s->scores[i] = qf_random_uniform(random, -3, 3);
    for (int i = 0; i < label_count; i++)
        s->labels[i] = (s->blank + 1 + below(random, classes - 1)) % classes;
}

static void small_cases(void **state)
{
    (void)state;
    qf_random random;
    double share[STEPS_MAX][CLASSES_MAX];
    int impossible = 0;
    qf_random_seed(&random, 11);
    for (int i = 0; i < 300; i++) {
        sequence s;
        draw(&random, 1 + below(&random, 6), 2 + below(&random, 3), below(&random, 5), &s);
        s.merge = i % 4 != 0;
        const double p = all_ways(&s, share);
        impossible += p == 0;
        check(&s, p, share);
    }
    assert_in_range(impossible, 10, 200);
}

static void larger_cases(void **state)
{
    (void)state;
    qf_random random;
    double share[STEPS_MAX][CLASSES_MAX];
    qf_random_seed(&random, 12);
    for (int i = 0; i < 200; i++) {
        sequence s;
        draw(&random, 20 + below(&random, 5), 3 + below(&random, 6), 1 + below(&random, 10), &s);
        const double p = in_probabilities(&s, share);
        check(&s, p, share);
    }
}

/* 2000 steps, whose probability no double holds. */
static void long_sequence(void **state)
{
    (void)state;
    enum { STEPS = 2000, CLASSES = 50 };
    float *scores = qf_alloc(STEPS * CLASSES, sizeof *scores);
    float *gradient = qf_alloc(STEPS * CLASSES, sizeof *gradient);
    const int labels[] = {1, 2, 2, 3};
    const qf_ctc ctc = {scores, STEPS, CLASSES, CLASSES, labels, 4, 0, true};
    double *work = qf_alloc(qf_ctc_work(STEPS, 4), sizeof *work);
    const double loss = qf_ctc_loss(&ctc, work);
    /* As many ways as choices of 9 borders with one blank at least between the two 2s: of equal
     * probability, 50^-2000. */
    assert_true(loss > 0 && isfinite(loss));
    const double ways = STEPS * log(CLASSES) - loss;
    assert_true(ways > 4 * log(STEPS) - log(24) && ways < 9 * log(STEPS));
    qf_ctc_gradient(&ctc, work, loss, 1, gradient);
    for (int t = 0; t < STEPS; t++) {
        double sum = 0;
        for (int k = 0; k < CLASSES; k++)
            sum += (double)gradient[t * CLASSES + k];
        assert_true(fabs(sum) < 1e-5);
    }
    qf_free(work);
    qf_free(gradient);
    qf_free(scores);
}

/* ---- layers ---- */

enum { T = 5, N = 3, C = 4 };

#define MAKE(rest, tops, ...)                                                                      \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, tops)

/* −log p of sequence n of x0, after `steps`. */
static double loss_of(qf_net *net, int n, int steps, int blank, const int *labels, int count)
{
    sequence s = {
        .steps = steps, .classes = C, .label_count = count, .blank = blank, .merge = true};
    double share[STEPS_MAX][CLASSES_MAX];
    const float *x = test_bottom(context, net, 0);
    for (int t = 0; t < steps; t++)
        memcpy(s.scores + t * C, x + (t * N + n) * C, sizeof(float[C]));
    for (int i = 0; i < count; i++)
        s.labels[i] = labels[i];
    return -log(all_ways(&s, share));
}

static void labels_in_rows(void **state)
{
    (void)state;
    for (int warp = 0; warp < 2; warp++) {
        qf_net *net = MAKE(warp ? "type: 'WarpCTCLoss'" : "type: 'CTCLoss'", 1, "5 3 4", "3 3");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
        TEST_FILL(net, "x1", 1, 2, 0, 3, -1, 1, 0, 0, 2); /* 1 2; 3; 2 */
        test_forward(context, net);
        const double sum = loss_of(net, 0, T, 0, (const int[]){1, 2}, 2) +
                           loss_of(net, 1, T, 0, (const int[]){3}, 1) +
                           loss_of(net, 2, T, 0, (const int[]){2}, 1);
        assert_float_equal(test_top(context, net, 0)[0], (float)(sum / N), 1e-5f);
        qf_net_destroy(net);
    }
}

/* Sequences of 4, 5 and 2 steps; the last without labels, which does not count. */
static void labels_with_indicators(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'CTCLoss'", 1, "5 3 4", "5 3", "2 3");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    TEST_FILL(net, "x1", 0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 0);
    TEST_FILL(net, "x2", 0, 1, -1, 2, -1, -1);
    test_forward(context, net);
    const double sum =
        loss_of(net, 0, 4, 3, (const int[]){0, 2}, 2) + loss_of(net, 1, 5, 3, (const int[]){1}, 1);
    assert_float_equal(test_top(context, net, 0)[0], (float)(sum / 2), 1e-5f);
    qf_net_destroy(net);

    /* warp-ctc's blank is class 0, which these labels do not count. */
    net = MAKE("type: 'WarpCTCLoss' ctc_loss_param { blank_index: 0 }", 1, "5 3 4", "5 3", "2 3");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    TEST_FILL(net, "x1", 0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 0);
    TEST_FILL(net, "x2", 0, 1, -1, 2, -1, -1);
    test_forward(context, net);
    const double shifted =
        loss_of(net, 0, 4, 0, (const int[]){1, 3}, 2) + loss_of(net, 1, 5, 0, (const int[]){2}, 1);
    assert_float_equal(test_top(context, net, 0)[0], (float)(shifted / 2), 1e-5f);
    qf_net_destroy(net);
}

static void labels_with_counts(void **state)
{
    (void)state;
    qf_net *net =
        MAKE("type: 'CTCLoss' loss_param { normalization: NONE }", 1, "5 3 4", "3", "3", "2 3");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    TEST_FILL(net, "x1", 4, 5, 3);
    TEST_FILL(net, "x2", 2, 1, 0);
    TEST_FILL(net, "x3", 0, 1, 9, 2, 9, 9);
    test_forward(context, net);
    const double sum = loss_of(net, 0, 4, 3, (const int[]){0, 2}, 2) +
                       loss_of(net, 1, 5, 3, (const int[]){1}, 1) + loss_of(net, 2, 3, 3, NULL, 0);
    assert_float_equal(test_top(context, net, 0)[0], (float)sum, 1e-5f);
    qf_net_destroy(net);
}

/* Too many labels for the steps: the sequence does not count, and has no gradient. */
static void too_few_steps(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'CTCLoss'", 1, "2 2 4", "2 3");
    float *diff;
    const float *found;
    TEST_FILL(net, "x1", 1, 2, 3, 1, 0, 0);
    test_forward(context, net);
    const double ways = 3.0 / 16; /* 11, 10, 01 */
    assert_float_equal(test_top(context, net, 0)[0], (float)-log(ways), 1e-5f);
    qf_layer *layer = net->layers[1];
    layer->propagate_down[0] = true;
    assert_ok(context, qf_blob_mutable_diff(layer->top[0], &diff));
    diff[0] = 1;
    assert_ok(context, layer->type->backward(layer));
    assert_ok(context, qf_blob_diff(layer->bottom[0], &found));
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 4; k++) {
            assert_float_equal(found[(2 * t) * 4 + k], 0, 0);
            assert_true(found[(2 * t + 1) * 4 + k] != 0);
        }
    qf_net_destroy(net);
}

/* Best classes by step: 1 1 0 1 2 and 0 3 3 3 0. */
static void fill_scores(qf_net *net)
{
    static const int best[2][T] = {{1, 1, 0, 1, 2}, {0, 3, 3, 3, 0}};
    float scores[T * 2 * C] = {0};
    for (int n = 0; n < 2; n++)
        for (int t = 0; t < T; t++)
            scores[(t * 2 + n) * C + best[n][t]] = 1;
    test_fill(context, qf_net_blob(net, "x0"), scores, T * 2 * C);
}

static void decoder(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'CTCGreedyDecoder'", 1, "5 2 4");
    fill_scores(net);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 5 1 1 (10)", 1, 1, 2, -1, -1, 3, -1, -1, -1, -1);
    qf_net_destroy(net);

    net = MAKE("type: 'CTCGreedyDecoder' ctc_decoder_param { ctc_merge_repeated: false }", 1,
               "5 2 4");
    fill_scores(net);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 5 1 1 (10)", 1, 1, 1, 2, -1, 3, 3, 3, -1, -1);
    qf_net_destroy(net);

    /* 1 1 2 beside 1 2 3: two steps of three; 3 is right. */
    net = MAKE("type: 'CTCGreedyDecoder'", 1, "5 2 4", "2 4");
    fill_scores(net);
    TEST_FILL(net, "x1", 1, 2, 3, 0, 3, -1, -1, -1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 1 1 (2)", 1 - (2 / 3.0f) / 2, 0.5f);
    qf_net_destroy(net);

    /* With indicators, the first has two steps: 1 beside 1 2. */
    net = MAKE("type: 'CTCGreedyDecoder' ctc_decoder_param { blank_index: 0 }", 2, "5 2 4", "5 2",
               "3 2");
    fill_scores(net);
    TEST_FILL(net, "x1", 0, 0, 1, 1, 0, 1, 0, 1, 0, 1);
    TEST_FILL(net, "x2", 1, 3, 2, -1, -1, -1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 5 1 1 (10)", 1, -1, -1, -1, -1, 3, -1, -1, -1, -1);
    TEST_EXPECT(net, 1, "1 1 1 1 (1)", 0.75f);
    qf_net_destroy(net);
}

static void wrong_values(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'CTCLoss'", 1, "5 1 4", "1 2");
    TEST_FILL(net, "x1", 2, 4);
    assert_fails(context, qf_net_forward(net, NULL), "label 1 of sequence 0 is 4");
    qf_net_destroy(net);
    net = MAKE("type: 'CTCLoss'", 1, "5 1 4", "1", "1", "2 1");
    TEST_FILL(net, "x1", 6);
    assert_fails(context, qf_net_forward(net, NULL), "sequence 0 has 6 steps, of at most 5");
    qf_net_destroy(net);
}

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'CTCLoss'", {"5 3", "3 2"}, "steps x sequences x classes"},
        {"type: 'CTCLoss'", {"5 3 4", "2 3"}, "the 3 sequences"},
        {"type: 'CTCLoss'", {"5 3 4", "4 3", "2 3"}, "an indicator for each step"},
        {"type: 'CTCLoss'", {"5 3 4", "3", "2", "2 3"}, "the number of labels of each sequence"},
        {"type: 'CTCLoss' ctc_loss_param { blank_index: 4 }", {"5 3 4", "3 2"}, "blank_index 4"},
        {"type: 'CTCLoss' ctc_loss_param { output_delay: 2 }", {"5 3 4", "3 2"}, "output_delay"},
        {"type: 'CTCGreedyDecoder' top: 'more'", {"5 3 4"}, "needs indicators and labels"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases),
        cmocka_unit_test(larger_cases),
        cmocka_unit_test(long_sequence),
        cmocka_unit_test(labels_in_rows),
        cmocka_unit_test(labels_with_indicators),
        cmocka_unit_test(labels_with_counts),
        cmocka_unit_test(too_few_steps),
        cmocka_unit_test(decoder),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
