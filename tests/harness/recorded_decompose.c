/* The decomposition of convolutions, as recorded. */
#include "harness/recorded_kernels.h"

#include "toolkit/decompose/two_kernels.h"

#include <string.h>

enum { MOST_ROWS = 64 };

qf_status recorded_decompose_mode(run *r)
{
    const test_array *rows = input(r, "conv");
    const size_t count = rows->shape[0];
    int32_t mode[MOST_ROWS];
    assert_true(count <= MOST_ROWS);
    for (size_t i = 0; i < count; i++) {
        const int32_t *c = (const int32_t *)rows->data + 9 * i;
        mode[i] = (int32_t)qf_decompose_mode_of(
            &(qf_convolution_form){c[1], c[0], {c[2], c[3]}, {c[4], c[5]}, {c[7], c[8]}, c[6]});
    }
    give_ints(r, "mode", mode, count);
    return QF_OK;
}

qf_status recorded_decompose_rank(run *r)
{
    const test_array *rows = input(r, "conv");
    const int32_t *length = input(r, "length")->data;
    const double *singular = input(r, "s")->data;
    const size_t count = rows->shape[0];
    int32_t rank[MOST_ROWS];
    assert_true(count <= MOST_ROWS);
    for (size_t i = 0; i < count; i++) {
        const int32_t *c = (const int32_t *)rows->data + 4 * i;
        const qf_convolution_form form = {.outputs = c[1], .inputs = c[0], .kernel = {c[2], c[3]}};
        size_t estimate;
        rank[i] = (int32_t)qf_decompose_rank(&form, singular, (size_t)length[i], &estimate);
        singular += length[i];
    }
    give_ints(r, "rank", rank, count);
    return QF_OK;
}

qf_status recorded_decompose_evbmf(run *r)
{
    const test_array *sizes = input(r, "size");
    const double *singular = input(r, "s")->data;
    const size_t count = sizes->shape[0];
    int32_t rank[MOST_ROWS];
    assert_true(count <= MOST_ROWS);
    for (size_t i = 0; i < count; i++) {
        const int32_t *size = (const int32_t *)sizes->data + 2 * i;
        rank[i] = (int32_t)qf_evbmf_rank((size_t)size[0], (size_t)size[1], singular);
        singular += size[0];
    }
    give_ints(r, "rank", rank, count);
    return QF_OK;
}

/* The kernel that the two together are. */
static void give_merged(run *r, const qf_factors *f)
{
    const int *a = f->first.shape, *b = f->last.shape;
    const int height = a[2] * b[2], width = a[3] * b[3];
    double *merged = give(r, "merged", (size_t)(b[0] * a[1] * height * width));
    for (int o = 0; o < b[0]; o++)
        for (int i = 0; i < a[1]; i++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    double sum = 0;
                    for (int k = 0; k < a[0]; k++) {
                        const int first = ((k * a[1] + i) * a[2] + y % a[2]) * a[3] + x % a[3];
                        const int last = ((o * b[1] + k) * b[2] + y % b[2]) * b[3] + x % b[3];
                        sum += (double)f->first.values[first] * (double)f->last.values[last];
                    }
                    *merged++ = sum;
                }
}

static void pair_of(const run *r, const char *name, int out[2])
{
    for (size_t i = 0; i < 2; i++)
        out[i] = (int)json_integer_value(json_array_get(param_of(r, name), i));
}

qf_status recorded_decompose_weights(run *r)
{
    const test_array *w = input(r, "w");
    qf_convolution_form form = {.outputs = (int)w->shape[0],
                                .inputs = (int)w->shape[1],
                                .kernel = {(int)w->shape[2], (int)w->shape[3]},
                                .group = (int)number(r, "group")};
    pair_of(r, "stride", form.stride);
    pair_of(r, "dilation", form.dilation);
    const qf_decompose_mode mode = qf_decompose_mode_of(&form);
    qf_factors factors;
    qf_status status = qf_decompose_weights(r->context, &form, mode, w->data, &factors);
    if (status == QF_OK) {
        give_ints(r, "mode", &(int32_t){(int32_t)mode}, 1);
        give_ints(r, "rank", &(int32_t){(int32_t)factors.rank}, 1);
        give_ints(r, "first_shape", factors.first.shape, 4);
        give_ints(r, "last_shape", factors.last.shape, 4);
        memcpy(give(r, "singular_values", factors.length), factors.singular,
               factors.length * sizeof *factors.singular);
        give_merged(r, &factors);
    }
    qf_factors_release(&factors);
    return status;
}
