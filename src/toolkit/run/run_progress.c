/* How far a run has come, on the disk: what an interrupted run goes on from. */
#include "toolkit/run/keep.h"

#include "base/file.h"
#include "base/memory.h"
#include "toolkit/toolkit.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *qf_run_snapshot_name(const qf_run_training *t, int iteration, const char *ending)
{
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s_iter_%d.%s", t->prefix, iteration, ending);
    char *copy = name.failed ? NULL : qf_strdup(name.data);
    qf_buffer_release(&name);
    return copy;
}

/* Asks for no memory: what has gone well does not fail, or leave files, for lack of it. */
void qf_run_snapshot_remove(const qf_run_training *t, int iteration, const char *ending)
{
    static const char *const tails[] = {"", ".sha256"};
    char name[PATH_MAX];
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const int length =
            snprintf(name, sizeof name, "%s_iter_%d.%s%s", t->prefix, iteration, ending, tails[i]);
        if (length > 0 && (size_t)length < sizeof name)
            unlink(name);
    }
}

/* ---- the options that a run goes on with ---- */

enum { OPTIONS = 17 };

static void describe_options(const qf_qat_options *o, qf_buffer out[OPTIONS])
{
    int n = 0;
    qf_buffer_print(&out[n++], "model %s", o->model);
    qf_buffer_print(&out[n++], "weights %s", o->weights);
    qf_buffer_print(&out[n++], "train_data %s", o->train_data ? o->train_data : "of the model");
    qf_buffer_print(&out[n++], "validation_data %s",
                    o->validation_data ? o->validation_data : "none");
    qf_buffer_print(&out[n++], "config_definition %s",
                    o->config_definition ? o->config_definition : "none");
    qf_buffer_print(&out[n++], "iterations %d", o->iterations);
    qf_buffer_print(&out[n++], "epochs %d", o->epochs);
    qf_buffer_print(&out[n++], "float_solver %s", o->float_solver ? o->float_solver : "none");
    qf_buffer_print(&out[n++], "batch_size %d", o->batch_size);
    qf_buffer_print(&out[n++], "base_lr %.9g", o->base_lr);
    qf_buffer_print(&out[n++], "bits %d, %d, at the edges %d", o->weight_bits, o->activation_bits,
                    o->edge_bits);
    qf_buffer_print(&out[n++], "ranges %s", o->ranges ? o->ranges : "amct");
    qf_buffer_print(&out[n++], "equalise %d", (int)o->equalise);
    qf_buffer_print(&out[n++], "distil %d, temperature %g, weight %g, blobs %s", (int)o->distil,
                    o->distil_temperature, o->distil_weight,
                    o->distil_blobs ? o->distil_blobs : "none");
    qf_buffer_print(&out[n++], "hold_back %g", o->hold_back < 0 ? -1 : o->hold_back);
    qf_buffer_print(&out[n++], "batch_num %d", o->batch_num);
    qf_buffer_print(&out[n++], "keep %s, average %s", o->keep == QF_KEEP_LAST ? "last" : "best",
                    o->average ? "on" : "off");
}

static void release_options(qf_buffer options[OPTIONS])
{
    for (int i = 0; i < OPTIONS; i++)
        qf_buffer_release(&options[i]);
}

static bool all_written(const qf_buffer options[OPTIONS])
{
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].failed)
            return false;
    return true;
}

/* ---- writing ---- */

static qf_status put_measure(qf_context *context, const qf_run_measure *m, Caffe__QatMeasure **out)
{
    QF_TRY(qf_message_new(context, &caffe__qat_measure__descriptor, out));
    (*out)->has_iteration = true;
    (*out)->iteration = m->iteration;
    (*out)->has_average = (*out)->average = m->average;
    (*out)->has_score = isfinite(m->score);
    (*out)->score = m->score;
    (*out)->has_loss = isfinite(m->loss);
    (*out)->loss = m->loss;
    for (int g = 0; g < m->losses.groups; g++)
        QF_TRY(qf_append(context, &(*out)->n_group_loss, &(*out)->group_loss, &m->losses.mean[g],
                         sizeof m->losses.mean[g]));
    return QF_OK;
}

static qf_status put_options(qf_context *context, const qf_qat_options *o, Caffe__QatProgress *out)
{
    qf_buffer options[OPTIONS] = {0};
    describe_options(o, options);
    qf_status status =
        all_written(options) ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for the progress");
    for (int i = 0; status == QF_OK && i < OPTIONS; i++)
        status = qf_append_string(context, &out->n_option, &out->option, options[i].data);
    release_options(options);
    return status;
}

static qf_status fill(qf_context *context, const qf_run_training *t, Caffe__QatProgress *out)
{
    const qf_run_progress *p = &t->progress;
    out->has_iteration = out->has_finished = out->has_better = out->has_items = true;
    out->has_without_gain = out->has_interval = true;
    out->iteration = p->iteration;
    out->finished = p->finished;
    out->better = p->better;
    out->items = p->items;
    out->without_gain = p->without_gain;
    out->interval = p->interval;
    if (*p->measure)
        QF_TRY(qf_set_string(context, &out->measure, p->measure));
    if (*p->reason)
        QF_TRY(qf_set_string(context, &out->reason, p->reason));
    if (*p->diverged)
        QF_TRY(qf_set_string(context, &out->diverged, p->diverged));
    if (p->rejected.iteration)
        QF_TRY(put_measure(context, &p->rejected, &out->rejected));
    QF_TRY(put_measure(context, &p->float_net, &out->float_net));
    QF_TRY(put_measure(context, &p->start, &out->start));
    QF_TRY(put_measure(context, &p->kept, &out->kept));
    QF_TRY(put_measure(context, &p->last, &out->last));
    QF_TRY(put_measure(context, &p->last_average, &out->last_average));
    return put_options(context, t->options, out);
}

qf_status qf_run_progress_write(qf_run_training *t)
{
    qf_context *context = t->flow->context;
    Caffe__QatProgress *message;
    QF_TRY(qf_message_new(context, &caffe__qat_progress__descriptor, &message));
    qf_status status = fill(context, t, message);
    if (status == QF_OK)
        status = qf_text_write(context, t->file, message, 0640);
    qf_message_free(message);
    return status;
}

/* ---- reading ---- */

static qf_run_measure take_measure(const Caffe__QatMeasure *m)
{
    qf_run_measure out = {.iteration = m ? m->iteration : 0,
                          .average = m && m->average,
                          .score = m && m->has_score ? m->score : (double)NAN,
                          .loss = m && m->has_loss ? m->loss : (double)NAN};
    for (size_t g = 0; m && g < m->n_group_loss && g < QF_RUN_GROUPS; g++)
        out.losses.mean[out.losses.groups++] = m->group_loss[g];
    return out;
}

/* What is kept when training diverges may be later than the last snapshot. */
static qf_status check(qf_context *context, const Caffe__QatProgress *m, const char *file)
{
    const int last = m->last && m->last->iteration > m->iteration && m->diverged
                         ? m->last->iteration
                         : m->iteration;
    if (m->iteration < 0 || m->interval < 1 || !m->kept || m->kept->iteration < 0 ||
        m->kept->iteration > last || m->better < -1 || m->better > 1)
        return qf_fail(context, QF_E_FORMAT,
                       "%s does not say how far a run has come; without --resume it begins anew",
                       file);
    return QF_OK;
}

/* A run goes on with what it was begun with. */
static qf_status compare_options(qf_context *context, const qf_run_training *t,
                                 const Caffe__QatProgress *m)
{
    qf_buffer options[OPTIONS] = {0};
    describe_options(t->options, options);
    qf_status status =
        all_written(options) ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for the progress");
    for (size_t i = 0; status == QF_OK && i < OPTIONS; i++)
        if (i >= m->n_option || strcmp(options[i].data, m->option[i]) != 0)
            status =
                qf_fail(context, QF_E_ARGUMENT,
                        "the run in %s was begun with %.200s, not with %.200s: resume it with "
                        "the options it has, or begin anew without --resume",
                        t->file, i < m->n_option ? m->option[i] : "other options", options[i].data);
    release_options(options);
    return status;
}

qf_status qf_run_progress_read(qf_run_training *t, bool *found)
{
    qf_context *context = t->flow->context;
    qf_run_progress *p = &t->progress;
    Caffe__QatProgress *m;
    *found = qf_file_exists(t->file);
    if (!*found)
        return QF_OK;
    QF_TRY(qf_text_read(context, t->file, &caffe__qat_progress__descriptor, &m));
    qf_status status = check(context, m, t->file);
    if (status == QF_OK)
        status = compare_options(context, t, m);
    *p = (qf_run_progress){.iteration = m->iteration,
                           .finished = m->finished,
                           .better = m->better,
                           .items = m->items,
                           .float_net = take_measure(m->float_net),
                           .start = take_measure(m->start),
                           .kept = take_measure(m->kept),
                           .last = take_measure(m->last),
                           .rejected = take_measure(m->rejected),
                           .last_average = take_measure(m->last_average),
                           .without_gain = m->without_gain,
                           .interval = m->interval};
    snprintf(p->measure, sizeof p->measure, "%s", m->measure ? m->measure : "");
    snprintf(p->reason, sizeof p->reason, "%s", m->reason ? m->reason : "");
    snprintf(p->diverged, sizeof p->diverged, "%s", m->diverged ? m->diverged : "");
    t->by_training_loss = strcmp(p->measure, qf_run_training_loss) == 0;
    qf_message_free(m);
    return status;
}

/* ---- what is said at the end ---- */

static void explain_average(const qf_run_progress *p, char *out, size_t size)
{
    qf_run_difference d;
    const int said =
        snprintf(out, size, "The average of the states up to iteration %d of %d is exported",
                 p->kept.iteration, p->iteration);
    if (!qf_run_compare(&p->begun, &p->kept, &d))
        snprintf(out + said, size - (size_t)said, ", not worse on the %llu items.",
                 (unsigned long long)p->items);
    else
        snprintf(out + said, size - (size_t)said,
                 ": on the %llu items its loss is %s that of the start, by %.2g (standard error of "
                 "the difference: %.2g).",
                 (unsigned long long)p->items, d.gain >= 0 ? "below" : "not clearly above",
                 fabs(d.gain), d.error);
}

static void explain_divergence(const qf_run_progress *p, char *out, size_t size)
{
    char what[80] = "The calibrated start";
    if (p->kept.iteration)
        snprintf(what, sizeof what, "The %s iteration %d",
                 p->kept.average ? "average of the states up to" : "state of", p->kept.iteration);
    snprintf(out, size, "%s is exported, since the training diverged: %.150s", what, p->diverged);
}

static void explain(const qf_run_training *t, char *out, size_t size)
{
    const qf_run_progress *p = &t->progress;
    const int kept = p->kept.iteration, last = p->iteration;
    const unsigned long long items = p->items;
    const char *ending =
        p->without_gain && t->options->patience && p->without_gain >= t->options->patience
            ? "; training ended there, since it no longer gained"
            : "";
    if (*p->diverged)
        explain_divergence(p, out, size);
    else if (p->rejected.iteration)
        snprintf(out, size,
                 "The calibrated start is exported: the best state, of iteration %d, is worse than "
                 "it as integers (%g on the %llu items, the start %g).",
                 p->rejected.iteration, p->rejected.score, items, p->start.score);
    else if (t->options->keep == QF_KEEP_LAST)
        snprintf(out, size, "The last state of training is exported, as was asked for.");
    else if (!*p->measure)
        snprintf(out, size, "The last state of training is exported: nothing was measured, %.180s.",
                 p->reason);
    else if (kept == 0)
        snprintf(
            out, size,
            "The calibrated start is exported: in %d iterations nothing was better on the %llu "
            "items%s.",
            last, items, ending);
    else if (p->kept.average)
        explain_average(p, out, size);
    else
        snprintf(out, size,
                 "The state of iteration %d of %d is exported, the best on the %llu "
                 "items%s.",
                 kept, last, items, ending);
}

void qf_run_progress_report(const qf_run_training *t, qf_qat_result *out)
{
    const qf_run_progress *p = &t->progress;
    snprintf(out->validation_name, sizeof out->validation_name, "%s", p->measure);
    out->validation_better = p->better;
    out->validation_items = p->items;
    out->validation_float = p->float_net.score;
    out->validation_calibrated = p->start.score;
    out->validation_last = p->last.score;
    out->validation_best = p->kept.score;
    out->kept_iteration = qf_run_kept(t);
    out->validation_average = p->last_average.iteration ? p->last_average.score : (double)NAN;
    out->kept_average = out->kept_iteration > 0 && p->kept.average;
    out->last_iteration = p->iteration;
    explain(t, out->kept_reason, sizeof out->kept_reason);
}
