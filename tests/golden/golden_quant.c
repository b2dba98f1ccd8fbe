/* Recorded results of AMCT's published kernels. cases.json is walked; a case of a known kernel
 * needs no code. Kernels that quantisation-aware training does not use are skipped and counted. */
#include "device/cpu/quantise/quantise_loops.h"
#include "harness/recorded_kernels.h"
#include "net/net.h"

#include <math.h>
#include <string.h>

/* ---- the kernels ---- */

static qf_status ulq_forward(run *r)
{
    test_array *x = input(r, "x");
    float *y = x->data;
    const qf_ulq factors = {(float)number(r, "scale"), (int32_t)number(r, "offset"), 255};
    for (size_t i = 0; i < x->count; i++)
        y[i] = qf_ulq_value(y[i], factors);
    give_floats(r, "y", y, x->count);
    return QF_OK;
}

/* One layer in a net of its own, as in training: blobs 'x' and 'y', layer 1. `dims` are the
 * input's. */
static qf_status layer_net(run *r, const char *type, const char *param, const size_t *dims,
                           int axes, qf_net **net)
{
    qf_buffer text = {0};
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    qf_buffer_print(
        &text,
        "force_backward: true layer { name: 'in' type: 'Input' top: 'x' input_param { shape {");
    for (int i = 0; i < axes; i++)
        qf_buffer_print(&text, " dim: %zu", dims[i]);
    qf_buffer_print(&text, " } } } layer { name: 'it' type: '%s' bottom: 'x' top: 'y' %s }", type,
                    param);
    assert_ok(r->context, qf_file_write(r->context, path, text.data, text.size, 0640));
    qf_status status = qf_net_create(r->context, path, QF_TRAIN, 0, NULL, 0, net);
    qf_buffer_release(&text);
    test_remove_directory(folder);
    qf_free(path);
    qf_free(folder);
    return status;
}

static qf_status activation_net(run *r, const test_array *x, qf_net **net)
{
    char *param = test_format(
        "retrain_data_quant_param { clip_max: %.9g clip_min: %.9g fixed_min: %s ifmr_init: %s }",
        number(r, "clip_max"), number(r, "clip_min"), flag(r, "fixed_min") ? "true" : "false",
        flag(r, "ifmr_init") ? "true" : "false");
    qf_status status = layer_net(r, "ActivationQAT", param, x->shape + 1, x->axes - 1, net);
    qf_free(param);
    return status;
}

static float *writable(run *r, qf_blob *blob, bool diff)
{
    float *values;
    assert_ok(r->context, (diff ? qf_blob_mutable_diff : qf_blob_mutable_data)(blob, &values));
    return values;
}

static const float *readable(run *r, qf_blob *blob, bool diff)
{
    const float *values;
    assert_ok(r->context, (diff ? qf_blob_diff : qf_blob_data)(blob, &values));
    return values;
}

static void widen(double *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (double)from[i];
}

static qf_status activation_qat(run *r)
{
    const test_array *x = input(r, "x");
    const bool backward = has_input(r, "dy");
    const test_array *dy = backward ? input(r, "dy") : NULL;
    const test_array *set = has_input(r, "clip_set") ? input(r, "clip_set") : NULL;
    const size_t steps = (size_t)number(r, "steps"), n = x->count / steps;
    qf_net *net;
    QF_TRY(activation_net(r, x, &net));
    qf_blob *in = qf_net_blob(net, "x"), *out = qf_net_blob(net, "y");
    qf_blob *clip[2] = {qf_net_layer_param(net, 1, 0), qf_net_layer_param(net, 1, 1)};
    double *y = give(r, "y", x->count), *dx = give(r, "dx", x->count),
           *d_clip = give(r, "d_clip", 2 * steps);
    double *scale = give(r, "scale", steps), *offset = give(r, "offset", steps),
           *after = give(r, "clip_after", 2 * steps);
    qf_status status = QF_OK;
    for (size_t step = 0; step < steps && status == QF_OK; step++) {
        for (int i = 0; set && i < 2; i++)
            writable(r, clip[i], false)[0] = ((float *)set->data)[2 * step + (size_t)i];
        memcpy(writable(r, in, false), (float *)x->data + step * n, n * sizeof(float));
        status = qf_net_forward(net, NULL);
        if (status != QF_OK)
            break;
        const qf_tensor *codes = out->data;
        scale[step] = (double)codes->code_scale;
        offset[step] = -codes->code_zero;
        widen(y + step * n, readable(r, out, false), n);
        for (int i = 0; i < 2; i++)
            after[2 * step + (size_t)i] = (double)readable(r, clip[i], false)[0];
        if (!backward)
            continue;
        qf_net_clear_param_diffs(net);
        memcpy(writable(r, out, true), (float *)dy->data + step * n, n * sizeof(float));
        status = qf_net_backward(net);
        widen(dx + step * n, readable(r, in, true), n);
        for (int i = 0; i < 2; i++)
            d_clip[2 * step + (size_t)i] = (double)readable(r, clip[i], true)[0];
    }
    qf_net_destroy(net);
    return status;
}

static qf_status activation_qat_factors(run *r)
{
    const test_array *clip = input(r, "clip");
    const float *pair = clip->data;
    double *scale = give(r, "scale", clip->shape[0]), *offset = give(r, "offset", clip->shape[0]);
    for (size_t i = 0; i < clip->shape[0]; i++) {
        qf_ulq factors = qf_ulq_factors(pair[2 * i], pair[2 * i + 1], 8);
        scale[i] = (double)factors.scale;
        offset[i] = factors.offset;
    }
    return QF_OK;
}

static qf_status clip_check(run *r)
{
    const test_array *before = input(r, "before");
    const float *row = before->data;
    double *after = give(r, "after", before->count),
           *restored = give(r, "restored", before->shape[0]);
    for (size_t i = 0; i < before->shape[0]; i++, row += 4) {
        qf_clip clip = {row[0], row[1], row[2], row[3]};
        restored[i] = qf_clip_check(&clip);
        widen(after + 4 * i, (float[]){clip.max, clip.min, clip.previous_max, clip.previous_min},
              4);
    }
    return QF_OK;
}

static qf_status quantise_weights(run *r, const test_array *w, qf_weight_layout layout,
                                  float *scale, bool given_scale)
{
    int8_t *codes = qf_alloc(w->count, 1);
    float *fake = qf_alloc(w->count, sizeof *fake);
    const float *values = w->data;
    qf_status status =
        given_scale ? QF_OK : qf_arq_quantise(r->context, values, layout, 8, scale, codes);
    if (status == QF_OK) {
        for (size_t i = 0; i < w->count; i++) {
            const float step = qf_usable_scale(scale[i / layout.inner % layout.channels]);
            if (given_scale)
                codes[i] = (int8_t)qf_arq_code(values[i], step, 8);
            fake[i] = qf_code_value(codes[i], 0, step);
        }
        give_floats(r, "scale", scale, layout.channels);
        give(r, "offset", layout.channels); /* zeros */
        give_floats(r, "w_fake", fake, w->count);
        double *q = give(r, "q", w->count);
        for (size_t i = 0; i < w->count; i++)
            q[i] = codes[i];
    }
    qf_free(codes);
    qf_free(fake);
    return status;
}

static qf_status arq(run *r)
{
    const test_array *w = input(r, "w");
    const size_t scales = (size_t)number(r, "scales");
    float scale[64] = {0};
    return quantise_weights(r, w, (qf_weight_layout){1, scales, w->count / scales}, scale, false);
}

static qf_status arq_codes(run *r)
{
    const test_array *w = input(r, "w"), *scale = input(r, "scale");
    return quantise_weights(r, w, (qf_weight_layout){1, scale->count, w->count / scale->count},
                            scale->data, true);
}

static qf_status weight_qat(run *r)
{
    const test_array *w = input(r, "w"), *gradient = input(r, "d_wq");
    const size_t *s = w->shape, bytes = w->count * sizeof(float);
    char spatial[64] = "";
    if (w->axes == 4)
        snprintf(spatial, sizeof spatial, "h: %zu w: %zu", s[2], s[3]);
    char *param = test_format("retrain_weight_quant_param { cout: %zu cin: %zu %s channel_wise: %s "
                              "layer_type: '%s' with_offset: false }",
                              s[0], s[1], spatial, flag(r, "channel_wise") ? "true" : "false",
                              json_string_value(param_of(r, "layer_type")));
    qf_net *net;
    qf_status status = layer_net(r, "WeightQAT", param, (size_t[]){1}, 1, &net);
    qf_free(param);
    QF_TRY(status);
    qf_blob *quantised = qf_net_layer_param(net, 1, 0), *master = qf_net_layer_param(net, 1, 1);
    memcpy(writable(r, master, false), w->data, bytes);
    status = qf_net_forward(net, NULL);
    if (status == QF_OK) {
        memcpy(writable(r, quantised, true), gradient->data, bytes);
        status = qf_net_backward(net);
    }
    if (status == QF_OK) {
        give_floats(r, "w_fake", readable(r, quantised, false), w->count);
        give_floats(r, "d_w", readable(r, master, true), w->count);
        give_floats(r, "scale", quantised->data->weight_scale,
                    (size_t)quantised->data->weight_scale_count);
    }
    qf_net_destroy(net);
    return status;
}

/* Runs layer 1 over x and gives y. */
static qf_status run_layer(run *r, qf_net *net, const test_array *x)
{
    memcpy(writable(r, qf_net_blob(net, "x"), false), x->data, x->count * sizeof(float));
    QF_TRY(qf_net_forward(net, NULL));
    give_floats(r, "y", readable(r, qf_net_blob(net, "y"), false), x->count);
    return QF_OK;
}

static qf_status quant_fake(run *r)
{
    const test_array *x = input(r, "x");
    char *param =
        test_format("quant_param { scale: %.9g offset: '\\%03o' }", number(r, "scale_field"),
                    (unsigned)(uint8_t)(int)number(r, "offset"));
    qf_net *net;
    qf_status status = layer_net(r, "Quant", param, x->shape, x->axes, &net);
    qf_free(param);
    QF_TRY(status);
    status = run_layer(r, net, x);
    give_floats(r, "scale", &qf_net_blob(net, "y")->data->code_scale, 1);
    qf_net_destroy(net);
    return status;
}

static qf_status dequant_fake(run *r)
{
    const test_array *x = input(r, "x"), *deq = input(r, "deq_scale"),
                     *shift = input(r, "shift_bit");
    qf_net *net;
    QF_TRY(layer_net(r, "DeQuant", deq->count > 1 ? "dequant_param { channel_wise: true }" : "",
                     x->shape, x->axes, &net));
    memcpy(writable(r, qf_net_layer_param(net, 1, 0), false), deq->data,
           deq->count * sizeof(float));
    float *bits = writable(r, qf_net_layer_param(net, 1, 1), false);
    for (size_t c = 0; c < shift->count; c++)
        bits[c] = (float)((int32_t *)shift->data)[c];
    qf_status status = run_layer(r, net, x);
    qf_net_destroy(net);
    return status;
}

static qf_status search_n_accumulators(run *r)
{
    const test_array *acc = input(r, "acc");
    const size_t channels = acc->shape[0], count = acc->shape[1];
    double *n = give(r, "n_floor", channels),
           *error = give(r, "error_floor", channels * QF_SHIFT_MAX);
    for (size_t c = 0; c < channels; c++) {
        qf_shift_errors errors = {{0}};
        for (size_t i = 0; i < count; i++)
            qf_shift_errors_add(&errors, ((const int32_t *)acc->data)[c * count + i]);
        n[c] = qf_shift_best(&errors);
        memcpy(error + c * QF_SHIFT_MAX, errors.error, sizeof errors.error);
    }
    return QF_OK;
}

static void add_up(qf_shift_errors *to, const qf_shift_errors *from)
{
    for (int k = 0; k < QF_SHIFT_MAX; k++)
        to->error[k] += from->error[k];
}

/* x is (batches, outer, channels, inner). `common`: one shift for all channels. */
static void search(const float *x, const size_t size[4], const float *deq, bool common,
                   qf_shift_errors *errors)
{
    for (size_t c = 0; c < size[2]; c++) {
        errors[c] = (qf_shift_errors){{0}};
        for (size_t b = 0; b < size[0] * size[1]; b++)
            for (size_t i = 0; i < size[3]; i++)
                qf_shift_errors_add(
                    &errors[c], qf_shift_accumulator(x[(b * size[2] + c) * size[3] + i], deq[c]));
        if (common && c)
            add_up(&errors[0], &errors[c]);
    }
    for (size_t c = 1; common && c < size[2]; c++)
        errors[c] = (qf_shift_errors){{0}};
}

static qf_status search_n_layer(run *r)
{
    const test_array *x = input(r, "x"), *scale_w = input(r, "scale_w");
    const float scale_d = (float)number(r, "scale_d");
    const size_t channels = scale_w->count, *s = x->shape;
    const bool convolution = x->axes == 6, single = convolution && s[4] * s[5] == 1;
    const size_t size[4] = {s[0] * s[1], s[2], channels,
                            x->count / (s[0] * s[1] * s[2] * channels)};
    float deq[64] = {0}, largest = 0;
    qf_shift_errors errors[64];
    for (size_t c = 0; c < channels; c++) {
        deq[c] = scale_d * ((float *)scale_w->data)[c];
        largest = fmaxf(largest, ((float *)scale_w->data)[c]);
    }
    for (size_t c = 0; single && c < channels; c++) {
        ((float *)scale_w->data)[c] = largest;
        deq[c] = scale_d * largest;
    }
    search(x->data, size, deq, single, errors);
    double *shift = give(r, "shift_bit", channels);
    for (size_t c = 0; c < channels; c++)
        shift[c] = qf_shift_best(&errors[single ? 0 : c]);
    give_floats(r, "scale_w_after", scale_w->data, channels);
    return QF_OK;
}

static qf_status search_n_accumulating(run *r)
{
    const test_array *x = input(r, "x"), *deq = input(r, "deq_scale");
    const size_t size[4] = {x->shape[0], 1, x->shape[1], x->shape[2]};
    const bool common = flag(r, "broadcast");
    qf_shift_errors errors[64];
    search(x->data, size, deq->data, common, errors);
    double *n = give(r, "n", size[2]), *error = give(r, "error", size[2] * QF_SHIFT_MAX);
    for (size_t c = 0; c < size[2]; c++) {
        n[c] = qf_shift_best(&errors[common ? 0 : c]);
        memcpy(error + c * QF_SHIFT_MAX, errors[c].error, sizeof errors[c].error);
    }
    return QF_OK;
}

static qf_status process_scale(run *r)
{
    const test_array *scale = input(r, "scale");
    const test_array expected =
        load(r, json_object_get(json_object_get(r->test, "expect"), "scale_after"));
    double *ok = give(r, "status_ok", scale->count), *after = give(r, "scale_after", scale->count);
    for (size_t i = 0; i < scale->count; i++) {
        float value = ((float *)scale->data)[i];
        ok[i] = qf_process_scale(r->context, &value) == QF_OK;
        after[i] =
            (double)(ok[i] ? value : ((float *)expected.data)[i]); /* meaningless unless ok */
    }
    qf_free(expected.data);
    return QF_OK;
}

static qf_status bias_quant(run *r)
{
    const test_array *bias = input(r, "bias"), *scale_w = input(r, "scale_w");
    double *codes = give(r, "b_q", bias->count);
    for (size_t i = 0; i < bias->count; i++) {
        int32_t code;
        QF_TRY(qf_bias_code(r->context, ((float *)bias->data)[i], (float)number(r, "scale_d"),
                            ((float *)scale_w->data)[scale_w->count == 1 ? 0 : i], &code));
        codes[i] = code;
    }
    return QF_OK;
}

static qf_status pack_dequant(run *r)
{
    const test_array *deq = input(r, "deq_scale"), *offset = input(r, "offset_w");
    double *low = give(r, "word_low", deq->count), *high = give(r, "word_high", deq->count);
    for (size_t i = 0; i < deq->count; i++) {
        uint64_t word = qf_pack_dequant(((float *)deq->data)[i], 0, ((int32_t *)offset->data)[i]);
        low[i] = (int32_t)(uint32_t)word;
        high[i] = (int32_t)(uint32_t)(word >> 32);
    }
    return QF_OK;
}

static const kernel kernels[] = {
    {"ulq_forward", ulq_forward, ""},
    {"activation_qat", activation_qat,
     "clip_prev_after ifmr_scale ifmr_offset"}, /* inside the layer */
    {"activation_qat_factors", activation_qat_factors, ""},
    {"clip_check", clip_check, ""},
    {"arq", arq, ""},
    {"arq_codes", arq_codes, ""},
    {"weight_qat", weight_qat, "offset"}, /* weights have none */
    {"ifmr", recorded_ifmr, ""},
    {"hfmg", recorded_hfmg, ""},
    {"quant_fake", quant_fake, ""},
    {"dequant_fake", dequant_fake, ""},
    {"search_n_accumulators", search_n_accumulators, "n_truncate error_truncate"}, /* we floor */
    {"search_n_layer", search_n_layer, ""},
    {"search_n_accumulating", search_n_accumulating, ""},
    {"process_scale", process_scale, ""},
    {"bias_quant", bias_quant, ""},
    {"pack_dequant", pack_dequant, ""},
};

/* Eight bits, and weights without offset: AMCT's training knows nothing else. */
static bool applies(const run *r)
{
    const json_t *bits = param_of(r, "bits");
    const char *kernel = json_string_value(json_object_get(r->test, "kernel"));
    if (bits && json_number_value(bits) != 8 && strcmp(kernel, "ifmr") != 0)
        return false;
    /* a weight scale of 0 cannot come out of ARQ */
    if (strcmp(kernel, "search_n_layer") == 0 && json_object_get(r->test, "error"))
        return false;
    if (strcmp(kernel, "process_scale") == 0)
        return strcmp(json_string_value(param_of(r, "type")), "float32") == 0;
    if (strcmp(kernel, "arq") != 0)
        return true;
    const json_t *error = json_object_get(json_object_get(r->test, "error"), "reason");
    /* shapes that a qf_weight_layout cannot express */
    return !flag(r, "with_offset") &&
           !(error && strstr("length_not_divisible_by_scales per_tensor_needs_one_scale",
                             json_string_value(error)));
}

static void every_case(void **state)
{
    (void)state;
    test_walk_kernels("quant", kernels, sizeof kernels / sizeof *kernels, applies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
