/* Drawing digits by strokes, and two databases of them. */
#include "data/tools/digits.h"

#include "base/output.h"
#include "data/stores/sample_store.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Strokes on a field of 100 x 140; "x,y" in pairs, -1 lifts the pen. Several ways to write a digit.
 */
enum { POINTS = 40, LIFT = -1, END = -2 };
typedef struct glyph {
    int digit;
    short path[POINTS]; /* x, y, x, y, …; LIFT ends a stroke, END the glyph */
} glyph;

static const glyph glyphs[] = {
    {0, {50, 5, 15, 30, 10, 70, 20, 115, 50, 135, 80, 115, 90, 70, 85, 30, 50, 5, END}},
    {0, {60, 8, 30, 15, 18, 60, 25, 110, 55, 132, 82, 100, 80, 45, 60, 8, 35, 22, END}},
    {1, {50, 5, 50, 135, END}},
    {1, {25, 35, 55, 5, 55, 135, END}},
    {1, {25, 35, 55, 5, 55, 135, LIFT, 25, 135, 85, 135, END}},
    {2, {15, 35, 35, 8, 70, 10, 85, 40, 65, 75, 15, 135, 90, 132, END}},
    {2, {18, 30, 45, 5, 78, 25, 70, 65, 30, 118, 15, 130, 35, 115, 60, 130, 90, 128, END}},
    {3, {15, 20, 50, 5, 80, 25, 75, 55, 45, 66, 80, 80, 88, 108, 55, 135, 12, 120, END}},
    {3, {18, 8, 82, 8, 45, 60, 80, 75, 85, 110, 50, 135, 12, 122, END}},
    {4, {65, 135, 65, 5, 10, 95, 92, 95, END}},
    {4, {25, 8, 18, 75, 80, 75, LIFT, 75, 10, 68, 135, END}},
    {5, {82, 8, 25, 8, 18, 62, 55, 52, 85, 80, 80, 118, 45, 135, 12, 120, END}},
    {5, {22, 10, 20, 60, 60, 55, 82, 90, 60, 132, 15, 125, LIFT, 22, 10, 85, 10, END}},
    {6, {72, 5, 35, 40, 15, 90, 30, 130, 65, 132, 85, 100, 65, 72, 30, 82, 17, 102, END}},
    {6, {60, 5, 25, 60, 18, 105, 45, 135, 78, 115, 72, 80, 40, 75, 20, 100, END}},
    {7, {12, 10, 88, 10, 45, 135, END}},
    {7, {12, 18, 12, 8, 88, 8, 42, 135, LIFT, 30, 70, 80, 70, END}},
    {8, {50, 65, 20, 40,  30, 10,  65, 6,  80, 32, 50, 65,
         15, 95, 28, 130, 70, 132, 86, 98, 50, 65, END}},
    {8, {78, 22, 45, 5, 22, 30, 78, 95, 60, 134, 25, 120, 25, 95, 80, 35, 72, 12, END}},
    {9, {80, 40, 50, 68, 20, 48, 25, 15, 60, 6, 82, 30, 78, 85, 65, 135, END}},
    {9, {78, 35, 45, 62, 20, 40, 40, 8, 75, 15, 78, 50, 70, 110, 35, 135, 20, 122, END}},
};
enum { GLYPHS = sizeof glyphs / sizeof *glyphs };

typedef struct pen {
    float matrix[4], move[2];   /* field → pixels */
    float bend[2], wave, phase; /* the hand is not steady */
    float radius;
} pen;

static const glyph *choose(qf_random *random, int digit)
{
    int ways = 0;
    for (int i = 0; i < GLYPHS; i++)
        ways += glyphs[i].digit == digit;
    int chosen = (int)qf_random_below(random, (uint32_t)ways);
    for (int i = 0; i < GLYPHS; i++)
        if (glyphs[i].digit == digit && chosen-- == 0)
            return &glyphs[i];
    return &glyphs[0];
}

static pen take_pen(qf_random *random)
{
    const float angle = qf_random_gaussian(random, 0, 0.22f),
                slant = qf_random_gaussian(random, 0, 0.25f);
    const float height = qf_random_uniform(random, 0.105f, 0.155f);
    const float width = height * qf_random_uniform(random, 0.7f, 1.35f);
    pen p;
    p.matrix[0] = width * cosf(angle);
    p.matrix[1] = height * (slant * cosf(angle) - sinf(angle));
    p.matrix[2] = width * sinf(angle);
    p.matrix[3] = height * (slant * sinf(angle) + cosf(angle));
    p.move[0] = QF_DIGIT_SIZE / 2.0f + qf_random_gaussian(random, 0, 1.3f);
    p.move[1] = QF_DIGIT_SIZE / 2.0f + qf_random_gaussian(random, 0, 1.3f);
    p.bend[0] = qf_random_gaussian(random, 0, 5);
    p.bend[1] = qf_random_gaussian(random, 0, 5);
    p.wave = qf_random_uniform(random, 0.02f, 0.05f);
    p.phase = qf_random_uniform(random, 0, 6.28f);
    p.radius = qf_random_uniform(random, 0.6f, 1.7f);
    return p;
}

static void place(const pen *p, float x, float y, float out[2])
{
    float bent_x = x - 50 + p->bend[0] * sinf(p->wave * y + p->phase);
    float bent_y = y - 70 + p->bend[1] * sinf(p->wave * x + p->phase);
    out[0] = p->matrix[0] * bent_x + p->matrix[1] * bent_y + p->move[0];
    out[1] = p->matrix[2] * bent_x + p->matrix[3] * bent_y + p->move[1];
}

/* A round dot of ink with a soft edge. */
static void dot(float *ink, const float at[2], float radius)
{
    int reach = (int)ceilf(radius + 1);
    for (int y = (int)at[1] - reach; y <= (int)at[1] + reach; y++)
        for (int x = (int)at[0] - reach; x <= (int)at[0] + reach; x++) {
            if (x < 0 || y < 0 || x >= QF_DIGIT_SIZE || y >= QF_DIGIT_SIZE)
                continue;
            float distance = hypotf((float)x - at[0], (float)y - at[1]);
            float cover = fminf(1, fmaxf(0, radius + 0.5f - distance));
            float *pixel = &ink[y * QF_DIGIT_SIZE + x];
            *pixel = fmaxf(*pixel, cover);
        }
}

static void draw_strokes(const glyph *shape, const pen *p, float *ink)
{
    const short *path = shape->path;
    for (int i = 0; path[i] != END;) {
        if (path[i] == LIFT) {
            i++;
            continue;
        }
        if (path[i + 2] < 0) { /* the last point of a stroke */
            i += 2;
            continue;
        }
        for (int step = 0; step <= 24; step++) {
            float share = (float)step / 24, at[2];
            place(p, (float)path[i] + share * (float)(path[i + 2] - path[i]),
                  (float)path[i + 1] + share * (float)(path[i + 3] - path[i + 1]), at);
            dot(ink, at, p->radius);
        }
        i += 2;
    }
}

static void blur(float *ink, float weight)
{
    float copy[QF_DIGIT_SIZE * QF_DIGIT_SIZE];
    memcpy(copy, ink, sizeof copy);
    for (int y = 1; y < QF_DIGIT_SIZE - 1; y++)
        for (int x = 1; x < QF_DIGIT_SIZE - 1; x++) {
            int at = y * QF_DIGIT_SIZE + x;
            float around =
                copy[at - 1] + copy[at + 1] + copy[at - QF_DIGIT_SIZE] + copy[at + QF_DIGIT_SIZE];
            ink[at] = (1 - weight) * copy[at] + weight * around / 4;
        }
}

/* A blot, or a piece of the digit rubbed out. */
static void stain(qf_random *random, float *ink)
{
    const float at[2] = {qf_random_uniform(random, 4, 24), qf_random_uniform(random, 4, 24)};
    const float radius = qf_random_uniform(random, 1, 3);
    const bool rubbed = qf_random_below(random, 2);
    for (int y = 0; y < QF_DIGIT_SIZE; y++)
        for (int x = 0; x < QF_DIGIT_SIZE; x++)
            if (hypotf((float)x - at[0], (float)y - at[1]) < radius)
                ink[y * QF_DIGIT_SIZE + x] = rubbed ? 0 : 0.8f;
}

void qf_draw_digit(qf_random *random, int digit, uint8_t *pixels)
{
    float ink[QF_DIGIT_SIZE * QF_DIGIT_SIZE] = {0};
    const glyph *shape = choose(random, digit);
    const pen p = take_pen(random);
    draw_strokes(shape, &p, ink);
    if (qf_random_bernoulli(random, 0.3))
        stain(random, ink);
    blur(ink, qf_random_uniform(random, 0, 0.7f));
    const float contrast = qf_random_uniform(random, 0.6f, 1),
                noise = qf_random_uniform(random, 0, 0.15f);
    for (int i = 0; i < QF_DIGIT_SIZE * QF_DIGIT_SIZE; i++) {
        float value = 255 * (contrast * ink[i] + qf_random_gaussian(random, 0, noise));
        pixels[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static qf_status put_digit(qf_context *context, qf_sample_writer *writer, int index, int digit,
                           const uint8_t *pixels)
{
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    char key[16];
    datum.has_channels = datum.has_height = datum.has_width = datum.has_label = datum.has_data =
        true;
    datum.channels = 1;
    datum.height = datum.width = QF_DIGIT_SIZE;
    datum.label = digit;
    datum.data.data = (uint8_t *)pixels;
    datum.data.len = QF_DIGIT_SIZE * QF_DIGIT_SIZE;
    snprintf(key, sizeof key, "%08d", index);
    return qf_sample_writer_put_message(context, writer, key, &datum.base);
}

static qf_status make_set(qf_context *context, const char *path, int count, qf_random *random)
{
    qf_sample_writer *writer;
    QF_TRY(qf_sample_writer_create(context, path, QF_STORE_LMDB, &writer));
    qf_status status = QF_OK;
    for (int i = 0; i < count && status == QF_OK; i++) {
        uint8_t pixels[QF_DIGIT_SIZE * QF_DIGIT_SIZE];
        int digit = (int)qf_random_below(random, 10);
        qf_draw_digit(random, digit, pixels);
        status = put_digit(context, writer, i, digit, pixels);
    }
    qf_status finished = qf_sample_writer_finish(context, writer, status == QF_OK);
    return status == QF_OK ? finished : status;
}

qf_status qf_make_digits(qf_context *context, const char *train_lmdb, const char *test_lmdb,
                         int train_count, int test_count, int64_t seed)
{
    qf_random random, test_random;
    if (train_count < 1 || test_count < 1)
        return qf_fail(context, QF_E_ARGUMENT, "a data set needs at least one image");
    qf_random_seed(&random, (uint64_t)seed);
    test_random = qf_random_fork(&random); /* the test images do not depend on how many train */
    const size_t mark = qf_outputs_begin(context);
    qf_status status = make_set(context, train_lmdb, train_count, &random);
    if (status == QF_OK)
        status = make_set(context, test_lmdb, test_count, &test_random);
    return qf_outputs_end(context, mark, status);
}
