/* A solver's state to and from HDF5. */
#include "train/state_hdf5.h"

#include "base/memory.h"
#include "data/stores/hdf5_array.h"
#include "data/stores/hdf5_writer.h"
#include "model/file_type.h"

#include <stdio.h>
#include <stdlib.h>

static const char iteration_name[] = "/iter", step_name[] = "/current_step",
                  net_name[] = "/learned_net", history_group[] = "/history", run_name[] = "/run";

static void history_name(size_t index, char *out, size_t size)
{
    snprintf(out, size, "%s/%zu", history_group, index);
}

static qf_status put_run(qf_hdf5_writer *writer, const Caffe__RunState *run)
{
    if (!run)
        return QF_OK;
    size_t size = caffe__run_state__get_packed_size(run);
    uint8_t *bytes = qf_alloc(size, 1);
    if (!bytes)
        return qf_fail(writer->context, QF_E_MEMORY, "no memory for the state of the run");
    caffe__run_state__pack(run, bytes);
    qf_status status = qf_hdf5_put_bytes(writer, run_name, bytes, size);
    qf_free(bytes);
    return status;
}

static qf_status put_state(qf_hdf5_writer *writer, const Caffe__SolverState *state)
{
    QF_TRY(qf_hdf5_put_integer(writer, iteration_name, state->iter));
    QF_TRY(qf_hdf5_put_text(writer, net_name, state->learned_net));
    QF_TRY(qf_hdf5_put_integer(writer, step_name, state->current_step));
    QF_TRY(qf_hdf5_put_group(writer, history_group));
    for (size_t i = 0; i < state->n_history; i++) {
        const Caffe__BlobProto *blob = state->history[i];
        char name[64];
        int dims[QF_HDF5_MAX_AXES], axes;
        history_name(i, name, sizeof name);
        QF_TRY(qf_blob_proto_shape(writer->context, blob, dims, &axes, NULL));
        QF_TRY(qf_hdf5_put_floats(writer, name, dims, axes, blob->data));
    }
    return put_run(writer, state->run);
}

qf_status qf_state_write_hdf5(qf_context *context, const char *path,
                              const Caffe__SolverState *state)
{
    qf_hdf5_writer writer;
    qf_status status = qf_hdf5_create(context, path, &writer);
    if (status == QF_OK)
        status = put_state(&writer, state);
    return qf_hdf5_finish(&writer, status);
}

/* ---- reading ---- */

static qf_status get_history_blob(qf_context *context, int64_t file, size_t index,
                                  Caffe__BlobProto *out)
{
    char name[64];
    qf_hdf5_shape shape;
    history_name(index, name, sizeof name);
    QF_TRY(qf_hdf5_describe(context, file, name, &shape));
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &out->shape));
    for (int i = 0; i < shape.axes; i++) {
        int64_t dimension = shape.dim[i];
        QF_TRY(
            qf_append(context, &out->shape->n_dim, &out->shape->dim, &dimension, sizeof dimension));
    }
    if (!shape.count)
        return QF_OK;
    out->data = malloc(shape.count * sizeof *out->data); /* protobuf-c will free it */
    if (!out->data)
        return qf_fail(context, QF_E_MEMORY, "no memory for %s", name);
    out->n_data = shape.count;
    return qf_hdf5_read(context, file, name, out->data);
}

static qf_status get_run(qf_context *context, int64_t file, Caffe__RunState **out)
{
    qf_buffer bytes = {0};
    bool found;
    QF_TRY(qf_hdf5_find(context, file, run_name, &found));
    if (!found) /* Caffe's own */
        return QF_OK;
    qf_status status = qf_hdf5_read_bytes(context, file, run_name, &bytes);
    if (status == QF_OK)
        status = qf_wire_parse(context, "run", qf_buffer_text(&bytes), bytes.size,
                               &caffe__run_state__descriptor, out);
    qf_buffer_release(&bytes);
    return status;
}

static qf_status get_state(qf_context *context, int64_t file, Caffe__SolverState *state)
{
    int count = qf_hdf5_group_size(file, history_group);
    if (count < 0)
        return qf_fail(
            context, QF_E_FORMAT,
            "there is no group 'history': not a solver's state. The state's file ends in "
            ".solverstate.h5, that of the weights in .caffemodel.h5");
    state->has_iter = state->has_current_step = true;
    QF_TRY(qf_hdf5_read_integer(context, file, iteration_name, &state->iter));
    QF_TRY(qf_hdf5_read_integer(context, file, step_name, &state->current_step));
    bool has_net;
    QF_TRY(qf_hdf5_find(context, file, net_name, &has_net));
    if (has_net) {
        qf_buffer name = {0};
        qf_status status = qf_hdf5_read_text(context, file, net_name, &name);
        if (status == QF_OK)
            status = qf_set_string(context, &state->learned_net, qf_buffer_text(&name));
        qf_buffer_release(&name);
        QF_TRY(status);
    }
    for (int i = 0; i < count; i++) {
        Caffe__BlobProto *blob;
        QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, &blob));
        qf_status status =
            qf_append(context, &state->n_history, &state->history, &blob, sizeof blob);
        if (status != QF_OK)
            qf_message_free(blob);
        QF_TRY(status);
        QF_TRY(get_history_blob(context, file, (size_t)i, blob));
    }
    return get_run(context, file, &state->run);
}

qf_status qf_state_read_hdf5(qf_context *context, const char *path, Caffe__SolverState **out)
{
    int64_t file;
    *out = NULL;
    QF_TRY(qf_hdf5_open(context, path, &file));
    qf_status status = qf_message_new(context, &caffe__solver_state__descriptor, out);
    if (status == QF_OK)
        status = get_state(context, file, *out);
    qf_hdf5_close(file);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    status = qf_within(context, status, "%s", path);
    return qf_wrong_file(context, status, path, QF_FILE_HDF5_STATE);
}
