/* Reading model and weights, and checking the names of inputs and outputs, for all steps. */
#include "toolkit/toolkit.h"

#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "model/until.h"

#include <string.h>

qf_status qf_toolkit_read_whole(qf_context *context, const char *model_file,
                                const char *weights_file, Caffe__NetParameter **net,
                                Caffe__NetParameter **weights)
{
    *net = NULL;
    QF_TRY(qf_net_param_read(context, model_file, net));
    QF_TRY(qf_net_param_fill_names(context, *net));
    if (!weights)
        return QF_OK;
    *weights = NULL;
    QF_TRY(qf_checksum_check(context, weights_file, NULL));
    QF_TRY(qf_net_param_read_binary(context, weights_file, weights));
    return qf_net_param_fill_names(context, *weights);
}

qf_status qf_toolkit_read(qf_context *context, const char *model_file, const char *weights_file,
                          Caffe__NetParameter **net, Caffe__NetParameter **weights)
{
    QF_TRY(qf_toolkit_read_whole(context, model_file, weights_file, net, weights));
    return qf_within(context, qf_until_cut(context, *net), "%s", model_file);
}

enum { NAME_MAX_BYTES = 254 };

static qf_status check_name(qf_context *context, const char *file)
{
    if (!file || !*file)
        return qf_fail(context, QF_E_ARGUMENT,
                       "an empty string is an invalid value for the name of an output file");
    const char *base = strrchr(file, '/');
    base = base ? base + 1 : file;
    if (!*base)
        return qf_fail(context, QF_E_ARGUMENT, "'%s' should be a file's name but a path is given",
                       file);
    if (strlen(base) > NAME_MAX_BYTES)
        return qf_fail(context, QF_E_ARGUMENT, "the file name '%.40s...' is longer than %d bytes",
                       base, NAME_MAX_BYTES);
    return QF_OK;
}

qf_status qf_toolkit_check_inputs(qf_context *context, const char *file, const char *const *inputs,
                                  int count)
{
    for (int i = 0; i < count; i++)
        if (inputs[i] && qf_file_same(file, inputs[i]))
            return qf_fail(context, QF_E_ARGUMENT,
                           "'%s' is read and would be written over; choose another name for the "
                           "output",
                           file);
    return QF_OK;
}

qf_status qf_toolkit_check_outputs(qf_context *context, const char *const *files, int count,
                                   const char *const *inputs, int input_count)
{
    for (int i = 0; i < count; i++) {
        QF_TRY(check_name(context, files[i]));
        for (int k = 0; k < i; k++)
            if (qf_file_same(files[i], files[k]))
                return qf_fail(context, QF_E_ARGUMENT, "two outputs have the same name '%s'",
                               files[i]);
        QF_TRY(qf_toolkit_check_inputs(context, files[i], inputs, input_count));
        QF_TRY(qf_output_probe(context, files[i]));
    }
    for (int i = 0; i < count; i++)
        if (qf_file_exists(files[i]))
            qf_amct_say(context, context->replaces_run ? QF_INFO : QF_WARNING, "Utils",
                        "The file already exists at %s, and it will be overwritten by AMCT",
                        files[i]);
    return QF_OK;
}

char *qf_toolkit_name(const char *prefix, const char *tail)
{
    size_t length = strlen(prefix);
    const char *joint = length && prefix[length - 1] == '/' ? "" : "_";
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s%s%s", prefix, joint, tail);
    char *copy = name.failed ? NULL : qf_strdup(name.data);
    qf_buffer_release(&name);
    return copy;
}

qf_status qf_toolkit_write_net(qf_context *context, Caffe__NetParameter *net,
                               const char *model_file, const char *weights_file)
{
    QF_TRY(qf_wire_write(context, weights_file, net, 0640));
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        for (size_t b = 0; b < layer->n_blobs; b++)
            qf_message_free(layer->blobs[b]);
        layer->n_blobs = 0;
    }
    return qf_text_write(context, model_file, net, 0640);
}

void qf_toolkit_say_saved(qf_context *context, const char *model_file, const char *weights_file)
{
    qf_amct_say(context, QF_INFO, "Utils", "The weights_file is saved in %s", weights_file);
    qf_amct_say(context, QF_INFO, "Utils", "The model_file is saved in %s", model_file);
}
