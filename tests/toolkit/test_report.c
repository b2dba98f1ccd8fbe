/* The report's figures, against a net of two layers computed here in plain loops from the files;
 * its JSON, which says the same; and names that are out to break a page. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/record.h"
#include "net/net.h"
#include "toolkit/report/input_histogram.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 4 images of 3 × 6 × 6, a convolution to 4 channels of 4 × 4, a product to 5. */
enum { IMAGES = 4, IN = 3, SIDE = 6, OUT = 4, TO = 4, KERNEL = 3, LAST = 5 };
enum { INPUT = IMAGES * IN * SIDE * SIDE, MIDDLE = IMAGES * OUT * TO * TO, END = IMAGES * LAST };
enum { BATCHES = 2 };

#define EVIL "a\"</script><script>alert('x')&amp;\\"

static const char model[] =
    "name: 'two layers <b>' layer { name: 'in' type: 'Input' top: 'data' input_param { shape "
    "{ dim: 4 dim: 3 dim: 6 dim: 6 } } } layer { name: 'conv' type: 'Convolution' bottom: 'data' "
    "top: 'conv' convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' "
    "std: 0.3 } bias_filler { type: 'constant' value: 0.1 } } } layer { name: 'relu' type: 'ReLU' "
    "bottom: 'conv' top: 'conv' } layer { name: '%s' type: 'InnerProduct' bottom: 'conv' top: 'ip' "
    "inner_product_param { num_output: 5 weight_filler { type: 'gaussian' std: 0.2 } bias_filler { "
    "type: 'constant' value: -0.2 } } }";

/* ---- the files ---- */

static void write_model(const char *path, const char *last)
{
    char name[256] = "", *text;
    for (const char *c = last; *c; c++)
        snprintf(name + strlen(name), sizeof name - strlen(name), "%s%c",
                 strchr("'\"\\", *c) ? "\\" : "", *c);
    text = test_format(model, name);
    test_write_text(context, path, text);
    qf_free(text);
}

/* Values of both signs, the last batch a little larger than what calibrated. */
static void write_batches(void)
{
    float values[INPUT];
    for (int b = 0; b < BATCHES; b++) {
        char *path = test_format("raw/%d.bin", b);
        for (int i = 0; i < INPUT; i++)
            values[i] = (float)((i * 37 + b * 11) % 101 - 50) / 50 * (b ? 1.2f : 1);
        assert_ok(context, qf_file_write(context, path, values, sizeof values, 0644));
        qf_free(path);
    }
}

static qf_data_options raw_data(void)
{
    qf_data_options data = {.size = sizeof data};
    qf_data_set_defaults(&data);
    data.source = "raw";
    return data;
}

static void quantise(const char *prototxt, const char *weights, const char *prefix)
{
    qf_net *net;
    qf_qat_result *result;
    const qf_data_options data = raw_data();
    qf_ptq_options options = {.size = sizeof options};
    assert_ok(context, qf_net_create(context, prototxt, QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, weights));
    qf_net_destroy(net);
    qf_ptq_set_defaults(&options);
    options.model = prototxt;
    options.weights = weights;
    options.data = &data; /* one batch calibrates */
    options.save_path = prefix;
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    qf_context_set_seed(context, 5);
    write_batches();
    write_model("net.prototxt", "ip");
    quantise("net.prototxt", "net.caffemodel", "q/m");
    return 0;
}

static qf_report *make_report(const char *prototxt, const char *weights, const char *prefix,
                              const char *log)
{
    qf_report *report;
    const qf_data_options data = raw_data();
    qf_report_options options = {.size = sizeof options};
    qf_report_set_defaults(&options);
    options.model = prototxt;
    options.weights = weights;
    options.prefix = prefix;
    options.data = &data;
    options.log = log;
    options.batches = BATCHES;
    assert_ok(context, qf_report_create(context, &options, NULL, NULL, NULL, &report));
    return report;
}

/* ---- the same by hand ---- */

/* A layer: weights are (outputs, what one output reads). */
typedef struct by_hand {
    int outputs, reads;
    float *weight, *bias;
    double scale_d, scale_w[8];
    int offset_d, shift[8];
    double codes_weight[512]; /* what the codes stand for */
} by_hand;

static void take_layer(qf_net *net, const qf_record *record, const char *name, by_hand *out)
{
    const qf_record_entry *entry = qf_record_find(record, name);
    const qf_layer *layer = qf_net_find_layer(net, name);
    const float *weight, *bias;
    assert_ok(context, qf_blob_data(layer->params[0].blob, &weight));
    assert_ok(context, qf_blob_data(layer->params[1].blob, &bias));
    out->outputs = qf_blob_dimension(layer->params[0].blob, 0);
    out->reads = (int)qf_blob_count(layer->params[0].blob) / out->outputs;
    out->weight = qf_alloc((size_t)(out->outputs * out->reads), sizeof(float));
    out->bias = qf_alloc((size_t)out->outputs, sizeof(float));
    memcpy(out->weight, weight, (size_t)(out->outputs * out->reads) * sizeof(float));
    memcpy(out->bias, bias, (size_t)out->outputs * sizeof(float));
    out->scale_d = (double)entry->scale_d;
    out->offset_d = entry->offset_d;
    for (int o = 0; o < out->outputs; o++) {
        out->scale_w[o] = (double)entry->scale_w[entry->n_scale_w == 1 ? 0 : o];
        out->shift[o] = (int)entry->shift_bit[entry->n_shift_bit == 1 ? 0 : o];
        for (int i = 0; i < out->reads; i++) {
            const double code = rint((double)out->weight[o * out->reads + i] / out->scale_w[o]);
            out->codes_weight[o * out->reads + i] = fmax(-128, fmin(127, code)) * out->scale_w[o];
        }
    }
}

static double through_codes(const by_hand *l, double x)
{
    const double code = fmax(-128, fmin(127, rint(x / l->scale_d) + l->offset_d));
    return (code - l->offset_d) * l->scale_d;
}

/* Element `i` of what output `at` (0 for a product) of image `n` reads. */
static int place_in(bool convolution, int n, int at, int i)
{
    if (!convolution)
        return n * OUT * TO * TO + i;
    const int c = i / (KERNEL * KERNEL), y = i / KERNEL % KERNEL, x = i % KERNEL;
    return ((n * IN + c) * SIDE + at / TO + y) * SIDE + at % TO + x;
}

/* What is quantised in a computation. */
typedef struct trial {
    bool input, weights, sums;
} trial;

static void compute(const by_hand *l, bool convolution, trial t, const double *x, double *y,
                    double *largest_sum)
{
    const int places = convolution ? TO * TO : 1;
    for (int n = 0; n < IMAGES; n++)
        for (int o = 0; o < l->outputs; o++)
            for (int at = 0; at < places; at++) {
                const double step = l->scale_d * l->scale_w[o], part = ldexp(step, l->shift[o]);
                double sum = (double)l->bias[o];
                if (t.sums)
                    sum = rint(sum / step) * step;
                for (int i = 0; i < l->reads; i++) {
                    const double in = x[place_in(convolution, n, at, i)];
                    const int w = o * l->reads + i;
                    sum += (t.input ? through_codes(l, in) : in) *
                           (t.weights ? l->codes_weight[w] : (double)l->weight[w]);
                }
                if (largest_sum)
                    largest_sum[o] = fmax(largest_sum[o], fabs(sum / step));
                if (t.sums)
                    sum = fmax(-32768, fmin(32767, round(rint(sum / step) * step / part))) * part;
                y[(n * l->outputs + o) * places + at] = sum;
            }
}

typedef struct power {
    double signal, noise;
} power;

static void add(power *p, const double *x, const double *y, int count)
{
    for (int i = 0; i < count; i++) {
        p->signal += x[i] * x[i];
        p->noise += (x[i] - y[i]) * (x[i] - y[i]);
    }
}

static void assert_decibels(double found, const power *expected)
{
    const double value = 10 * log10(expected->signal / expected->noise);
    if (!(fabs(found - value) < 0.05))
        fail_msg("%g dB, expected %g", found, value);
}

/* ---- figures ---- */

static const qf_report_layer *find(const qf_report *report, const char *name)
{
    for (size_t i = 0; i < report->layers; i++)
        if (strcmp(report->layer[i]->name, name) == 0)
            return report->layer[i];
    fail_msg("the report has no layer %s", name);
    return NULL;
}

/* A layer over all batches: what it reads in the float net, and in the quantised one. */
typedef struct measured {
    power weights, input, input_all, output, output_all, from_input, from_weights;
    double largest_sum[8], low, high;
    int outside, inputs;
} measured;

static void measure(const by_hand *l, bool convolution, const double *x, const double *x_all,
                    measured *m, double *y, double *y_all)
{
    const int inputs = convolution ? INPUT : MIDDLE, outputs = convolution ? MIDDLE : END;
    double coded[INPUT + MIDDLE], coded_all[INPUT + MIDDLE], other[MIDDLE + END];
    for (int i = 0; i < inputs; i++) {
        const double below = (-128.5 - l->offset_d) * l->scale_d,
                     above = (127.5 - l->offset_d) * l->scale_d;
        coded[i] = through_codes(l, x[i]);
        coded_all[i] = through_codes(l, x_all[i]);
        m->outside += x[i] < below || x[i] > above;
        m->low = fmin(m->low, x[i]);
        m->high = fmax(m->high, x[i]);
    }
    m->inputs += inputs;
    add(&m->input, x, coded, inputs);
    add(&m->input_all, x, coded_all, inputs);
    compute(l, convolution, (trial){0}, x, y, NULL);
    compute(l, convolution, (trial){true, true, true}, x_all, y_all, m->largest_sum);
    add(&m->output_all, y, y_all, outputs);
    compute(l, convolution, (trial){true, true, true}, x, other, NULL);
    add(&m->output, y, other, outputs);
    compute(l, convolution, (trial){.input = true}, x, other, NULL);
    add(&m->from_input, y, other, outputs);
    compute(l, convolution, (trial){.weights = true}, x, other, NULL);
    add(&m->from_weights, y, other, outputs);
}

static void check_layer(const qf_report_layer *found, const by_hand *l, measured *m)
{
    uint64_t binned = 0;
    for (int i = 0; i < l->outputs * l->reads; i++) {
        const double w = (double)l->weight[i];
        add(&m->weights, &w, &l->codes_weight[i], 1);
    }
    assert_decibels(found->weight_sqnr, &m->weights);
    assert_decibels(found->input_sqnr, &m->input);
    assert_decibels(found->input_sqnr_all, &m->input_all);
    assert_int_equal(found->activation_bits, 8);
    assert_int_equal(found->weight_bits, found->channels ? 8 : 0);
    assert_decibels(found->output_sqnr, &m->output);
    assert_decibels(found->output_sqnr_all, &m->output_all);
    const double rest = fmax(0, m->output.noise - m->from_input.noise - m->from_weights.noise);
    const double sum = m->from_input.noise + m->from_weights.noise + rest;
    assert_true(fabs(found->from_input - m->from_input.noise / sum) < 0.01);
    assert_true(fabs(found->from_weights - m->from_weights.noise / sum) < 0.01);
    assert_true(fabs(found->from_input + found->from_weights + found->from_rest - 1) < 1e-9);
    assert_true(fabs(found->input_low - m->low) < 1e-5 && fabs(found->input_high - m->high) < 1e-5);
    assert_true(fabs(found->saturated - (double)m->outside / m->inputs) < 1e-9);
    for (size_t i = 0; i < found->bins; i++)
        binned += found->bin[i];
    assert_int_equal(binned, m->inputs);
    assert_true(found->histogram_low <= m->low && found->histogram_high >= m->high);
}

static void check_channels(const qf_report_layer *found, const by_hand *l, const measured *m)
{
    assert_int_equal(found->channels, l->outputs);
    for (int o = 0; o < l->outputs; o++) {
        const qf_report_channel *channel = found->channel[o];
        double low = INFINITY, high = -INFINITY;
        for (int i = 0; i < l->reads; i++) {
            low = fmin(low, (double)l->weight[o * l->reads + i]);
            high = fmax(high, (double)l->weight[o * l->reads + i]);
        }
        assert_true(channel->low == low && channel->high == high);
        assert_true(fabs(channel->scale / l->scale_w[o] - 1) < 1e-5);
        assert_int_equal(channel->shift, l->shift[o]);
        assert_false(channel->dead);
        const double headroom = log2(32767.5) + l->shift[o] - log2(m->largest_sum[o]);
        assert_true(fabs(channel->headroom - headroom) < 0.01);
    }
}

static void figures_are_those_of_plain_loops(void **state)
{
    (void)state;
    by_hand conv = {0}, ip = {0};
    measured of_conv = {0}, of_ip = {0};
    qf_net *net;
    qf_record *record;
    qf_report *report = make_report("net.prototxt", "net.caffemodel", "q/m", NULL);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "net.caffemodel"));
    assert_ok(context, qf_record_read(context, "q/m_record.txt", &record));
    take_layer(net, record, "conv", &conv);
    take_layer(net, record, "ip", &ip);
    for (int b = 0; b < BATCHES; b++) {
        qf_buffer bytes = {0};
        char *path = test_format("raw/%d.bin", b);
        double x[INPUT], y[MIDDLE], y_all[MIDDLE], z[END], z_all[END];
        assert_ok(context, qf_file_read(context, path, &bytes));
        for (int i = 0; i < INPUT; i++) {
            float value;
            memcpy(&value, bytes.data + i * 4, 4);
            x[i] = (double)value;
        }
        measure(&conv, true, x, x, &of_conv, y, y_all);
        for (int i = 0; i < MIDDLE; i++) {
            y[i] = fmax(0, y[i]);
            y_all[i] = fmax(0, y_all[i]);
        }
        measure(&ip, false, y, y_all, &of_ip, z, z_all);
        qf_buffer_release(&bytes);
        qf_free(path);
    }
    check_layer(find(report, "conv"), &conv, &of_conv);
    check_layer(find(report, "ip"), &ip, &of_ip);
    check_channels(find(report, "conv"), &conv, &of_conv);
    check_channels(find(report, "ip"), &ip, &of_ip);
    assert_true(find(report, "conv")->saturated > 0); /* the second batch reaches further */
    assert_true(report->layer[0]->output_sqnr <= report->layer[1]->output_sqnr);
    assert_int_equal(report->items, BATCHES * IMAGES);
    assert_true(report->float_speed > 0 && report->deploy_speed > 0);
    const qf_inspected_layer *relu = report->net->layer[2];
    assert_string_equal(relu->treatment, "float");
    assert_string_equal(relu->detail, "this type is not quantised");
    qf_free(conv.weight), qf_free(conv.bias), qf_free(ip.weight), qf_free(ip.bias);
    qf_message_free(record);
    qf_net_destroy(net);
    qf_report_destroy(report);
}

/* ---- JSON ---- */

static json_t *parse(const qf_report *report)
{
    char *text;
    size_t size;
    json_error_t error;
    assert_ok(context, qf_report_render(context, report, QF_REPORT_JSON, &text, &size));
    assert_int_equal(strlen(text), size);
    json_t *root = json_loads(text, 0, &error);
    if (!root)
        fail_msg("line %d: %s", error.line, error.text);
    qf_memory_release(text);
    return root;
}

static void assert_near(const json_t *object, const char *key, double expected)
{
    const json_t *value = json_object_get(object, key);
    if (isnan(expected) ? !json_is_null(value)
                        : !json_is_number(value) ||
                              !(fabs(json_number_value(value) - expected) <= 1e-6 * fabs(expected)))
        fail_msg("%s is not %g", key, expected);
}

static void json_says_the_same(void **state)
{
    (void)state;
    qf_report *report = make_report("net.prototxt", "net.caffemodel", "q/m", NULL);
    qf_report_layer *first = report->layer[0];
    first->loudest_ratio = NAN;
    report->layer[1]->weight_sqnr = INFINITY;
    json_t *root = parse(report);
    const json_t *layers = json_object_get(root, "layers");
    assert_int_equal(json_array_size(layers), report->layers);
    const json_t *layer = json_array_get(layers, 0);
    assert_string_equal(json_string_value(json_object_get(layer, "name")), first->name);
    assert_near(layer, "weight_sqnr", first->weight_sqnr);
    assert_near(layer, "output_sqnr", first->output_sqnr);
    assert_near(layer, "output_sqnr_all", first->output_sqnr_all);
    assert_near(layer, "saturated", first->saturated);
    assert_near(layer, "clip_high", first->clip_high);
    assert_near(layer, "loudest_ratio", NAN);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(layers, 1), "weight_sqnr")), "exact");
    const json_t *counts = json_object_get(json_object_get(layer, "histogram"), "counts");
    assert_int_equal(json_array_size(counts), first->bins);
    for (size_t i = 0; i < first->bins; i++)
        assert_int_equal(json_integer_value(json_array_get(counts, i)), first->bin[i]);
    const json_t *channel = json_array_get(json_object_get(layer, "channels"), 1);
    assert_near(channel, "weight_low", first->channel[1]->low);
    assert_near(channel, "headroom_bits", first->channel[1]->headroom);
    assert_near(json_object_get(root, "summary"), "deploy_bytes", (double)report->deploy_bytes);
    json_decref(root);
    qf_report_destroy(report);
}

static void curves_and_ranges_come_from_the_log(void **state)
{
    (void)state;
    test_write_text(context, "train.log",
                    "I1129 solver.c:1] Iteration 0 (0 iter/s, 0s/20 iters), loss = 2.5\n"
                    "I1129 solver.c:1]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)\n"
                    "I1129 solver.c:1]     Clip range of conv-ip: -1 ... 2\n"
                    "I1129 solver.c:1] Iteration 20 (9 iter/s, 2s/20 iters), loss = 1.5\n"
                    "I1129 solver.c:1]     Clip range of conv-ip: -1.5 ... 2.25\n"
                    "I1129 solver.c:1] Iteration 20, Testing net (#0)\n"
                    "I1129 solver.c:1]     Test net output #0: accuracy = 0.75\n"
                    "I1129 solver.c:1]     Test net output #1: loss = 1.25 (* 1 = 1.25 loss)\n"
                    "a run that was resumed\n"
                    "I1129 solver.c:1] Iteration 20, loss = nan\n"
                    "I1129 solver.c:1]     Clip range of ip: 0 ... 3\n");
    qf_report *report = make_report("net.prototxt", "net.caffemodel", "q/m", "train.log");
    assert_int_equal(report->curves, 3);
    assert_string_equal(report->curve[0]->name, "loss");
    assert_false(report->curve[0]->test);
    assert_int_equal(report->curve[0]->points, 2);
    assert_true(isnan(report->curve[0]->value[1]));
    assert_string_equal(report->curve[1]->name, "accuracy");
    assert_true(report->curve[1]->test && report->curve[1]->value[0] == 0.75);
    assert_int_equal(find(report, "conv")->ranges, 2);
    assert_true(find(report, "conv")->range[1]->low == -1.5);
    assert_int_equal(find(report, "ip")->ranges, 2);
    assert_true(find(report, "ip")->range[1]->high == 3);
    json_decref(parse(report)); /* no NaN in it */
    qf_report_destroy(report);
}

/* ---- histograms ---- */

static uint64_t sum_of(const qf_shown_histogram *shown)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < shown->bins; i++)
        sum += shown->bin[i];
    return sum;
}

/* Bins grow with what comes; nothing is lost, be the values or the range far apart. */
static void histograms_hold_everything(void **state)
{
    (void)state;
    const float values[] = {0, 1e-30f, -2e-30f, 0, 3, -0.5f, 1e30f, NAN, INFINITY, 2.5f};
    const double ranges[][2] = {{-1, 1}, {0, 1e-35}, {-1e38, 1e38}, {0, 0}};
    qf_shown_histogram shown;
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (size_t n = 0; n <= sizeof values / sizeof *values; n++) {
            qf_input_histogram *h = qf_alloc(1, sizeof *h);
            for (size_t i = 0; i < n; i++)
                qf_input_histogram_add(h, &values[i], 1, -1, 2.75);
            qf_input_histogram_show(h, ranges[r][0], ranges[r][1], &shown);
            assert_int_equal(sum_of(&shown), h->count);
            assert_int_equal(h->count + h->odd, n);
            assert_true(shown.bins >= 1 && shown.bins <= QF_SHOWN_BINS);
            if (n > 1)
                assert_true(shown.low <= ranges[r][0] && shown.high >= ranges[r][1] &&
                            shown.low <= h->low && shown.high >= h->high);
            if (n == sizeof values / sizeof *values) {
                assert_int_equal(h->above, 2);
                assert_int_equal(h->zeros, 2);
            }
            qf_free(h);
        }
}

/* ---- hostile names ---- */

static void names_cannot_break_out(void **state)
{
    (void)state;
    char *html;
    size_t size;
    write_model("evil.prototxt", EVIL);
    quantise("evil.prototxt", "evil.caffemodel", "evil/m");
    qf_report *report = make_report("evil.prototxt", "evil.caffemodel", "evil/m", NULL);
    memcpy(report->net->layer[0]->name, "not \xC3 UTF-8", 12);
    json_t *root = parse(report);
    const json_t *net = json_object_get(root, "net");
    assert_string_equal(json_string_value(json_object_get(json_array_get(net, 3), "name")), EVIL);
    assert_string_equal(json_string_value(json_object_get(json_array_get(net, 0), "name")),
                        "not \xEF\xBF\xBD UTF-8");
    assert_ok(context, qf_report_render(context, report, QF_REPORT_HTML, &html, &size));
    assert_null(strstr(html, "alert('x')"));
    assert_null(strstr(html, "layers <b>"));
    assert_int_equal(strlen(html), size);
    qf_memory_release(html);
    json_decref(root);
    qf_report_destroy(report);
}

/* ---- in the terminal ---- */

static char *text_of(qf_report *report)
{
    char *text;
    size_t size;
    assert_ok(context, qf_report_render(context, report, QF_REPORT_TEXT, &text, &size));
    return text;
}

/* What each layer costs the net has columns where it was measured. */
static void costs_are_columns(void **state)
{
    (void)state;
    write_model("evil.prototxt", EVIL);
    quantise("evil.prototxt", "evil.caffemodel", "evil/m");
    qf_report *report = make_report("evil.prototxt", "evil.caffemodel", "evil/m", NULL);
    char *text = text_of(report);
    assert_non_null(strstr(text, "noise is mostly of"));
    assert_null(strstr(text, "costs alone"));
    qf_memory_release(text);
    report->has_sensitivity = true;
    report->layer[0]->alone_loss = 1.25;
    report->layer[0]->float_gain = (double)NAN;
    text = text_of(report);
    assert_non_null(strstr(text, "outside  costs alone  float gains   noise is mostly of\n"));
    assert_non_null(strstr(text, "        1.250            –   "));
    qf_memory_release(text);
    qf_report_destroy(report);
}

static void what_cannot_be_reported(void **state)
{
    (void)state;
    qf_report *report;
    const qf_data_options data = raw_data();
    qf_report_options options = {.size = sizeof options};
    qf_report_set_defaults(&options);
    assert_fails(context, qf_report_create(context, &options, NULL, NULL, NULL, &report),
                 "the prefix of the quantised models are needed");
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.prefix = "nowhere/m";
    options.data = &data;
    assert_fails(context, qf_report_create(context, &options, NULL, NULL, NULL, &report),
                 "nowhere/m_fake_quant_model.prototxt");
    options.prefix = "q/m";
    options.batches = BATCHES + 1;
    assert_fails(context, qf_report_create(context, &options, NULL, NULL, NULL, &report),
                 "Total batches found: 2");
    options.batches = 1;
    options.log = "no.log";
    assert_fails(context, qf_report_create(context, &options, NULL, NULL, NULL, &report),
                 "cannot open no.log");
    assert_null(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_plain_loops),
        cmocka_unit_test(json_says_the_same),
        cmocka_unit_test(curves_and_ranges_come_from_the_log),
        cmocka_unit_test(histograms_hold_everything),
        cmocka_unit_test(names_cannot_break_out),
        cmocka_unit_test(costs_are_columns),
        cmocka_unit_test(what_cannot_be_reported),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
