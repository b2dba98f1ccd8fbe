/* Scores of sequences and their labels, in the layouts of the forks. */
#include "layers/loss/sequences.h"

#include <math.h>

static qf_status check_scores(const qf_layer *layer, qf_sequences *out)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    char text[256];
    out->classes = shape->axes < 3 ? 0 : qf_shape_count_range(shape, 2, shape->axes);
    if (!out->classes || !shape->dim[0])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must be steps x sequences x classes, has shape %s",
                       layer->bottom[0]->name, qf_shape_text(shape, text, sizeof text));
    out->steps = (size_t)shape->dim[0];
    out->count = (size_t)shape->dim[1];
    return QF_OK;
}

static qf_status check_numbers(const qf_layer *layer, const qf_blob *blob, size_t expected,
                               const char *what)
{
    char text[256];
    if (qf_blob_count(blob) == expected)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE, "'%s' must hold %s, %zu numbers; it has shape %s",
                   blob->name, what, expected,
                   qf_shape_text(qf_blob_shape(blob), text, sizeof text));
}

/* Axis `axis` of the labels counts sequences, the others labels. */
static qf_status check_labels(const qf_layer *layer, qf_sequences *s, int axis)
{
    const qf_shape *shape = qf_blob_shape(s->labels);
    char text[256];
    if (shape->axes <= axis || (size_t)shape->dim[axis] != s->count)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "axis %d of the labels '%s', shape %s, must have the %zu sequences of '%s'",
                       axis, s->labels->name, qf_shape_text(shape, text, sizeof text), s->count,
                       layer->bottom[0]->name);
    s->label_room = s->count ? qf_shape_count(shape) / s->count : 0;
    return QF_OK;
}

qf_status qf_sequences_find(const qf_layer *layer, qf_sequence_layout layout, int blank,
                            qf_sequences *out)
{
    *out = (qf_sequences){.layout = layout};
    QF_TRY(check_scores(layer, out));
    out->blank = blank < 0 ? (int)out->classes - 1 : blank;
    if ((size_t)out->blank >= out->classes)
        return qf_fail(layer->context, QF_E_VALUE,
                       "blank_index %d is none of the %zu classes of '%s'", out->blank,
                       out->classes, layer->bottom[0]->name);
    if (layout == QF_SEQUENCES_ROWS) {
        out->labels = layer->bottom[1];
        return check_labels(layer, out, 0);
    }
    if (layer->bottom_count > 1) {
        const bool indicated = layout != QF_SEQUENCES_COUNTED;
        out->lengths = layer->bottom[1];
        QF_TRY(check_numbers(layer, out->lengths, indicated ? out->steps * out->count : out->count,
                             indicated ? "an indicator for each step of each sequence"
                                       : "the number of steps of each sequence"));
    }
    if (layout == QF_SEQUENCES_COUNTED) {
        out->label_counts = layer->bottom[2];
        QF_TRY(check_numbers(layer, out->label_counts, out->count,
                             "the number of labels of each sequence"));
    }
    if (layer->bottom_count < 3)
        return QF_OK;
    out->labels = layer->bottom[layer->bottom_count - 1];
    return check_labels(layer, out, 1);
}

static qf_status number_at(const qf_layer *layer, const qf_blob *blob, size_t index, size_t most,
                           const char *what, size_t *out)
{
    const float *values;
    QF_TRY(qf_read(layer->context, blob->data, QF_PLAIN, &values));
    if (!(values[index] >= 0 && values[index] <= (float)most))
        return qf_fail(layer->context, QF_E_VALUE, "sequence %zu has %g %s, of at most %zu", index,
                       (double)values[index], what, most);
    *out = (size_t)values[index];
    return QF_OK;
}

qf_status qf_sequences_steps(const qf_layer *layer, const qf_sequences *s, size_t index,
                             size_t *steps)
{
    const float *indicators;
    *steps = s->steps;
    if (!s->lengths)
        return QF_OK;
    if (s->layout == QF_SEQUENCES_COUNTED)
        return number_at(layer, s->lengths, index, s->steps, "steps", steps);
    QF_TRY(qf_read(layer->context, s->lengths->data, QF_PLAIN, &indicators));
    for (size_t t = 1; t < s->steps; t++) /* the first is where the sequence itself begins */
        if (indicators[t * s->count + index] < 0.5f) {
            *steps = t;
            break;
        }
    return QF_OK;
}

qf_status qf_sequences_labels(const qf_layer *layer, const qf_sequences *s, size_t index,
                              int *labels, size_t *count)
{
    const bool rows = s->layout == QF_SEQUENCES_ROWS;
    const size_t first = rows ? index * s->label_room : index, step = rows ? 1 : s->count;
    size_t room = s->label_room;
    const float *values;
    *count = 0;
    if (s->label_counts)
        QF_TRY(number_at(layer, s->label_counts, index, room, "labels", &room));
    QF_TRY(qf_read(layer->context, s->labels->data, QF_PLAIN, &values));
    for (size_t i = 0; i < room; i++) {
        const float value = roundf(values[first + i * step]);
        if (value < 0 && !s->label_counts)
            break;
        if (rows && value == (float)s->blank)
            continue;
        const float class = value + (float)s->first_label;
        if (!(class >= 0 && class < (float)s->classes) || class == (float)s->blank)
            return qf_fail(layer->context, QF_E_VALUE,
                           "label %zu of sequence %zu is %g, expected one of the %zu classes of "
                           "'%s' without the blank, %d",
                           i, index, (double)value, s->classes, layer->bottom[0]->name, s->blank);
        labels[(*count)++] = (int)class;
    }
    return QF_OK;
}
