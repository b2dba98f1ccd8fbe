/* hold_back_param: a source of which some items are left out, and the source of these.
 *
 * One of each `every` neighbours is held back, its place among them drawn by the seed. So lists
 * that are sorted by class give of every class, those in which classes take turns do, too, and no
 * more than the item's number has to be known. */
#include "data/sources/hold_back.h"

#include "base/memory.h"

enum { EVERY_MAX = 1 << 20 };

typedef struct state {
    const Caffe__HoldBackParameter *param;
    qf_data_source inner;
    uint64_t items; /* of the inner source */
} state;

/* The place in its row that is held back. */
static uint64_t place_in(const Caffe__HoldBackParameter *param, uint64_t row)
{
    qf_random random;
    qf_random_seed(&random, param->seed ^ (row + 1) * UINT64_C(0x9e3779b97f4a7c15));
    return qf_random_below(&random, param->every);
}

bool qf_hold_back_gives(const Caffe__HoldBackParameter *param, uint64_t index)
{
    const uint64_t row = index / param->every;
    return (place_in(param, row) == index % param->every) == (bool)param->held;
}

uint64_t qf_hold_back_count(const Caffe__HoldBackParameter *param, uint64_t items)
{
    const uint64_t rows = items / param->every, rest = items % param->every;
    const uint64_t held = rows + (rest > 0 && place_in(param, rows) < rest);
    return param->held ? held : items - held;
}

qf_status qf_hold_back_check(qf_context *context, const Caffe__HoldBackParameter *param)
{
    return param->every >= 2 && param->every <= EVERY_MAX
               ? QF_OK
               : qf_fail(context, QF_E_VALUE, "hold_back_param.every is %u, expected 2 to %d",
                         param->every, EVERY_MAX);
}

/* To the next item that is ours; there is one, or opening would have failed. */
static qf_status skip_others(qf_context *context, state *s)
{
    const qf_data_source_type *type = s->inner.type;
    while (!qf_hold_back_gives(s->param, type->item(s->inner.state) % s->items))
        QF_TRY(type->skip(context, s->inner.state));
    return QF_OK;
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    QF_TRY(skip_others(context, s));
    return s->inner.type->add(context, s->inner.state, random, index, batch);
}

static void where(const void *opaque, qf_data_state *out)
{
    const state *s = opaque;
    s->inner.type->where(s->inner.state, out);
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    state *s = opaque;
    return s->inner.type->go(context, s->inner.state, to);
}

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_data_source_close(&s->inner);
    qf_free(s);
}

static qf_status count(qf_context *context, void *opaque, uint64_t *out)
{
    const state *s = opaque;
    (void)context;
    *out = qf_hold_back_count(s->param, s->items);
    return QF_OK;
}

static const qf_data_source_type type = {
    .add = add, .where = where, .go = go, .destroy = destroy, .count = count};

static qf_status open(qf_context *context, state *s)
{
    QF_TRY(qf_hold_back_check(context, s->param));
    if (!s->inner.type->item || !s->inner.type->count)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "what this layer reads has no numbered items, so none can be held back; "
                       "remove hold_back_param");
    QF_TRY(s->inner.type->count(context, s->inner.state, &s->items));
    if (qf_hold_back_count(s->param, s->items) == 0)
        return qf_fail(context, QF_E_VALUE,
                       "hold_back_param.every is %u, but there are only %llu items: none is left",
                       s->param->every, (unsigned long long)s->items);
    return s->param->held && s->inner.type->scatter
               ? s->inner.type->scatter(context, s->inner.state)
               : QF_OK;
}

qf_status qf_hold_back_source(qf_context *context, const Caffe__HoldBackParameter *param,
                              qf_data_source *source)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s) {
        qf_data_source_close(source);
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    }
    *s = (state){.param = param, .inner = *source};
    source->type = &type;
    source->state = s;
    const qf_status status = open(context, s);
    if (status != QF_OK)
        qf_data_source_close(source);
    return status;
}
