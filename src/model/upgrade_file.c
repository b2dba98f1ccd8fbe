/* What Caffe's upgrade_net_proto_text, upgrade_net_proto_binary and upgrade_solver_proto_text do.
 */
#include "base/checksum.h"
#include "model/model.h"

typedef struct kind {
    const char *message, *form; /* in the log */
    const ProtobufCMessageDescriptor *type;
    bool binary;
} kind;

static const kind kinds[] = {
    [QF_NET_TEXT] = {"NetParameter", "text", &caffe__net_parameter__descriptor, false},
    [QF_NET_BINARY] = {"NetParameter", "binary", &caffe__net_parameter__descriptor, true},
    [QF_SOLVER_TEXT] = {"SolverParameter", "text", &caffe__solver_parameter__descriptor, false},
};

static qf_status upgrade(qf_context *context, const kind *kind, const char *name, void *message,
                         qf_upgrade *out)
{
    if (kind->type == &caffe__net_parameter__descriptor)
        return qf_net_param_upgrade(context, name, message, out);
    bool changed;
    qf_status status = qf_solver_param_upgrade(context, name, message, &changed);
    *out = changed ? QF_UPGRADED : QF_UP_TO_DATE;
    return status;
}

qf_status qf_upgrade_file(qf_context *context, qf_file_kind which, const char *input,
                          const char *output, bool *whole)
{
    const kind *kind = &kinds[which];
    void *message = NULL;
    qf_upgrade outcome;
    *whole = true;
    qf_status status = qf_checksum_check(context, input, NULL);
    if (status == QF_OK)
        status = (kind->binary ? qf_wire_read : qf_text_read)(context, input, kind->type, &message);
    if (status != QF_OK) {
        qf_problem(context, "Failed to parse input %s file as %s: %s", kind->form, kind->message,
                   input);
        return status;
    }
    status = upgrade(context, kind, input, message, &outcome);
    if (status == QF_OK && outcome == QF_UP_TO_DATE)
        qf_problem(context, "File already in latest proto format: %s", input);
    if (status == QF_OK && outcome == QF_UPGRADED_IN_PART) {
        *whole = false;
        qf_problem(context, "Encountered error(s) while upgrading prototxt; see details above.");
    }
    if (status == QF_OK)
        status = (kind->binary ? qf_wire_write : qf_text_write)(context, output, message, 0644);
    if (status == QF_OK)
        qf_info(context, "Wrote upgraded %s %s proto to %s", kind->message, kind->form, output);
    qf_message_free(message);
    return status;
}
