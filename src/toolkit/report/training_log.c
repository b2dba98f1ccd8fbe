/* Reading the log of a training, line by line: losses, scores of tests, learned clip ranges. */
#include "toolkit/report/training_log.h"

#include "base/memory.h"
#include "base/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reading {
    qf_context *context;
    qf_report *report;
    int iteration;
} reading;

static const char *behind(const char *line, const char *words)
{
    const char *at = strstr(line, words);
    return at ? at + strlen(words) : NULL;
}

static qf_status no_memory(const reading *r)
{
    return qf_fail(r->context, QF_E_MEMORY, "no memory for the curves of a log");
}

/* ---- curves ---- */

static qf_report_curve *curve_of(qf_report *report, const char *name, bool test)
{
    for (size_t i = 0; i < report->curves; i++)
        if (report->curve[i]->test == test && strcmp(report->curve[i]->name, name) == 0)
            return report->curve[i];
    qf_report_curve *curve = qf_rows_add(&report->curve, &report->curves, sizeof *curve);
    if (curve) {
        snprintf(curve->name, sizeof curve->name, "%s", name);
        curve->test = test;
    }
    return curve;
}

/* Both arrays double when their length is a power of two. */
static bool make_room(qf_report_curve *curve)
{
    const size_t points = curve->points, twice = points ? 2 * points : 1;
    size_t iterations = points, values = points;
    if (points & (points - 1))
        return true;
    return qf_grow(&curve->iteration, &iterations, twice, sizeof *curve->iteration) &&
           qf_grow(&curve->value, &values, twice, sizeof *curve->value);
}

/* A run that was resumed, or began anew, says some iterations again. */
static void forget_from(qf_report_curve *curve, double iteration)
{
    while (curve->points && curve->iteration[curve->points - 1] >= iteration)
        curve->points--;
}

static qf_status add_point(const reading *r, const char *name, bool test, double value)
{
    qf_report_curve *curve = curve_of(r->report, name, test);
    if (!curve)
        return no_memory(r);
    const size_t before = curve->points;
    forget_from(curve, r->iteration);
    if (before == curve->points && !make_room(curve))
        return no_memory(r);
    curve->iteration[curve->points] = r->iteration;
    curve->value[curve->points++] = value;
    return QF_OK;
}

/* "accuracy = 0.98", "loss = 0.07 (* 1 = 0.07 loss)". */
static qf_status add_output(const reading *r, const char *text)
{
    char name[sizeof(*r->report->curve)->name];
    const char *equals = strstr(text, " = ");
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof name)
        return QF_OK;
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    return add_point(r, name, true, strtod(equals + 3, NULL));
}

/* ---- learned ranges ---- */

/* Is `name` one of "conv1-conv2"? Names may hold a '-' themselves. */
static bool is_among(const char *name, const char *list)
{
    const size_t size = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at++)
        if ((at == list || at[-1] == '-') && (at[size] == '-' || at[size] == '\0'))
            return size > 0;
    return false;
}

static qf_status add_to_layer(const reading *r, qf_report_layer *layer, double low, double high)
{
    while (layer->ranges && layer->range[layer->ranges - 1]->iteration >= r->iteration)
        qf_free(layer->range[--layer->ranges]);
    qf_report_range *range = qf_rows_add(&layer->range, &layer->ranges, sizeof *range);
    if (!range)
        return no_memory(r);
    *range = (qf_report_range){r->iteration, low, high};
    return QF_OK;
}

/* "conv1-conv2: -0.1 ... 2.5": of the input that both layers read. */
static qf_status add_range(const reading *r, const char *text)
{
    char names[1024];
    const char *dots = strstr(text, " ... "), *colon = dots;
    while (colon && colon > text && *colon != ':')
        colon--;
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof names)
        return QF_OK;
    snprintf(names, sizeof names, "%.*s", (int)(colon - text), text);
    for (size_t i = 0; i < r->report->layers; i++)
        if (is_among(r->report->layer[i]->name, names))
            QF_TRY(add_to_layer(r, r->report->layer[i], strtod(colon + 1, NULL),
                                strtod(dots + 5, NULL)));
    return QF_OK;
}

/* ---- lines ---- */

static qf_status take_line(reading *r, const char *line)
{
    const char *at = behind(line, "Iteration ");
    if (at && *at >= '0' && *at <= '9') {
        r->iteration = (int)strtol(at, NULL, 10);
        const char *loss = behind(at, ", loss = ");
        return loss ? add_point(r, "loss", false, strtod(loss, NULL)) : QF_OK;
    }
    if ((at = behind(line, "Test net output #")))
        return (at = behind(at, ": ")) ? add_output(r, at) : QF_OK;
    return (at = behind(line, "Clip range of ")) ? add_range(r, at) : QF_OK;
}

qf_status qf_training_log_read(qf_context *context, const char *file, qf_report *report)
{
    reading r = {.context = context, .report = report};
    char line[8192]; /* what is longer is no line of ours */
    FILE *stream = fopen(file, "re");
    if (!stream)
        return qf_fail(context, QF_E_IO, "cannot open %s: %s", file, strerror(errno));
    qf_status status = QF_OK;
    while (status == QF_OK && fgets(line, sizeof line, stream)) {
        line[strcspn(line, "\r\n")] = '\0';
        status = take_line(&r, line);
    }
    if (status == QF_OK && ferror(stream))
        status = qf_fail(context, QF_E_IO, "cannot read %s: %s", file, strerror(errno));
    fclose(stream);
    return status;
}
