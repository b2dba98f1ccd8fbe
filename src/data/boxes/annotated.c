/* Reading one AnnotatedDatum. */
#include "data/boxes/annotated.h"

#include "base/memory.h"
#include "data/stores/datum.h"
#include "model/model.h"

static qf_status take_group(qf_context *context, const Caffe__AnnotationGroup *group,
                            qf_annotated *out)
{
    if (!qf_grow(&out->annotations, &out->capacity, out->count + group->n_annotation,
                 sizeof *out->annotations))
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu boxes", group->n_annotation);
    for (size_t i = 0; i < group->n_annotation; i++) {
        const Caffe__Annotation *from = group->annotation[i];
        const Caffe__NormalizedBBox *b = from->bbox;
        if (!b)
            return qf_fail(context, QF_E_FORMAT, "box %zu of label %d has no coordinates", i,
                           group->group_label);
        const qf_box box = {b->xmin, b->ymin, b->xmax, b->ymax};
        if (!qf_box_is_finite(&box))
            return qf_fail(
                context, QF_E_VALUE, "box %zu of label %d, (%g, %g) to (%g, %g), is no box", i,
                group->group_label, (double)box.x1, (double)box.y1, (double)box.x2, (double)box.y2);
        out->annotations[out->count++] =
            (qf_annotation){group->group_label, from->instance_id, box, b->difficult};
    }
    return QF_OK;
}

static qf_status no_annotated(qf_context *context)
{
    return qf_fail(
        context, QF_E_FORMAT,
        "it is no annotated image (SSD's AnnotatedDatum: create_annoset makes them); for "
        "an image and one label there is the layer Data");
}

static qf_status take(qf_context *context, Caffe__AnnotatedDatum *message, qf_color color,
                      qf_annotated *out)
{
    if (!message->datum)
        return no_annotated(context);
    out->has_type = message->has_type;
    for (size_t i = 0; i < message->n_annotation_group; i++)
        QF_TRY(take_group(context, message->annotation_group[i], out));
    Caffe__Datum *datum = message->datum;
    message->datum = NULL; /* belongs to the image from here on */
    return qf_datum_take(context, datum, color, &out->image);
}

qf_status qf_annotated_decode(qf_context *context, const void *bytes, size_t size, qf_color color,
                              qf_annotated *out)
{
    Caffe__AnnotatedDatum *message;
    *out = (qf_annotated){0};
    qf_status status = qf_wire_parse(context, "annotated datum", bytes, size,
                                     &caffe__annotated_datum__descriptor, &message);
    if (status == QF_E_FORMAT)
        return no_annotated(context);
    QF_TRY(status);
    status = take(context, message, color, out);
    qf_message_free(message);
    if (status != QF_OK)
        qf_annotated_release(out);
    return status;
}

void qf_annotated_release(qf_annotated *item)
{
    qf_image_release(&item->image);
    qf_free(item->annotations);
    *item = (qf_annotated){0};
}
