/* What `qat run` adds to training: the test of rates, measuring states of training and keeping the
 * best, against a solver that makes the same steps with the net that the run has prepared; and what
 * averages of the states cost the whole run. They take turns. */
#include "bench.h"

#include "data/stores/hdf5_writer.h"
#include "toolkit/run/flow.h"

#include <dirent.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

/* As few iterations as `qat run` makes by itself. */
enum { ITERATIONS = 200, BATCHES = 16, LEAST_ITEMS = 512, SHARE = 8 };
enum { PLAIN, KEEPS, NO_AVERAGES, RUNS };
enum { STEPS, RATES, MEASURING, OTHERS, STAGES };

static const char *const stage_names[STAGES] = {"a step", "looking for a rate", "measuring states",
                                                "all else"};

typedef struct clock_of_stages {
    double last, seconds[STAGES], whole;
    int steps;
} clock_of_stages;

static int stage_of(const qf_progress *now)
{
    return now->what == qf_stage_training            ? STEPS
           : now->what == qf_stage_rates             ? RATES
           : strncmp(now->what, "measuring", 9) == 0 ? MEASURING
                                                     : OTHERS;
}

/* After each step or batch, which has the time since the one before: a step behind a measuring pass
 * so has the snapshot, too. The first step has all that a net does once, and does not count. */
static void note(void *user, const qf_progress *now)
{
    clock_of_stages *c = user;
    const double at = seconds_now();
    const int stage = stage_of(now), counts = stage != STEPS || c->steps > 0;
    c->seconds[counts ? stage : OTHERS] += at - c->last;
    c->steps += stage == STEPS;
    c->last = at;
}

static void note_step(void *user, const qf_progress *now)
{
    qf_progress training = *now;
    training.what = qf_stage_training;
    note(user, &training);
}

/* ---- a model and images ---- */

static qf_status put_images(const bench *b, const char *path, int items)
{
    const int dims[] = {items, b->model->channels, b->model->size, b->model->size};
    const size_t count = (size_t)items * (size_t)(dims[1] * dims[2] * dims[3]);
    float *data = qf_alloc(count, sizeof *data), *label = qf_alloc((size_t)items, sizeof *label);
    qf_hdf5_writer writer;
    qf_random random;
    if (!data || !label) {
        qf_free(data);
        qf_free(label);
        return qf_fail(b->context, QF_E_MEMORY, "no memory for images");
    }
    qf_random_seed(&random, 1);
    for (size_t i = 0; i < count; i++)
        data[i] = qf_random_uniform(&random, -1, 1);
    for (int i = 0; i < items; i++)
        label[i] = (float)(i % 10);
    qf_status status = qf_hdf5_create(b->context, path, &writer);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "data", dims, 4, data);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "label", dims, 1, label);
    status = qf_hdf5_finish(&writer, status);
    qf_free(data);
    qf_free(label);
    return status;
}

static qf_status write_text(qf_context *context, const char *path, qf_buffer *text)
{
    const qf_status status = qf_file_write(context, path, qf_buffer_text(text), text->size, 0644);
    qf_buffer_release(text);
    return status;
}

typedef struct paths {
    char images[300], list[300], model[300], prefix[300], solver[300], weights[300];
} paths;

/* The bench's model with images from a file, some of which can be held back. */
static qf_status make_model(const bench *b, paths *p)
{
    qf_buffer text = {0}, list = {0};
    char last[32];
    const int items = b->batch * BATCHES > LEAST_ITEMS ? b->batch * BATCHES : LEAST_ITEMS;
    snprintf(p->images, sizeof p->images, "%s/run_images.h5", b->files.folder);
    snprintf(p->list, sizeof p->list, "%s/run_images.txt", b->files.folder);
    snprintf(p->model, sizeof p->model, "%s/run.prototxt", b->files.folder);
    snprintf(p->prefix, sizeof p->prefix, "%s/run/m", b->files.folder);
    snprintf(p->solver, sizeof p->solver, "%s/run/m_solver.prototxt", b->files.folder);
    snprintf(p->weights, sizeof p->weights, "%s/run/m_modified.caffemodel", b->files.folder);
    QF_TRY(put_images(b, p->images, items));
    qf_buffer_print(&list, "%s\n", p->images);
    QF_TRY(write_text(b->context, p->list, &list));
    qf_buffer_print(&text,
                    "layer { name: 'data' type: 'HDF5Data' top: 'data' top: 'label' "
                    "hdf5_data_param { source: '%s' batch_size: %d } }\n",
                    p->list, b->batch);
    b->model->layers(&text, last);
    qf_buffer_print(&text,
                    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: '%s' bottom: 'label' "
                    "top: 'loss' }\n"
                    "layer { name: 'accuracy' type: 'Accuracy' bottom: '%s' bottom: 'label' top: "
                    "'accuracy' include { phase: TEST } }\n",
                    last, last);
    return write_text(b->context, p->model, &text);
}

/* All that the runs wrote. */
static void remove_files(const bench *b, const paths *p)
{
    char folder[300], path[600];
    snprintf(folder, sizeof folder, "%s/run", b->files.folder);
    DIR *list = opendir(folder);
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path); /* not "." and ".." */
    }
    if (list)
        closedir(list);
    rmdir(folder);
    unlink(p->images);
    unlink(p->list);
    unlink(p->model);
}

/* ---- the two ---- */

static qf_status run_keeping(const bench *b, const paths *p, bool average, clock_of_stages *clock)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_result *result = NULL;
    qf_qat_set_defaults(&o);
    o.model = p->model;
    o.weights = b->files.path[FLOAT_WEIGHTS];
    o.save_path = p->prefix;
    o.iterations = ITERATIONS;
    o.distil = QF_DISTIL_OFF;
    o.on_divergence = QF_DIVERGENCE_IGNORE;
    o.test_iterations = 1;
    o.patience = 0;
    o.hold_back = 1.0 / SHARE;
    o.average = average;
    const double start = seconds_now();
    *clock = (clock_of_stages){.last = start};
    const qf_status status = qf_qat_run(b->context, &o, NULL, note, clock, &result);
    clock->whole = seconds_now() - start;
    qf_qat_result_destroy(result);
    return status;
}

static qf_status run_plain(const bench *b, const paths *p, clock_of_stages *clock)
{
    qf_solver *solver;
    QF_TRY(qf_solver_create(b->context, p->solver, &solver));
    solver->param->snapshot = 0;
    qf_solver_keep_blobs(solver, false);
    qf_solver_on_divergence(solver, QF_DIVERGENCE_IGNORE);
    qf_solver_set_callbacks(solver, NULL, note_step, clock);
    qf_status status = qf_solver_load_weights(solver, p->weights);
    *clock = (clock_of_stages){.last = seconds_now()};
    if (status == QF_OK)
        status = qf_solver_step(solver, ITERATIONS - 1); /* no test, which the last would bring */
    qf_solver_destroy(solver);
    return status;
}

static double per_step(const clock_of_stages *clock)
{
    return clock->seconds[STEPS] / (clock->steps - 1);
}

static void take_best(clock_of_stages *best, const clock_of_stages *now)
{
    const bool first = best->steps == 0;
    for (int s = 0; s < STAGES; s++) {
        const double value = s == STEPS ? per_step(now) : now->seconds[s];
        best->seconds[s] = first || value < best->seconds[s] ? value : best->seconds[s];
    }
    best->whole = first || now->whole < best->whole ? now->whole : best->whole;
    best->steps = now->steps;
}

static void report(bench *b, const clock_of_stages best[RUNS])
{
    const double plain = best[PLAIN].seconds[STEPS], *keeps = best[KEEPS].seconds;
    printf("%s, batch %d, %d threads: qat run of %d iterations, ms, best of %d\n\n",
           b->model->title, b->batch, b->threads, ITERATIONS, b->rounds);
    printf("%-24s %10.2f\n", "a step of a solver", 1e3 * plain);
    printf("%-24s %10.2f %8.3f\n", "a step of the run", 1e3 * keeps[STEPS], keeps[STEPS] / plain);
    for (int s = RATES; s < STAGES; s++)
        printf("%-24s %10.1f   as %.1f steps\n", stage_names[s], 1e3 * keeps[s], keeps[s] / plain);
    printf("%-24s %10.1f %8.3f   of one without averages\n", "the whole run",
           1e3 * best[KEEPS].whole, best[KEEPS].whole / best[NO_AVERAGES].whole);
    putchar('\n');
    json_object_set_new(b->json, "run",
                        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "solver_step_ms",
                                  1e3 * plain, "run_step_ms", 1e3 * keeps[STEPS], "rates_ms",
                                  1e3 * keeps[RATES], "measuring_ms", 1e3 * keeps[MEASURING],
                                  "others_ms", 1e3 * keeps[OTHERS], "whole_ms",
                                  1e3 * best[KEEPS].whole, "whole_without_averages_ms",
                                  1e3 * best[NO_AVERAGES].whole));
}

static qf_status take_turns(bench *b, const paths *p, clock_of_stages best[RUNS])
{
    clock_of_stages clock;
    for (int round = 0; round <= b->rounds; round++) { /* the first one warms up */
        for (int k = KEEPS; k < RUNS; k++) {
            QF_TRY(run_keeping(b, p, k == KEEPS, &clock));
            if (round)
                take_best(&best[k], &clock);
        }
        QF_TRY(run_plain(b, p, &clock));
        if (round)
            take_best(&best[PLAIN], &clock);
    }
    return QF_OK;
}

qf_status bench_run(bench *b)
{
    clock_of_stages best[RUNS] = {0};
    paths p;
    QF_TRY(make_model(b, &p));
    const qf_status status = take_turns(b, &p, best);
    if (status == QF_OK)
        report(b, best);
    remove_files(b, &p);
    return status;
}
