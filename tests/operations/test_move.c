/* Rows of moves, against places that are computed here, one by one, from the description. */
#include "operations/rows.h"

#include <string.h>

/* ---- strided copies ---- */

enum { MOST_AXES = 6 };

typedef struct axis {
    int extent, from, to;
} axis;

typedef struct shape {
    const char *name;
    int axes;
    axis axis[MOST_AXES];
    int from_offset, to_offset;
    bool adds_only; /* steps of 0 in `to` */
    /* Picking. */
    int planes, rows, picks, size;
} shape;

static const shape shapes[] = {
    {"one-value", 0, {{0}}, 3, 2, false, 1, 1, 1, 1},
    {"one-run", 2, {{7, 9, 9}, {9, 1, 1}}, 0, 0, false, 1, 5, 3, 64},
    {"part-of-rows", 2, {{300, 130, 200}, {130, 1, 1}}, 0, 31, false, 3, 5, 9, 1},
    {"part-of-long-rows", 3, {{3, 40000, 40020}, {5, 1, 1}, {3, 5, 5}}, 2, 1, false, 2, 4, 4, 3},
    {"transposed", 3, {{4, 65 * 33, 65 * 33}, {65, 1, 33}, {33, 65, 1}}, 0, 0, false, 4, 3, 0, 2},
    {"backwards", 3, {{3, -35, 35}, {5, 7, 7}, {7, -1, 1}}, 2 * 35 + 6, 0, false, 2, 1, 9, 4},
    {"repeated", 3, {{5, 70, 210}, {3, 0, 70}, {70, 1, 1}}, 0, 0, false, 0, 2, 2, 2},
    {"repeated-values", 3, {{9, 4, 12}, {4, 1, 3}, {3, 0, 1}}, 0, 0, false, 7, 11, 13, 1},
    {"summed-rows", 3, {{5, 210, 70}, {3, 70, 0}, {70, 1, 1}}, 0, 0, true, 3, 3, 70, 3},
    {"summed-values", 3, {{9, 12, 4}, {4, 3, 1}, {3, 1, 0}}, 0, 0, true, 1, 2, 40, 999},
    {"summed-outside", 2, {{700, 90, 0}, {90, 1, 1}}, 0, 0, true, 2, 64, 700, 33},
    {"summed-twice", 4, {{6, 60, 0}, {4, 15, 5}, {3, 5, 0}, {5, 1, 1}}, 1, 2, true, 1, 8, 8, 8},
    {"nothing", 3, {{4, 5, 5}, {0, 3, 3}, {5, 1, 1}}, 0, 0, false, 2, 3, 4, 0},
    {"shuffled", 3, {{501, 116, 116}, {2, 58, 1}, {58, 1, 2}}, 0, 0, false, 5, 1, 1, 7},
    {"window", 4, {{6, 90, 12}, {2, 18, 6}, {3, 2, 2}, {2, 1, 1}}, 20, 0, false, 1, 90, 77, 2},
};

/* In a random order each axis gets a step beyond what those before it fill. */
static void draw_steps(shape *s, bool target)
{
    int order[MOST_AXES], step = 1;
    for (int i = 0; i < s->axes; i++) {
        const int j = rows_between(0, i);
        order[i] = order[j];
        order[j] = i;
    }
    if (rows_chance(0.5)) /* C order, where axes become one */
        for (int i = 0; i < s->axes; i++)
            order[i] = s->axes - 1 - i;
    for (int i = 0; i < s->axes; i++) {
        axis *a = &s->axis[order[i]];
        int *mine = target ? &a->to : &a->from, *offset = target ? &s->to_offset : &s->from_offset;
        const bool none = rows_chance(0.15) && (!target || s->adds_only);
        *mine = none ? 0 : step;
        if (none)
            continue;
        step *= a->extent;
        if (rows_chance(0.3))
            step += rows_between(1, 3);
        if (rows_chance(0.2)) {
            *offset += *mine * (a->extent - 1);
            *mine = -*mine;
        }
    }
}

static void draw(void *to)
{
    shape *s = to;
    const int most[MOST_AXES + 1] = {1, 60000, 250, 40, 14, 8, 6};
    *s = (shape){.axes = rows_between(1, MOST_AXES),
                 .from_offset = rows_between(0, 9),
                 .to_offset = rows_between(0, 9),
                 .adds_only = rows_chance(0.4),
                 .planes = rows_between(1, 9),
                 .rows = rows_between(1, 90),
                 .picks = rows_between(1, 90),
                 .size = rows_chance(0.3) ? 1 : rows_between(1, 70)};
    for (int i = 0; i < s->axes; i++)
        s->axis[i].extent = rows_chance(0.15) ? 1 : rows_between(1, most[s->axes]);
    draw_steps(s, false);
    draw_steps(s, true);
}

static size_t places_of(const shape *s)
{
    size_t places = 1;
    for (int i = 0; i < s->axes; i++)
        places *= (size_t)s->axis[i].extent;
    return places;
}

/* The place of index `at`, counted in C order, in one of the arrays. */
static size_t place(const shape *s, size_t at, bool target)
{
    ptrdiff_t result = target ? s->to_offset : s->from_offset;
    for (int i = s->axes - 1; i >= 0; i--) {
        const size_t extent = (size_t)s->axis[i].extent;
        result += (ptrdiff_t)(at % extent) * (target ? s->axis[i].to : s->axis[i].from);
        at /= extent;
    }
    return (size_t)result;
}

/* Four axes with room for all places and some more: the two orders differ. */
static qf_tensor *tensor_for(const shape *s, bool target)
{
    size_t end = 1;
    for (size_t at = 0; at < places_of(s); at++)
        end = place(s, at, target) + 1 > end ? place(s, at, target) + 1 : end;
    return rows_tensor(4, (int[]){2, 5, 1 + (int)end / 30, 3});
}

static qf_move move_of(const shape *s, qf_move_mode mode, qf_form from, qf_form to)
{
    qf_move m = qf_move_begin(mode, from);
    m.to_form = to;
    m.from_offset = (size_t)s->from_offset;
    m.to_offset = (size_t)s->to_offset;
    for (int i = 0; i < s->axes; i++)
        qf_move_along(&m, (size_t)s->axis[i].extent, s->axis[i].from, s->axis[i].to);
    return m;
}

static qf_form random_order(void)
{
    return rows_chance(0.5) ? QF_PLAIN : QF_NHWC;
}

/* The floats of one order, as a copy that the caller frees. */
static float *floats_of(qf_tensor *tensor, qf_form form)
{
    const size_t count = qf_shape_count(&tensor->shape);
    const float *values;
    float *copy = qf_alloc_raw(count + 1, sizeof *copy);
    assert_non_null(copy);
    assert_ok(context, qf_read(context, tensor, form, &values));
    memcpy(copy, values, count * sizeof *copy);
    return copy;
}

/* `known`: which elements count; NULL: all. */
static void assert_bits(const float *found, const float *expected, const bool *known, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((!known || known[i]) && memcmp(&found[i], &expected[i], sizeof *found) != 0)
            fail_msg("place %zu holds %.9g, expected %.9g", i, (double)found[i],
                     (double)expected[i]);
}

static void check_copy(const qf_device *device, const shape *s, qf_move_mode mode, float factor)
{
    if (s->adds_only && mode != QF_MOVE_ADD)
        return;
    const qf_form from_form = random_order(), to_form = random_order();
    qf_tensor *from = tensor_for(s, false), *to = tensor_for(s, true);
    const size_t count = qf_shape_count(&to->shape);
    qf_move m = move_of(s, mode, from_form, to_form);
    m.factor = factor;
    rows_fill(from);
    if (mode != QF_MOVE_WRITE && rows_chance(0.7)) /* else it is zero */
        rows_fill(to);
    qf_tensor *mine = rows_copy(from);
    float *values = floats_of(from, from_form);
    float *expected = mode == QF_MOVE_WRITE ? qf_alloc(count, sizeof *expected)
                                            : floats_of(rows_copy(to), to_form);
    bool *known = qf_alloc(count, sizeof *known);
    assert_true(expected && known);
    for (size_t at = 0; at < places_of(s); at++) {
        const size_t target = place(s, at, true);
        const float value = factor * values[place(s, at, false)];
        expected[target] = mode == QF_MOVE_ADD ? expected[target] + value : value;
        known[target] = true;
    }
    rows_input(mine);
    rows_output(to, ROWS_FLOATS);
    assert_ok(context, device->move->copy(context, &m, mine, to));
    rows_check();
    float *found = floats_of(to, to_form);
    assert_bits(found, expected, mode == QF_MOVE_WRITE ? known : NULL, count);
    qf_free(found);
    qf_free(known);
    qf_free(expected);
    qf_free(values);
}

static void copy_whole(const qf_device *device, const void *of)
{
    check_copy(device, of, QF_MOVE_WRITE, 1);
}

static void copy_part(const qf_device *device, const void *of)
{
    check_copy(device, of, QF_MOVE_KEEP, 1);
}

static void scale_part(const qf_device *device, const void *of)
{
    check_copy(device, of, QF_MOVE_KEEP, 0.37f);
}

static void add(const qf_device *device, const void *of)
{
    check_copy(device, of, QF_MOVE_ADD, rows_chance(0.5) ? 1 : -1.7f);
}

/* From `to` to `from`: what was written comes home. */
static void back(const qf_device *device, const void *of)
{
    const shape *s = of;
    bool repeats = s->adds_only;
    for (int i = 0; i < s->axes; i++)
        repeats |= s->axis[i].from == 0;
    if (repeats)
        return;
    const qf_form from_form = random_order(), to_form = random_order();
    qf_tensor *from = tensor_for(s, false), *to = tensor_for(s, true), *home = rows_like(from);
    const qf_move m = move_of(s, QF_MOVE_KEEP, from_form, to_form);
    const qf_move again = qf_move_back(&m, QF_MOVE_KEEP);
    rows_fill(from);
    assert_ok(context, device->move->copy(context, &m, from, to));
    assert_ok(context, device->move->copy(context, &again, to, home));
    float *values = floats_of(from, from_form), *found = floats_of(home, from_form);
    for (size_t at = 0; at < places_of(s); at++)
        assert_bits(found + place(s, at, false), values + place(s, at, false), NULL, 1);
    qf_free(found);
    qf_free(values);
}

static void codes(const qf_device *device, const void *of)
{
    const shape *s = of;
    if (s->adds_only)
        return;
    const qf_move_mode mode = rows_chance(0.5) ? QF_MOVE_WRITE : QF_MOVE_KEEP;
    qf_tensor *from = tensor_for(s, false), *to = tensor_for(s, true);
    const qf_move m = move_of(s, mode, QF_CODES, QF_CODES);
    const uint8_t *values, *found, *before = NULL;
    rows_fill_codes(from, 77);
    if (mode == QF_MOVE_KEEP)
        rows_fill_codes(to, 3);
    qf_tensor *kept = rows_copy(to);
    rows_input(from);
    rows_output(to, 1u << QF_CODES);
    assert_ok(context, device->move->copy(context, &m, from, to));
    rows_check();
    assert_int_equal(to->code_zero, 77);
    assert_float_equal(to->code_scale, from->code_scale, 0);
    assert_ok(context, qf_tensor_read(context, from, QF_CODES, &values));
    assert_ok(context, qf_tensor_read(context, to, QF_CODES, &found));
    bool *reached = qf_alloc(qf_shape_count(&to->shape), sizeof *reached);
    assert_non_null(reached);
    for (size_t at = 0; at < places_of(s); at++) {
        assert_int_equal(found[place(s, at, true)], values[place(s, at, false)]);
        reached[place(s, at, true)] = true;
    }
    if (mode == QF_MOVE_KEEP)
        assert_ok(context, qf_tensor_read(context, kept, QF_CODES, &before));
    for (size_t i = 0; before && i < qf_shape_count(&to->shape); i++)
        assert_true(reached[i] || found[i] == before[i]);
    qf_free(reached);
}

/* ---- rows that an index names ---- */

typedef struct picking {
    qf_picking p;
    qf_tensor *all, *index, *picked;
} picking;

static picking open_picking(const shape *s)
{
    picking o = {.p = {random_order(), (size_t)s->planes, (size_t)s->rows, (size_t)s->picks,
                       (size_t)s->size}};
    o.all = rows_tensor(3, (int[]){s->planes, s->rows, s->size});
    o.index = rows_tensor(2, (int[]){s->planes, s->picks});
    o.picked = rows_tensor(3, (int[]){s->planes, s->picks, s->size});
    float *index;
    assert_ok(context, qf_write(context, o.index, QF_PLAIN, &index));
    for (size_t i = 0; i < qf_shape_count(&o.index->shape); i++)
        index[i] = rows_chance(0.1) ? -1 : (float)rows_between(0, s->rows - 1);
    return o;
}

/* Calls for each pick with its place in `picked` and that in `all`. */
static void pick_one_by_one(const picking *o, float *all, float *picked, bool gather, bool sum)
{
    float *index = floats_of(o->index, QF_PLAIN);
    const qf_picking *p = &o->p;
    for (size_t at = 0; at < p->planes * p->picks * p->size; at++) {
        const size_t pick = at / p->size, plane = pick / p->picks;
        if (index[pick] < 0) {
            picked[at] = gather ? 0 : picked[at];
            continue;
        }
        float *place = &all[(plane * p->rows + (size_t)index[pick]) * p->size + at % p->size];
        if (gather)
            picked[at] = *place;
        else
            *place = sum ? *place + picked[at] : picked[at];
    }
    qf_free(index);
}

static void gather(const qf_device *device, const void *of)
{
    picking o = open_picking(of);
    rows_fill(o.all);
    float *all = floats_of(rows_copy(o.all), o.p.form), *expected = floats_of(o.picked, o.p.form);
    pick_one_by_one(&o, all, expected, true, false);
    qf_tensor_set_zero(o.picked);
    rows_input(o.all);
    rows_input(o.index);
    rows_output(o.picked, ROWS_FLOATS);
    assert_ok(context, device->move->gather(context, &o.p, o.all, o.index, o.picked));
    rows_check();
    float *found = floats_of(o.picked, o.p.form);
    assert_bits(found, expected, NULL, qf_shape_count(&o.picked->shape));
    qf_free(found);
    qf_free(expected);
    qf_free(all);
}

static void check_scatter(const qf_device *device, const void *of, bool sum)
{
    picking o = open_picking(of);
    rows_fill(o.picked);
    if (rows_chance(0.7))
        rows_fill(o.all);
    float *expected = floats_of(rows_copy(o.all), o.p.form);
    float *picked = floats_of(rows_copy(o.picked), o.p.form);
    pick_one_by_one(&o, expected, picked, false, sum);
    rows_input(o.picked);
    rows_input(o.index);
    rows_output(o.all, ROWS_FLOATS);
    assert_ok(context, device->move->scatter(context, &o.p, o.picked, o.index, sum, o.all));
    rows_check();
    float *found = floats_of(o.all, o.p.form);
    assert_bits(found, expected, NULL, qf_shape_count(&o.all->shape));
    qf_free(found);
    qf_free(picked);
    qf_free(expected);
}

static void scatter(const qf_device *device, const void *of)
{
    check_scatter(device, of, false);
}

static void scatter_sums(const qf_device *device, const void *of)
{
    check_scatter(device, of, true);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"copy", NULL, copy_whole},
        {"copy-part", NULL, copy_part},
        {"scale-part", NULL, scale_part},
        {"add", NULL, add},
        {"back", NULL, back},
        {"codes", NULL, codes},
        {"gather", NULL, gather},
        {"scatter", NULL, scatter},
        {"scatter-sums", NULL, scatter_sums},
    };
    const rows_family family = {
        "move", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,   40};
    return rows_run(&family, argc, argv);
}
