/* Upgrading nets and solvers: the order of the steps, the small ones, and reading upgraded. */
#include "model/upgrade.h"

#include "base/file.h"
#include "model/field.h"

#include <string.h>
#include <sys/stat.h>

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessage *message, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
}

/* ---- transformation parameters inside data layers (V1 only) ---- */

static const struct {
    int type;
    const char *message;
} data_layers[] = {
    {CAFFE__V1_LAYER_PARAMETER__LAYER_TYPE__DATA, "data_param"},
    {CAFFE__V1_LAYER_PARAMETER__LAYER_TYPE__IMAGE_DATA, "image_data_param"},
    {CAFFE__V1_LAYER_PARAMETER__LAYER_TYPE__WINDOW_DATA, "window_data_param"},
};
static const char *const transform_fields[] = {"scale", "mean_file", "crop_size", "mirror"};
enum { DATA_LAYERS = 3, TRANSFORM_FIELDS = 4 };

/* Moves them (if `move`); *found: there were some. */
static qf_status upgrade_transform(qf_context *context, Caffe__NetParameter *net, bool move,
                                   bool *found)
{
    *found = false;
    for (size_t i = 0; i < net->n_layers; i++) {
        Caffe__V1LayerParameter *layer = net->layers[i];
        for (int k = 0; k < DATA_LAYERS; k++) {
            if (!layer->has_type || (int)layer->type != data_layers[k].type)
                continue;
            ProtobufCMessage *data = *(ProtobufCMessage **)qf_field_address(
                &layer->base, field_of(&layer->base, data_layers[k].message));
            for (int f = 0; data && f < TRANSFORM_FIELDS; f++) {
                const ProtobufCFieldDescriptor *field = field_of(data, transform_fields[f]);
                if (!qf_field_is_set(data, field))
                    continue;
                *found = true;
                if (!move)
                    continue;
                if (!layer->transform_param)
                    QF_TRY(qf_message_new(context, &caffe__transformation_parameter__descriptor,
                                          &layer->transform_param));
                ProtobufCMessage *transform = &layer->transform_param->base;
                QF_TRY(qf_field_move(context, data, field, transform,
                                     field_of(transform, transform_fields[f])));
            }
        }
    }
    return QF_OK;
}

/* ---- `input:` fields ---- */

static qf_status input_shape(qf_context *context, const Caffe__NetParameter *net, size_t index,
                             Caffe__BlobShape **out)
{
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, out));
    const int64_t *dims = NULL;
    int64_t old[4];
    size_t count = 0;
    if (net->n_input_shape) {
        dims = net->input_shape[index]->dim;
        count = net->input_shape[index]->n_dim;
    } else {
        for (size_t i = 0; i < 4; i++)
            old[i] = net->input_dim[4 * index + i];
        dims = old;
        count = 4;
    }
    for (size_t i = 0; i < count; i++)
        QF_TRY(qf_append(context, &(*out)->n_dim, &(*out)->dim, &dims[i], sizeof *dims));
    return QF_OK;
}

static qf_status make_input_layer(qf_context *context, const Caffe__NetParameter *net,
                                  Caffe__LayerParameter *layer)
{
    QF_TRY(qf_set_string(context, &layer->name, "input"));
    QF_TRY(qf_set_string(context, &layer->type, "Input"));
    QF_TRY(qf_message_new(context, &caffe__input_parameter__descriptor, &layer->input_param));
    for (size_t i = 0; i < net->n_input; i++) {
        QF_TRY(qf_append_string(context, &layer->n_top, &layer->top, net->input[i]));
        Caffe__BlobShape *shape = NULL;
        qf_status status = input_shape(context, net, i, &shape);
        if (status == QF_OK)
            status = qf_append(context, &layer->input_param->n_shape, &layer->input_param->shape,
                               &shape, sizeof shape);
        if (status != QF_OK) {
            qf_message_free(shape);
            return status;
        }
    }
    return QF_OK;
}

/* The inputs become one Input layer at the front. Without any shape they just vanish, as in Caffe.
 */
static qf_status upgrade_input(qf_context *context, const char *name, Caffe__NetParameter *net)
{
    if (net->n_input_shape || net->n_input_dim) {
        if (net->n_input_shape && net->n_input_shape != net->n_input)
            return qf_fail(
                context, QF_E_FORMAT,
                "%s: %zu input_shape for %zu input; give one input_shape { dim: … } for each", name,
                net->n_input_shape, net->n_input);
        if (!net->n_input_shape && net->n_input_dim != 4 * net->n_input)
            return qf_fail(context, QF_E_FORMAT,
                           "%s: %zu input_dim for %zu input; each input has exactly 4", name,
                           net->n_input_dim, net->n_input);
        Caffe__LayerParameter *layer;
        QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
        qf_status status = make_input_layer(context, net, layer);
        if (status == QF_OK)
            status = qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer);
        if (status != QF_OK) {
            qf_message_free(layer);
            return status;
        }
        memmove(net->layer + 1, net->layer, (net->n_layer - 1) * sizeof *net->layer);
        net->layer[0] = layer;
    }
    static const char *const fields[] = {"input", "input_shape", "input_dim"};
    for (int i = 0; i < 3; i++)
        qf_field_clear(&net->base, field_of(&net->base, fields[i]));
    return QF_OK;
}

/* ---- BatchNorm with settings for its three blobs: they are statistics, never learned ---- */

static bool has_old_batch_norm(const Caffe__LayerParameter *layer)
{
    return layer->type && strcmp(layer->type, "BatchNorm") == 0 && layer->n_param == 3;
}

static bool upgrade_batch_norm(Caffe__NetParameter *net, bool apply)
{
    bool found = false;
    for (size_t i = 0; i < net->n_layer; i++) {
        if (!has_old_batch_norm(net->layer[i]))
            continue;
        found = true;
        for (size_t k = 0; apply && k < net->layer[i]->n_param; k++) {
            Caffe__ParamSpec *spec = net->layer[i]->param[k];
            spec->has_lr_mult = spec->has_decay_mult = true;
            spec->lr_mult = spec->decay_mult = 0;
        }
    }
    return found;
}

/* ---- all together, in Caffe's order and with Caffe's log lines ---- */

static bool needs_v0(const Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layers; i++)
        if (net->layers[i]->layer)
            return true;
    return false;
}

#define ATTEMPT "Attempting to upgrade input file specified using deprecated "

static qf_status upgrade_from_v0(qf_context *context, const char *name, Caffe__NetParameter *net,
                                 bool *whole)
{
    *whole = true;
    qf_info(context, ATTEMPT "V0LayerParameter: %s", name);
    QF_TRY(qf_within(context, qf_upgrade_v0(context, net, whole), "%s", name));
    if (*whole)
        qf_info(context, "Successfully upgraded file specified using deprecated V0LayerParameter");
    else
        qf_problem(context, "Warning: had one or more problems upgrading V0NetParameter to "
                            "NetParameter (see above); continuing anyway.");
    qf_warning(
        context,
        "Note that future Caffe releases will not support V0NetParameter; use "
        "./build/tools/upgrade_net_proto_text for prototxt and "
        "./build/tools/upgrade_net_proto_binary for model weights upgrade this and any other "
        "net protos to the new format.");
    return QF_OK;
}

qf_status qf_net_param_fill_names(qf_context *context, Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        char **fields[] = {&net->layer[i]->name, &net->layer[i]->type};
        for (int f = 0; f < 2; f++)
            if (!*fields[f])
                QF_TRY(qf_set_string(context, fields[f], ""));
    }
    return QF_OK;
}

static void mark_upgraded(qf_upgrade *outcome)
{
    if (*outcome == QF_UP_TO_DATE)
        *outcome = QF_UPGRADED;
}

qf_status qf_net_param_upgrade(qf_context *context, const char *name, Caffe__NetParameter *net,
                               qf_upgrade *out)
{
    bool old;
    *out = QF_UP_TO_DATE;
    if (needs_v0(net)) {
        bool whole;
        QF_TRY(upgrade_from_v0(context, name, net, &whole));
        *out = whole ? QF_UPGRADED : QF_UPGRADED_IN_PART;
    }
    QF_TRY(upgrade_transform(context, net, false, &old));
    if (old) {
        mark_upgraded(out);
        qf_info(context, ATTEMPT "transformation parameters: %s", name);
        QF_TRY(upgrade_transform(context, net, true, &old));
        qf_info(context,
                "Successfully upgraded file specified using deprecated data transformation "
                "parameters.");
        qf_warning(context, "Note that future Caffe releases will only support transform_param "
                            "messages for transformation fields.");
    }
    if (net->n_layers) {
        mark_upgraded(out);
        qf_info(context, ATTEMPT "V1LayerParameter: %s", name);
        QF_TRY(qf_within(context, qf_upgrade_v1(context, net), "%s", name));
        qf_info(context, "Successfully upgraded file specified using deprecated V1LayerParameter");
    }
    if (net->n_input) {
        mark_upgraded(out);
        qf_info(context, ATTEMPT "input fields: %s", name);
        QF_TRY(upgrade_input(context, name, net));
        qf_info(context, "Successfully upgraded file specified using deprecated input fields.");
        qf_warning(context,
                   "Note that future Caffe releases will only support input layers and not "
                   "input fields.");
    }
    if (upgrade_batch_norm(net, false)) {
        mark_upgraded(out);
        qf_info(context, "Attempting to upgrade batch norm layers using deprecated params: %s",
                name);
        upgrade_batch_norm(net, true);
        qf_info(context, "Successfully upgraded batch norm layers using deprecated params.");
    }
    QF_TRY(qf_within(context, qf_upgrade_forks(context, net, &old), "%s", name));
    if (old) {
        mark_upgraded(out);
        qf_info(context, "Put layers of Caffe's forks into Caffe's words: %s", name);
    }
    return QF_OK;
}

qf_status qf_solver_param_upgrade(qf_context *context, const char *name,
                                  Caffe__SolverParameter *solver, bool *changed)
{
    static const char *const types[] = {"SGD",     "Nesterov", "AdaGrad",
                                        "RMSProp", "AdaDelta", "Adam"};
    *changed = solver->has_solver_type;
    if (!solver->has_solver_type)
        return QF_OK;
    qf_info(context, ATTEMPT "'solver_type' field (enum)': %s", name);
    const ProtobufCFieldDescriptor *type = field_of(&solver->base, "type");
    if (qf_field_is_set(&solver->base, type))
        return qf_fail(
            context, QF_E_FORMAT,
            "%s: both the old solver_type (enum) and the new type (string) are given; keep "
            "only type",
            name);
    if ((unsigned)solver->solver_type >= sizeof types / sizeof *types)
        return qf_fail(context, QF_E_FORMAT, "%s: unknown solver_type %d", name,
                       (int)solver->solver_type);
    solver->type = NULL; /* was the default, which is not ours to free */
    QF_TRY(qf_set_string(context, &solver->type, types[solver->solver_type]));
    qf_field_clear(&solver->base, field_of(&solver->base, "solver_type"));
    qf_info(context,
            "Successfully upgraded file specified using deprecated 'solver_type' field (enum) "
            "to 'type' field (string).");
    qf_warning(context,
               "Note that future Caffe releases will only support 'type' field (string) for a "
               "solver's type.");
    return QF_OK;
}

/* ---- files ---- */

static qf_status upgraded(qf_context *context, const char *name, qf_status read,
                          Caffe__NetParameter **net)
{
    qf_upgrade outcome;
    qf_status status = read;
    if (status == QF_OK)
        status = qf_net_param_upgrade(context, name, *net, &outcome);
    if (status != QF_OK) {
        qf_message_free(*net);
        *net = NULL;
    }
    return status;
}

qf_status qf_net_param_read(qf_context *context, const char *prototxt, Caffe__NetParameter **out)
{
    return upgraded(context, prototxt,
                    qf_text_read(context, prototxt, &caffe__net_parameter__descriptor, out), out);
}

qf_status qf_net_param_read_binary(qf_context *context, const char *caffemodel,
                                   Caffe__NetParameter **out)
{
    return upgraded(context, caffemodel,
                    qf_wire_read(context, caffemodel, &caffe__net_parameter__descriptor, out), out);
}

qf_status qf_net_param_parse_binary(qf_context *context, const char *name, const void *bytes,
                                    size_t size, Caffe__NetParameter **out)
{
    return upgraded(
        context, name,
        qf_wire_parse(context, name, bytes, size, &caffe__net_parameter__descriptor, out), out);
}

qf_status qf_net_param_read_bytes(qf_context *context, const char *name, const void *bytes,
                                  size_t size, Caffe__NetParameter **out)
{
    *out = NULL;
    QF_TRY(qf_file_check_size(context, name, size));
    return upgraded(
        context, name,
        qf_wire_read_bytes(context, name, bytes, size, &caffe__net_parameter__descriptor, out),
        out);
}

qf_status qf_net_param_read_text(qf_context *context, const char *name, const char *text,
                                 size_t size, Caffe__NetParameter **out)
{
    *out = NULL;
    QF_TRY(qf_file_check_size(context, name, size));
    const size_t mark = qf_byte_order_mark(text, size);
    return upgraded(context, name,
                    qf_text_parse(context, name, text + mark, size - mark,
                                  &caffe__net_parameter__descriptor, out),
                    out);
}

/* A folder that is there, or that will be made: what ends in a slash can be no file. */
static bool is_folder(const char *path)
{
    struct stat info;
    const size_t length = strlen(path);
    return (length && path[length - 1] == '/') || (stat(path, &info) == 0 && S_ISDIR(info.st_mode));
}

/* Snapshots are named after the solver's file unless it says otherwise. */
static qf_status default_snapshot_prefix(qf_context *context, const char *path,
                                         Caffe__SolverParameter *solver)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t stem = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    bool given = solver->snapshot_prefix != NULL;
    if (given && !is_folder(solver->snapshot_prefix))
        return QF_OK;
    qf_buffer prefix = {0};
    if (given) {
        size_t length = strlen(solver->snapshot_prefix);
        bool slash = length && solver->snapshot_prefix[length - 1] == '/';
        qf_buffer_print(&prefix, "%s%s%.*s", solver->snapshot_prefix, slash ? "" : "/", (int)stem,
                        base);
    } else {
        qf_buffer_append(&prefix, path, (size_t)(base - path) + stem);
    }
    qf_status status = qf_buffer_whole(context, &prefix);
    if (status == QF_OK)
        status = qf_set_string(context, &solver->snapshot_prefix, qf_buffer_text(&prefix));
    qf_buffer_release(&prefix);
    QF_TRY(status);
    qf_info(context, "snapshot_prefix was %s to %s",
            given ? "a directory and is replaced" : "not specified and is set",
            solver->snapshot_prefix);
    return QF_OK;
}

qf_status qf_solver_param_read(qf_context *context, const char *path, Caffe__SolverParameter **out)
{
    bool changed;
    qf_status status = qf_text_read(context, path, &caffe__solver_parameter__descriptor, out);
    if (status == QF_OK)
        status = qf_solver_param_upgrade(context, path, *out, &changed);
    if (status == QF_OK)
        status = default_snapshot_prefix(context, path, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}
