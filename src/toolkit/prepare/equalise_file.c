/* Equalising the weights of a file, by themselves and as a step of a flow. */
#include "base/ending.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/toolkit.h"

#include <string.h>

static qf_status equalise(qf_context *context, const char *model_file, const char *weights_file,
                          qf_equalise choice, Caffe__NetParameter **weights, qf_equalisation **out)
{
    Caffe__NetParameter *net = NULL;
    qf_status status = qf_toolkit_read_whole(context, model_file, weights_file, &net, weights);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, net, *weights, weights_file);
    if (status == QF_OK)
        status = qf_equalise_net(context, net, *weights, choice, out);
    qf_message_free(net);
    return status;
}

qf_status qf_equalise_weights(qf_context *context, const char *model_file, const char *weights_file,
                              const char *equalised_weights_file, qf_equalisation **out)
{
    const char *const inputs[] = {model_file, weights_file};
    Caffe__NetParameter *weights = NULL;
    *out = NULL;
    qf_status status =
        equalised_weights_file
            ? qf_toolkit_check_outputs(context, &equalised_weights_file, 1, inputs, 2)
            : QF_OK;
    if (status == QF_OK)
        status = equalise(context, model_file, weights_file,
                          equalised_weights_file ? QF_EQUALISE_ON : QF_EQUALISE_OFF, &weights, out);
    if (status == QF_OK && equalised_weights_file) {
        qf_equalisation_say(context, *out);
        status = qf_wire_write(context, equalised_weights_file, weights, 0640);
    }
    qf_message_free(weights);
    if (status != QF_OK) {
        qf_equalisation_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* "results/model_record.txt" of a run that equalised has "results/model_equalised.caffemodel"
 * beside it. False: a record of another name has none. */
static bool name_beside(const char *record, qf_buffer *name)
{
    const char *end = qf_find_ending(record, "record.txt");
    if (!end)
        return false;
    qf_buffer_append(name, record, (size_t)(end - record));
    qf_buffer_print(name, "%s", QF_EQUALISED_WEIGHTS);
    return true;
}

static bool was_equalised(const char *record)
{
    qf_buffer name = {0};
    const bool there = name_beside(record, &name) && !name.failed && qf_file_exists(name.data);
    qf_buffer_release(&name);
    return there;
}

qf_equalise qf_equalise_as_record(qf_equalise choice, const char *record)
{
    if (choice != QF_EQUALISE_AUTO || !record)
        return choice;
    return was_equalised(record) ? QF_EQUALISE_ON : QF_EQUALISE_OFF;
}

/* Equalised weights, or nothing: what an earlier run left goes. */
static qf_status write_weights(qf_context *context, const char *model_file,
                               const char *weights_file, qf_equalise choice,
                               const char *equalised_weights_file, bool say, bool *equalised)
{
    Caffe__NetParameter *weights = NULL;
    qf_equalisation *found = NULL;
    *equalised = false;
    qf_status status = equalise(context, model_file, weights_file, choice, &weights, &found);
    if (status == QF_OK) {
        if (say)
            qf_equalisation_say(context, found);
        *equalised = qf_equalisation_changed(found);
    }
    if (status == QF_OK && *equalised)
        status = qf_wire_write(context, equalised_weights_file, weights, 0640);
    else if (status == QF_OK)
        status = qf_output_remove(context, equalised_weights_file);
    qf_message_free(weights);
    qf_equalisation_destroy(found);
    return status;
}

qf_status qf_equalise_for_run(qf_context *context, const char *model_file, const char *weights_file,
                              qf_equalise choice, const char *equalised_weights_file,
                              bool *equalised)
{
    return write_weights(context, model_file, weights_file, choice, equalised_weights_file, true,
                         equalised);
}

qf_status qf_equalise_leave(qf_context *context, const char *model_file, const char *weights_file,
                            qf_equalise choice, const char *equalised_weights_file, bool *equalised)
{
    *equalised = false;
    if (choice == QF_EQUALISE_OFF)
        return qf_file_exists(equalised_weights_file) &&
                       !qf_file_same(equalised_weights_file, weights_file)
                   ? qf_output_remove(context, equalised_weights_file)
                   : QF_OK;
    QF_TRY(qf_toolkit_check_inputs(context, equalised_weights_file, &weights_file, 1));
    return write_weights(context, model_file, weights_file, choice, equalised_weights_file, false,
                         equalised);
}

qf_status qf_equalise_leave_beside(qf_context *context, const char *model_file,
                                   const char *weights_file, qf_equalise choice, const char *record)
{
    const char *last = strrchr(record, '_'); /* of a flow: there "record.txt" has other files */
    qf_buffer name = {0};
    bool equalised;
    if (!last || strcmp(last, "_record.txt") != 0 || !name_beside(record, &name))
        return QF_OK;
    const qf_status status = name.failed ? qf_fail(context, QF_E_MEMORY, "no memory for file names")
                                         : qf_equalise_leave(context, model_file, weights_file,
                                                             choice, name.data, &equalised);
    qf_buffer_release(&name);
    return status;
}

qf_status qf_equalised_at(qf_context *context, const char *prefix, const char *weights_file,
                          char **out)
{
    char *equalised = qf_toolkit_name(prefix, QF_EQUALISED_WEIGHTS);
    const bool there = equalised && qf_file_exists(equalised);
    *out = there ? equalised : equalised ? qf_strdup(weights_file) : NULL;
    if (!there)
        qf_free(equalised);
    return *out ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for file names");
}
