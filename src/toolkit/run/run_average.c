/* The average of the states along a training: steps that a rate makes to and fro cancel out in it,
 * so it lies nearer to where training leads than the last of them (Polyak and Juditsky, 1992;
 * Izmailov et al., 2018). It begins with the calibrated start, and takes ranges and statistics of
 * BatchNorm in. */
#include "toolkit/run/keep.h"

#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/model.h"
#include "model/until.h"

#include <limits.h>
#include <string.h>

enum { EVERY = 4 }; /* iterations: one pass over the parameters is little beside so many steps */

static const char ending[] = "average.caffemodel";

static qf_status name_file(qf_run_training *t, int iteration, const char *as, char **out)
{
    *out = qf_run_snapshot_name(t, iteration, as);
    return *out ? QF_OK : qf_fail(t->flow->context, QF_E_MEMORY, "no memory for file names");
}

qf_status qf_run_average_open(qf_run_training *t, qf_run_average *out)
{
    const int iteration = t->progress.iteration;
    char *file;
    *out = (qf_run_average){.states = 1 + iteration / EVERY};
    if (t->options->keep == QF_KEEP_LAST || !t->options->average || !*t->progress.measure ||
        t->progress.finished)
        return QF_OK; /* nobody could say whether it is better, or it has been said */
    QF_TRY(name_file(t, iteration, iteration ? ending : "caffemodel", &file));
    char *until = qf_until_suspend(t->flow->context); /* the whole net is measured */
    const qf_status status = qf_run_fake_net(t->flow->context, t->model, file, false, &out->net);
    qf_until_resume(t->flow->context, until);
    qf_free(file);
    return qf_within(t->flow->context, status, "the average of the states of training");
}

void qf_run_average_close(qf_run_average *average)
{
    qf_run_average_drop(average);
    qf_net_destroy(average->net);
    average->net = NULL;
}

int qf_run_average_next(const qf_run_average *average, int iteration)
{
    return average->net ? iteration - iteration % EVERY + EVERY : INT_MAX;
}

static void move(float *mean, const float *state, size_t count, float share)
{
    for (size_t i = 0; i < count; i++)
        mean[i] += (state[i] - mean[i]) * share;
}

/* Quantised weights are made of the average's own when it is measured. */
static bool is_derived(const qf_layer *layer, int index)
{
    return index == 0 && strcmp(layer->type->name, "WeightQAT") == 0;
}

/* An iteration has been made. */
qf_status qf_run_average_add(qf_run_average *average, const qf_net *training, int iteration)
{
    qf_net *net = average->net;
    if (!net || iteration % EVERY != 0 || average->states > iteration / EVERY)
        return QF_OK;
    average->states++;
    QF_TRY(qf_run_settle_ranges(training));
    for (int i = 0; i < net->learnable_count; i++) {
        const qf_learnable *own = &net->learnables[i];
        const qf_layer *layer = net->layers[own->layer];
        const qf_layer *trained = qf_net_find_layer(training, layer->name);
        const float *state;
        float *mean;
        if (!trained || own->index >= trained->param_count || is_derived(layer, own->index))
            continue;
        qf_tensor *to = layer->params[own->index].blob->data;
        QF_TRY(qf_read(net->context, trained->params[own->index].blob->data, QF_PLAIN, &state));
        QF_TRY(qf_update(net->context, to, QF_PLAIN, &mean));
        move(mean, state, qf_shape_count(&to->shape), 1 / (float)average->states);
    }
    return QF_OK;
}

/* ---- what is kept ---- */

void qf_run_average_drop(qf_run_average *average)
{
    qf_message_free(average->kept);
    average->kept = NULL;
}

static void swap_blobs(Caffe__LayerParameter *a, Caffe__LayerParameter *b)
{
    Caffe__BlobProto **const blobs = a->blobs;
    const size_t count = a->n_blobs;
    a->blobs = b->blobs;
    a->n_blobs = b->n_blobs;
    b->blobs = blobs;
    b->n_blobs = count;
}

/* In memory, for it costs no more than a copy; the next snapshot takes it along. What only training
 * has, a teacher's weights, is in it as well. */
qf_status qf_run_average_keep(qf_run_average *average, qf_net *training, int iteration)
{
    Caffe__NetParameter *mean, *whole;
    QF_TRY(qf_net_to_proto(average->net, false, &mean));
    const qf_status status = qf_net_to_proto(training, false, &whole);
    for (size_t i = 0; status == QF_OK && i < mean->n_layer; i++) {
        Caffe__LayerParameter *layer = qf_find_layer(whole, mean->layer[i]->name);
        if (layer)
            swap_blobs(layer, mean->layer[i]);
    }
    qf_message_free(mean);
    QF_TRY(status);
    qf_run_average_drop(average);
    average->kept = whole;
    average->kept_iteration = iteration;
    return QF_OK;
}

qf_status qf_run_average_save_kept(qf_run_training *t, qf_run_average *average)
{
    char *file;
    if (!average->kept)
        return QF_OK;
    QF_TRY(name_file(t, average->kept_iteration, ending, &file));
    const qf_status status = qf_wire_write(t->flow->context, file, average->kept, 0644);
    qf_free(file);
    if (status == QF_OK)
        qf_run_average_drop(average);
    return status;
}

qf_status qf_run_average_save(qf_run_training *t, qf_run_average *average, int iteration)
{
    char *file;
    const bool is_kept = average->kept && average->kept_iteration == iteration;
    QF_TRY(qf_run_average_save_kept(t, average));
    if (!average->net || is_kept)
        return QF_OK;
    QF_TRY(name_file(t, iteration, ending, &file));
    const qf_status status = qf_net_save_weights(average->net, file);
    qf_free(file);
    return status;
}

void qf_run_average_remove(const qf_run_training *t, int iteration)
{
    qf_run_snapshot_remove(t, iteration, ending);
}

static qf_status write_again(qf_context *context, const char *from, const char *to)
{
    qf_weights weights;
    QF_TRY(qf_checksum_check(context, from, NULL));
    QF_TRY(qf_weights_read(context, from, &weights));
    const qf_status status = qf_wire_write(context, to, weights.net, 0644);
    qf_weights_release(&weights);
    return status;
}

qf_status qf_run_average_take(qf_run_training *t)
{
    const qf_run_measure *kept = &t->progress.kept;
    const int iteration = kept->iteration;
    char *from, *to = NULL;
    if (!kept->average || iteration != t->progress.iteration)
        qf_run_average_remove(t, t->progress.iteration); /* nothing goes on from it */
    if (!kept->average)
        return QF_OK;
    QF_TRY(name_file(t, iteration, ending, &from));
    qf_status status = name_file(t, iteration, "caffemodel", &to);
    if (status == QF_OK && qf_file_exists(from)) /* else it is done */
        status = write_again(t->flow->context, from, to);
    if (status == QF_OK)
        qf_run_average_remove(t, iteration);
    qf_free(from);
    qf_free(to);
    return status;
}
