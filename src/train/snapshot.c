/* Writing and restoring snapshots. */
#include "train/snapshot.h"

#include "base/checksum.h"
#include "base/ending.h"
#include "base/file.h"
#include "base/finite.h"
#include "base/memory.h"
#include "base/output.h"
#include "data/stores/hdf5_array.h"
#include "model/file_type.h"
#include "train/run_state.h"
#include "train/state_hdf5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One of Caffe's two formats. */
typedef struct format {
    const char *model, *state; /* extensions */
    const char *words;         /* in the log */
    qf_status (*write_model)(qf_net *net, const char *path, bool with_diff);
    qf_status (*write_state)(qf_context *context, const char *path,
                             const Caffe__SolverState *state);
} format;

static qf_status write_state_binary(qf_context *context, const char *path,
                                    const Caffe__SolverState *state)
{
    return qf_wire_write(context, path, state, 0644);
}

static const format *format_of(const Caffe__SolverParameter *param)
{
    static const format hdf5 = {".caffemodel.h5", ".solverstate.h5", "HDF5",
                                qf_net_save_weights_hdf5, qf_state_write_hdf5};
    static const format binary = {".caffemodel", ".solverstate", "binary proto",
                                  qf_net_save_weights_binary, write_state_binary};
    return param->snapshot_format == CAFFE__SOLVER_PARAMETER__SNAPSHOT_FORMAT__HDF5 ? &hdf5
                                                                                    : &binary;
}

static qf_status snapshot_name(qf_context *context, const Caffe__SolverParameter *param,
                               int iteration, const char *extension, qf_buffer *out)
{
    qf_buffer_print(out, "%s_iter_%d%s", param->snapshot_prefix ? param->snapshot_prefix : "",
                    iteration, extension);
    return out->failed ? qf_fail(context, QF_E_MEMORY, "no memory for a file name") : QF_OK;
}

qf_status qf_snapshot_probe(qf_context *context, const Caffe__SolverParameter *param)
{
    qf_buffer name = {0};
    qf_status status = snapshot_name(context, param, 0, format_of(param)->model, &name);
    if (status == QF_OK)
        status = qf_output_probe(context, name.data);
    qf_buffer_release(&name);
    return status;
}

static qf_status tensor_to_proto(qf_context *context, qf_tensor *tensor, Caffe__BlobProto **out)
{
    qf_blob view = {.context = context, .name = "history", .data = tensor, .diff = tensor};
    return qf_blob_to_proto(&view, false, out);
}

static qf_status make_state(qf_solver *solver, const char *learned_net, Caffe__SolverState **out)
{
    qf_context *context = solver->context;
    QF_TRY(qf_message_new(context, &caffe__solver_state__descriptor, out));
    Caffe__SolverState *state = *out;
    state->has_iter = state->has_current_step = true;
    state->iter = solver->iteration;
    state->current_step = solver->step;
    QF_TRY(qf_set_string(context, &state->learned_net, learned_net));
    int count = solver->net->learnable_count * solver->rule->histories;
    for (int i = 0; i < count; i++) {
        Caffe__BlobProto *blob;
        QF_TRY(tensor_to_proto(context, solver->history[i], &blob));
        qf_status status =
            qf_append(context, &state->n_history, &state->history, &blob, sizeof blob);
        if (status != QF_OK) {
            qf_message_free(blob);
            return status;
        }
    }
    return qf_run_state_save(solver, &state->run);
}

/* Weights and state together, the weights first: a state whose weights are there can always be
 * resumed. */
static qf_status write_both(qf_solver *solver, const format *format, const char *model,
                            const char *state_file, const Caffe__SolverState *state)
{
    qf_context *context = solver->context;
    const size_t mark = qf_outputs_begin(context);
    qf_info(context, "Snapshotting to %s file %s", format->words, model);
    qf_status status = format->write_model(solver->net, model, solver->param->snapshot_diff);
    if (status == QF_OK) {
        qf_info(context, "Snapshotting solver state to %s file %s", format->words, state_file);
        status = format->write_state(context, state_file, state);
    }
    return qf_outputs_end(context, mark, status);
}

qf_status qf_solver_snapshot(qf_solver *solver)
{
    qf_context *context = solver->context;
    const Caffe__SolverParameter *param = solver->param;
    const format *format = format_of(param);
    qf_buffer model = {0}, state_file = {0};
    Caffe__SolverState *state = NULL;
    qf_status status = snapshot_name(context, param, solver->iteration, format->model, &model);
    if (status == QF_OK)
        status = snapshot_name(context, param, solver->iteration, format->state, &state_file);
    if (status != QF_OK)
        goto done;
    status = make_state(solver, model.data, &state);
    if (status == QF_OK)
        status = write_both(solver, format, model.data, state_file.data, state);
done:
    qf_message_free(state);
    qf_buffer_release(&model);
    qf_buffer_release(&state_file);
    return status;
}

/* A momentum that is NaN makes the weights NaN in the first iteration. */
static qf_status check_values(qf_context *context, const Caffe__BlobProto *blob, size_t index)
{
    char text[128];
    for (size_t i = 0; i < blob->n_double_data; i++)
        if (isnan(blob->double_data[i]))
            return qf_fail(context, QF_E_VALUE, "value %zu is NaN; go on from an earlier snapshot",
                           i);
    if (qf_all_finite(blob->data, blob->n_data))
        return QF_OK;
    const qf_odd_values odd = qf_find_odd_values(blob->data, blob->n_data);
    qf_odd_values_text(&odd, blob->n_data, text, sizeof text);
    if (odd.nan)
        return qf_fail(context, QF_E_VALUE,
                       "%s; the training had diverged, or the file is damaged: go on from an "
                       "earlier snapshot",
                       text);
    qf_warning(context, "history blob %zu of the state: %s", index, text);
    return QF_OK;
}

/* A history blob as it will be taken; nothing is changed until all of them fit. */
static qf_status take_history(qf_solver *solver, const Caffe__SolverState *state, bool check_only)
{
    size_t count = (size_t)(solver->net->learnable_count * solver->rule->histories);
    if (state->n_history != count)
        return qf_fail(
            solver->context, QF_E_MISMATCH,
            "the state holds %zu history blobs, but a %s solver on this net needs %zu; was "
            "it written by another solver type or for another net?",
            state->n_history, solver->rule->name, count);
    for (size_t i = 0; i < count; i++) {
        qf_tensor *tensor = solver->history[i];
        qf_blob view = {
            .context = solver->context, .name = "history", .data = tensor, .diff = tensor};
        qf_status status = check_only ? qf_blob_check_proto(&view, state->history[i], false)
                                      : qf_blob_from_proto(&view, state->history[i], false);
        if (status == QF_OK && check_only)
            status = check_values(solver->context, state->history[i], i);
        QF_TRY(qf_within(solver->context, status, "history blob %zu", i));
    }
    return QF_OK;
}

/* Where ".solverstate" or ".solverstate.h5" begins; NULL: another kind of file. */
static const char *state_extension(const char *path)
{
    static const char *const endings[] = {".solverstate", ".solverstate.h5"};
    const char *found = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof *endings && !found; i++)
        found = qf_find_ending(path, endings[i]);
    return found;
}

/* The file of weights that a state names. Where folders were moved, the one of that name beside the
 * state; where files were renamed, the one that is named like the state. */
static qf_status find_learned_net(qf_context *context, const char *state_file, const char *named,
                                  qf_buffer *out)
{
    const char *slash = strrchr(state_file, '/'), *base = strrchr(named, '/');
    const char *end = state_extension(state_file);
    qf_buffer_print(out, "%s", named);
    if (!out->failed && !qf_file_exists(named)) {
        out->size = 0;
        qf_buffer_print(out, "%.*s%s", slash ? (int)(slash - state_file + 1) : 0, state_file,
                        base ? base + 1 : named);
    }
    if (!out->failed && !qf_file_exists(out->data) && end) {
        qf_buffer renamed = {0};
        qf_buffer_print(&renamed, "%.*s.caffemodel%s", (int)(end - state_file), state_file,
                        end + strlen(".solverstate"));
        if (!renamed.failed && qf_file_exists(renamed.data)) {
            qf_warning(context, "%s names the weights %s, which are not there; taking %s",
                       state_file, named, renamed.data);
            out->size = 0;
            qf_buffer_print(out, "%s", renamed.data);
        }
        qf_buffer_release(&renamed);
    }
    return out->failed ? qf_fail(context, QF_E_MEMORY, "no memory for a file name") : QF_OK;
}

/* Where reading failed the sentence names the file that was meant, by the name of this one. */
qf_status qf_snapshot_meant_weights(qf_context *context, qf_status status, const char *path)
{
    const char *end = state_extension(path);
    if (status == QF_OK || status == QF_E_MEMORY || !end)
        return status;
    const qf_file_type type = qf_file_type_of(path);
    return type == QF_FILE_STATE || type == QF_FILE_HDF5_STATE
               ? qf_fail(context, QF_E_ARGUMENT,
                         "%s holds a solver's state, not weights; take %.*s.caffemodel%s, or "
                         "resume from the state with --snapshot",
                         path, (int)(end - path), path, end + strlen(".solverstate"))
               : status;
}

/* The same of "net_iter_100.caffemodel" given for a state. */
static qf_status meant_state(qf_context *context, qf_status status, const char *path)
{
    const char *end = strstr(path, ".caffemodel");
    while (end && strstr(end + 1, ".caffemodel"))
        end = strstr(end + 1, ".caffemodel");
    if (status == QF_OK || status == QF_E_MEMORY || !end ||
        (strcmp(end, ".caffemodel") != 0 && strcmp(end, ".caffemodel.h5") != 0))
        return status;
    const qf_file_type type = qf_file_type_of(path);
    if (type != QF_FILE_WEIGHTS && type != QF_FILE_HDF5)
        return status;
    char state[4096];
    snprintf(state, sizeof state, "%.*s.solverstate%s", (int)(end - path), path,
             end + strlen(".caffemodel"));
    return qf_fail(context, QF_E_ARGUMENT,
                   "%s holds weights, not a solver's state; resume from %s%s, or start from these "
                   "weights with --weights",
                   path, qf_file_exists(state) ? "" : "the .solverstate that was written with it, ",
                   state);
}

/* In whichever format it is: names may say anything. */
static qf_status read_state(qf_context *context, const char *path, Caffe__SolverState **out)
{
    *out = NULL;
    QF_TRY(qf_checksum_check(context, path, NULL));
    qf_status status = qf_is_hdf5(path)
                           ? qf_state_read_hdf5(context, path, out)
                           : qf_wire_read(context, path, &caffe__solver_state__descriptor, out);
    if (status == QF_OK && !(*out)->has_iter) { /* weights of the oldest kind can be read so */
        qf_message_free(*out);
        *out = NULL;
        status = qf_fail(context, QF_E_FORMAT, "%s: there is no iteration in it", path);
        status = qf_wrong_file(context, status, path, QF_FILE_STATE);
    }
    return meant_state(context, status, path);
}

qf_status qf_solver_restore(qf_solver *solver, const char *solverstate)
{
    qf_context *context = solver->context;
    Caffe__SolverState *state;
    qf_buffer learned = {0};
    QF_TRY(read_state(context, solverstate, &state));
    qf_status status = take_history(solver, state, true);
    if (status == QF_OK && state->learned_net && *state->learned_net) {
        status = find_learned_net(context, solverstate, state->learned_net, &learned);
        if (status == QF_OK)
            status = qf_net_load_weights(solver->net, learned.data);
    }
    if (status == QF_OK) {
        qf_info(context, "SGDSolver: restoring history");
        status = take_history(solver, state, false);
    }
    if (status == QF_OK)
        status = qf_run_state_restore(solver, state->run);
    if (status == QF_OK) {
        solver->iteration = state->iter;
        solver->step = state->current_step;
        qf_debug(context, "Restored iteration %d from %s", solver->iteration, solverstate);
    }
    qf_message_free(state);
    qf_buffer_release(&learned);
    return qf_within(context, status, "%s", solverstate);
}
