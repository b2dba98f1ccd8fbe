/* What a plan says of the float net as a teacher. */
#include "base/rows.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/prepare/teacher.h"

#include <stdio.h>
#include <string.h>

static void describe(const qf_teacher *teacher, char *text, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < teacher->lessons.count && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "learned are ",
                                   teacher->lessons.list[i].blob);
    if (length < size && teacher->no_labels)
        snprintf(text + length, size - length, "; no labels");
    else if (length < size)
        snprintf(text + length, size - length, "; weight %g, losses %g", (double)teacher->weight,
                 1 - (double)teacher->weight);
}

static qf_status add_row(qf_context *context, const qf_teacher *teacher, qf_plan *plan)
{
    qf_plan_row *row = qf_rows_add(&plan->row, &plan->rows, sizeof *row);
    if (!row)
        return qf_fail(context, QF_E_MEMORY, "no memory for a plan");
    snprintf(row->layer, sizeof row->layer, "(the float net)");
    snprintf(row->treatment, sizeof row->treatment, "teaches");
    describe(teacher, row->detail, sizeof row->detail);
    return QF_OK;
}

qf_status qf_teacher_plan(qf_context *context, const char *model_file,
                          const qf_retrain_options *options, qf_plan *plan)
{
    qf_retrain_options settled = *options;
    Caffe__NetParameter *net = NULL, *train = NULL;
    qf_teacher teacher = {0};
    QF_TRY(qf_distil_settle(context, model_file, QF_DISTIL_OFF, &settled));
    if (settled.distil != QF_DISTIL_ON)
        return QF_OK;
    qf_status status = qf_net_param_read(context, model_file, &net);
    if (status == QF_OK)
        status = qf_phase_view(context, net, QF_TRAIN, &train);
    if (status == QF_OK)
        status = qf_lessons_find(context, train, settled.distil_blobs, &teacher.lessons);
    if (status == QF_OK)
        status = qf_teacher_numbers(context, &settled, &teacher);
    if (status == QF_OK)
        status = add_row(context, &teacher, plan);
    qf_teacher_release(&teacher);
    qf_message_free(net);
    qf_message_free(train);
    return status;
}
