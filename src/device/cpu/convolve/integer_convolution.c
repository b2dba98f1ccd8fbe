/* Convolutions of codes by tiles of sums that are requantised at once. */
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/convolve/onednn_convolution.h"

#include "device/cpu/multiply/dot_product.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <omp.h>
#include <string.h>

enum {
    INPUT_BYTES = 1 << 17,   /* of a band: a part of a core's cache, which weights need too */
    OUTPUT_VALUES = 1 << 16, /* and so many of its output */
    BAND_TILES = 64,         /* at most: their addresses lie in the nearest cache */
    SINGLE_THREAD_PRODUCTS = 1 << 19, /* so few take less time than waking another thread */
    LONGEST_ROW = 8 * BAND_TILES * QF_DOT_ROWS, /* whole rows are copied for each band */
};

struct qf_integer_convolution {
    qf_convolution_shape shape; /* always two axes; a pointwise one is one long row */
    bool depthwise;             /* a tile of channels reads the same channels only */
    qf_dot_tile tile;
    qf_dot_operands operands;
    size_t *tap;
    bool copied;       /* inputs are copied, with a border of zero points and room to read on */
    size_t row, image; /* bytes of the input */
    size_t width;      /* bytes of a row that positions read, with its border */
    size_t per_image;  /* positions */
    size_t band;       /* positions done at once, a multiple of QF_DOT_ROWS */
    size_t depth;      /* bytes of weights of one channel, as packed */
    int8_t *weights;   /* (block of QF_DOT_COLUMNS channels, tap, step, lane, 4) */
    int32_t *weight_sums;
    uint64_t version;
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t rounded_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* Bytes of input that a window spans along an axis, in pixels. */
static size_t extent(const qf_convolution_shape *s, int axis)
{
    return (size_t)(s->dilation[axis] * (s->kernel[axis] - 1) + 1);
}

static bool is_depthwise(const qf_convolution_shape *s)
{
    return s->groups > 1 && s->groups == s->in_channels && s->groups == s->out_channels;
}

const char *qf_integer_convolution_refuses(const qf_convolution_shape *s)
{
    return !qf_dot_tile_fast()                         ? QF_LACKS "AVX-512 VNNI"
           : s->groups > 1 && !is_depthwise(s)         ? "groups of several channels"
           : s->spatial_axes > 2                       ? "three axes"
           : s->out[s->spatial_axes - 1] > LONGEST_ROW ? "rows that are too long"
                                                       : NULL;
}

qf_status qf_tiles_accept(qf_context *context, const void *of, const char **no)
{
    (void)context;
    *no = qf_integer_convolution_refuses(&((const convolve_call *)of)->c->shape);
    return QF_OK;
}

/* ---- creating ---- */

static bool is_pointwise(const qf_convolution_shape *s)
{
    for (int i = 0; i < s->spatial_axes; i++)
        if (s->kernel[i] != 1 || s->stride[i] != 1 || s->pad[i] != 0 || s->pad_end[i] != 0)
            return false;
    return true;
}

/* Two axes; where every position reads one pixel, a single row of positions. */
static qf_convolution_shape normalised(const qf_convolution_shape *shape)
{
    qf_convolution_shape s = *shape;
    if (s.spatial_axes == 1) {
        s.spatial_axes = 2;
        for (int *const *axes = (int *const[]){s.in, s.out, s.kernel, s.stride, s.dilation, NULL};
             *axes; axes++) {
            (*axes)[1] = (*axes)[0];
            (*axes)[0] = 1;
        }
        s.pad[1] = s.pad[0];
        s.pad_end[1] = s.pad_end[0];
        s.pad[0] = s.pad_end[0] = 0;
    }
    if (s.groups == 1 && is_pointwise(&s) && s.in_channels % QF_DOT_DEPTH == 0) {
        s.in[1] = s.out[1] = s.batch * s.out[0] * s.out[1];
        s.in[0] = s.out[0] = s.batch = 1;
    }
    return s;
}

/* Kernel columns that lie side by side are one run of bytes. */
static bool joins_columns(const qf_integer_convolution *c)
{
    return c->shape.dilation[1] == 1 && !c->depthwise;
}

static qf_status make_taps(qf_context *context, qf_integer_convolution *c)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t channels = (size_t)s->in_channels, rows = (size_t)s->kernel[0];
    const bool joined = joins_columns(c);
    const size_t columns = joined ? 1 : (size_t)s->kernel[1];
    const size_t run = joined ? channels * (size_t)s->kernel[1] : channels;
    c->copied |= run % (c->depthwise ? QF_DOT_COLUMNS : QF_DOT_DEPTH) != 0;
    /* Depthwise, taps come by the word; those too many have weights of 0. */
    c->tap = qf_alloc(rounded_up(rows * columns, QF_DOT_DEPTH), sizeof *c->tap);
    if (!c->tap)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    const size_t row_step = (size_t)s->dilation[0] * (c->copied ? c->width : c->row);
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            c->tap[row * columns + column] =
                row * row_step + column * (size_t)s->dilation[1] * channels;
    c->operands = (qf_dot_operands){c->tap, rounded_up(rows * columns, QF_DOT_DEPTH), 1};
    if (!c->depthwise)
        c->operands =
            (qf_dot_operands){c->tap, rows * columns, rounded_up(run, QF_DOT_DEPTH) / QF_DOT_DEPTH};
    c->depth = c->operands.taps * (c->depthwise ? 1 : c->operands.steps * QF_DOT_DEPTH);
    return QF_OK;
}

static qf_status set_up(qf_context *context, qf_integer_convolution *c)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t channels = (size_t)s->in_channels, outputs = (size_t)s->out_channels;
    size_t reach[2]; /* pixels that positions read, borders included */
    for (int i = 0; i < 2; i++) {
        reach[i] = (size_t)(s->out[i] - 1) * (size_t)s->stride[i] + extent(s, i);
        c->copied |= s->pad[i] > 0 || reach[i] > (size_t)s->in[i];
    }
    c->depthwise = is_depthwise(s);
    c->width = reach[1] * channels;
    c->row = (size_t)s->in[1] * channels;
    c->image = (size_t)s->in[0] * c->row;
    c->per_image = (size_t)s->out[0] * (size_t)s->out[1];
    c->tile = c->depthwise ? qf_depthwise_tile_fast() : qf_dot_tile_fast();
    QF_TRY(make_taps(context, c));
    const size_t position = channels * (size_t)s->stride[0] * (size_t)s->stride[1];
    const size_t tiles = smaller(INPUT_BYTES / position, OUTPUT_VALUES / outputs) / QF_DOT_ROWS;
    c->band = QF_DOT_ROWS * (tiles < 8 ? 8 : smaller(tiles, BAND_TILES));
    c->weights = qf_alloc(rounded_up(outputs, QF_DOT_COLUMNS), c->depth);
    c->weight_sums = qf_alloc(outputs, sizeof *c->weight_sums);
    return c->weights && c->weight_sums
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for %zu weights", outputs * c->depth);
}

void qf_integer_convolution_destroy(qf_integer_convolution *c)
{
    if (!c)
        return;
    qf_free(c->tap);
    qf_free(c->weights);
    qf_free(c->weight_sums);
    qf_free(c);
}

static qf_status create(qf_context *context, const qf_convolution_shape *shape,
                        qf_integer_convolution **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    (*out)->shape = normalised(shape);
    const qf_status status = set_up(context, *out);
    if (status != QF_OK) {
        qf_integer_convolution_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* ---- weights ---- */

/* Of the block that begins with this channel. */
static int count_vectors(const qf_integer_convolution *c, size_t channel)
{
    const size_t left = (size_t)c->shape.out_channels - channel;
    return (int)(rounded_up(smaller(left, QF_DOT_COLUMNS), QF_DOT_LANES) / QF_DOT_LANES);
}

static void pack_depthwise_channel(qf_integer_convolution *c, const int8_t *w, size_t channel)
{
    const size_t kernel = (size_t)c->shape.kernel[0] * (size_t)c->shape.kernel[1];
    int8_t *packed = c->weights + channel / QF_DOT_COLUMNS * QF_DOT_COLUMNS * c->depth;
    int32_t sum = 0;
    for (size_t k = 0; k < kernel; k++) {
        packed[qf_depthwise_place(k, channel % QF_DOT_COLUMNS)] = w[k];
        sum += w[k];
    }
    c->weight_sums[channel] = sum;
}

static void pack_channel(qf_integer_convolution *c, const int8_t *w, size_t step, size_t channel)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t channels = (size_t)s->in_channels, columns = (size_t)s->kernel[1];
    const size_t kernel = (size_t)s->kernel[0] * columns;
    const size_t block = channel / QF_DOT_COLUMNS * QF_DOT_COLUMNS, lane = channel - block;
    const size_t lanes = (size_t)count_vectors(c, block) * QF_DOT_LANES;
    const bool joined = joins_columns(c);
    const size_t run = c->operands.steps * QF_DOT_DEPTH;
    int8_t *packed = c->weights + block * c->depth;
    int32_t sum = 0;
    for (size_t k = 0; k < kernel; k++)
        for (size_t i = 0; i < channels; i++) {
            const size_t at = joined ? k / columns * run + k % columns * channels + i : k * run + i;
            const int8_t weight = w[(i * kernel + k) * step];
            packed[(at / QF_DOT_DEPTH * lanes + lane) * QF_DOT_DEPTH + at % QF_DOT_DEPTH] = weight;
            sum += weight;
        }
    c->weight_sums[channel] = sum;
}

static void load_weights(qf_integer_convolution *c, const int8_t *w, bool transposed,
                         uint64_t version)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t outputs = (size_t)s->out_channels, inputs = (size_t)(s->in_channels / s->groups) *
                                                             (size_t)s->kernel[0] *
                                                             (size_t)s->kernel[1];
    if (c->version == version)
        return;
#pragma omp parallel for schedule(static) if (qf_repays_threads(outputs * inputs))
    for (size_t channel = 0; channel < outputs; channel++)
        if (c->depthwise)
            pack_depthwise_channel(c, w + channel * inputs, channel);
        else
            pack_channel(c, transposed ? w + channel : w + channel * inputs,
                         transposed ? outputs : 1, channel);
    c->version = version;
}

/* ---- the addresses of positions ---- */

/* Input rows first … first + rows − 1 with their border; those outside the image are all border. */
static void copy_rows(const qf_integer_convolution *c, const uint8_t *image, int zero,
                      ptrdiff_t first, size_t rows, uint8_t *to)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t left = smaller((size_t)s->pad[1] * (size_t)s->in_channels, c->width),
                 inside = smaller(c->row, c->width - left);
    for (size_t row = 0; row < rows; row++, to += c->width) {
        const ptrdiff_t from = first + (ptrdiff_t)row;
        if (from < 0 || from >= s->in[0]) {
            memset(to, zero, c->width);
            continue;
        }
        memset(to, zero, left);
        memcpy(to + left, image + (size_t)from * c->row, inside);
        memset(to + left + inside, zero, c->width - left - inside);
    }
    memset(to, zero, QF_DOT_COLUMNS); /* which the last run may read on to */
}

/* Bytes of the copies that positions of a band need: rows of as many images as it may touch. */
static size_t copy_bytes(const qf_integer_convolution *c)
{
    const qf_convolution_shape *s = &c->shape;
    if (!c->copied)
        return 0;
    const size_t images = smaller((c->band - 2) / c->per_image + 2, (size_t)s->batch);
    const size_t out_rows = c->band / (size_t)s->out[1] + 2 * images;
    const size_t all = images * (size_t)s->out[0];
    return (smaller(out_rows, all) * (size_t)s->stride[0] + images * extent(s, 0)) * c->width +
           images * QF_DOT_COLUMNS;
}

/* Addresses of `count` positions from `first` on, filled up to a whole tile with the last one. */
static void find_positions(const qf_integer_convolution *c, const uint8_t *x, int zero,
                           size_t first, size_t count, uint8_t *copy, const uint8_t **position)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t columns = (size_t)s->out[1], end = first + count;
    const size_t column_step = (size_t)s->stride[1] * (size_t)s->in_channels,
                 row_step = (size_t)s->stride[0] * (c->copied ? c->width : c->row);
    size_t found = 0;
    while (first < end) {
        const size_t image = first / c->per_image, begin = first - image * c->per_image,
                     here = smaller(c->per_image - begin, end - first);
        const size_t row = begin / columns, rows = (begin + here - 1) / columns - row + 1;
        const uint8_t *from = x + image * c->image;
        if (c->copied) {
            const size_t needed = (rows - 1) * (size_t)s->stride[0] + extent(s, 0);
            copy_rows(c, from, zero, (ptrdiff_t)row * s->stride[0] - s->pad[0], needed, copy);
            from = copy;
            copy += needed * c->width + QF_DOT_COLUMNS;
        } else {
            from += row * row_step;
        }
        for (size_t column = begin - row * columns, left = here; left > 0; column = 0) {
            const size_t n = smaller(columns - column, left);
            for (size_t i = 0; i < n; i++)
                position[found++] = from + (column + i) * column_step;
            from += row_step;
            left -= n;
        }
        first += here;
    }
    for (; found % QF_DOT_ROWS; found++)
        position[found] = position[found - 1];
}

/* ---- running ---- */

typedef struct job {
    const qf_integer_convolution *c;
    const uint8_t *x;
    int zero;
    const int32_t *start;    /* of each channel: what a sum begins with */
    const qf_requantiser *q; /* or NULL */
    int32_t *y;              /* then */
} job;

static void hand_over(const job *j, const qf_sum_tile *t, size_t all)
{
    if (j->q) {
        j->q->tile(j->q, t);
        return;
    }
    for (size_t row = 0; row < t->rows; row++)
        memcpy(j->y + (t->row + row) * all + t->channel, t->sums + row * t->stride,
               t->channels * sizeof *t->sums);
}

/* `bytes` on, the last tile whole. */
static void move_positions(const uint8_t **position, size_t count, size_t bytes)
{
    for (size_t i = 0; bytes && i < rounded_up(count, QF_DOT_ROWS); i++)
        position[i] += bytes;
}

/* Positions first … first + count − 1, channels of the blocks block … end − 1. */
static void run_band(const job *j, size_t first, size_t count, size_t block, size_t end,
                     uint8_t *copy)
{
    const qf_integer_convolution *c = j->c;
    const size_t outputs = (size_t)c->shape.out_channels;
    const uint8_t *position[BAND_TILES * QF_DOT_ROWS];
    _Alignas(64) int32_t sums[QF_DOT_ROWS * QF_DOT_COLUMNS];
    find_positions(c, j->x, j->zero, first, count, copy, position);
    move_positions(position, count, c->depthwise ? block * QF_DOT_COLUMNS : 0);
    for (; block < end; block++) {
        const size_t channel = block * QF_DOT_COLUMNS;
        const int vectors = count_vectors(c, channel);
        for (size_t p = 0; p < count; p += QF_DOT_ROWS) {
            const qf_sum_tile tile = {sums,      QF_DOT_COLUMNS,
                                      first + p, smaller(QF_DOT_ROWS, count - p),
                                      channel,   smaller(QF_DOT_COLUMNS, outputs - channel)};
            c->tile(position + p, &c->operands, c->weights + channel * c->depth, j->start + channel,
                    vectors, sums);
            hand_over(j, &tile, outputs);
        }
        move_positions(position, count, c->depthwise ? QF_DOT_COLUMNS : 0);
    }
}

/* Do threads share the channels, or (the rule) the positions? What keeps the slowest less busy;
 * else what reads less. */
static bool shares_channels(const qf_integer_convolution *c, size_t tiles, size_t blocks,
                            size_t threads)
{
    const size_t by_position = rounded_up(tiles, threads) / threads * blocks,
                 by_channel = tiles * (rounded_up(blocks, threads) / threads);
    return by_position != by_channel
               ? by_channel < by_position
               : (size_t)c->shape.out_channels * c->depth > (size_t)c->shape.batch * c->image;
}

static void run_part(const job *j, size_t thread, size_t threads, uint8_t *copy)
{
    const qf_integer_convolution *c = j->c;
    const size_t positions = (size_t)c->shape.batch * c->per_image;
    const size_t tiles = rounded_up(positions, QF_DOT_ROWS) / QF_DOT_ROWS,
                 blocks =
                     rounded_up((size_t)c->shape.out_channels, QF_DOT_COLUMNS) / QF_DOT_COLUMNS;
    size_t tile = 0, last = tiles, block = 0, end = blocks;
    if (shares_channels(c, tiles, blocks, threads)) {
        block = blocks * thread / threads;
        end = blocks * (thread + 1) / threads;
    } else {
        tile = tiles * thread / threads;
        last = tiles * (thread + 1) / threads;
    }
    const size_t stop = smaller(last * QF_DOT_ROWS, positions);
    for (size_t p = tile * QF_DOT_ROWS; p < stop && block < end; p += c->band)
        run_band(j, p, smaller(c->band, stop - p), block, end, copy);
}

static qf_status run(qf_context *context, const qf_integer_convolution *c, const uint8_t *x,
                     int zero, const int32_t *bias, const qf_requantiser *q, int32_t *y)
{
    const qf_convolution_shape *s = &c->shape;
    const size_t outputs = (size_t)s->out_channels, lanes = rounded_up(outputs, QF_DOT_LANES);
    const size_t products = (size_t)s->batch * c->per_image * outputs * c->depth;
    const int threads = products <= SINGLE_THREAD_PRODUCTS ? 1 : omp_get_max_threads();
    const size_t copy = rounded_up(copy_bytes(c), 64),
                 starts = rounded_up(lanes * sizeof(int32_t), 64);
    qf_array *scratch = qf_array_take(context, starts + (size_t)threads * copy);
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    int32_t *start = scratch->bytes;
    memset(start, 0, starts);
    /* Σ (code − zero) · weight + bias, modulo 2^32 on the way. */
    for (size_t i = 0; i < outputs; i++)
        start[i] = (int32_t)((bias ? (uint32_t)bias[i] : 0) -
                             (uint32_t)zero * (uint32_t)c->weight_sums[i]);
    const job j = {c, x, zero, start, q, y};
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const size_t thread = (size_t)omp_get_thread_num();
        run_part(&j, thread, (size_t)omp_get_num_threads(),
                 (uint8_t *)scratch->bytes + starts + thread * copy);
    }
    qf_array_release(scratch);
    return QF_OK;
}

qf_status qf_integer_convolution_forward(qf_context *context, qf_integer_convolution **c,
                                         const qf_convolution_shape *shape, qf_tensor *x,
                                         qf_tensor *w, bool transposed, qf_tensor *bias,
                                         const qf_requantiser *q, int32_t *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    const int32_t *bias_values = NULL;
    if (!*c)
        QF_TRY(create(context, shape, c));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    if (bias)
        QF_TRY(qf_tensor_read(context, bias, QF_INTEGERS, &bias_values));
    load_weights(*c, weights, transposed, w->version);
    return run(context, *c, codes, x->code_zero, bias_values, q, y);
}
