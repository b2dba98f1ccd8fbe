/* AMCT's log of automatic calibration (AMCT specification of post-training quantisation, 11.3). */
#include "toolkit/auto/auto_log.h"

#include "base/amct_log.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char MODULE[] = "AMCT";
static const char STARS[] = "********************";
static const char FRAME[] = "*****************************************************";

enum { PAIRS = 10 }; /* in a line */

/* ---- numbers ---- */

enum { DIGITS = 17, FIXED_BELOW = 16, FIXED_FROM = -4 };

/* The least digits that say the number, and where its point is: 0.d1d2d3… times ten to `point`. */
static size_t shortest_digits(double number, char digits[DIGITS + 1], int *point)
{
    char text[64];
    for (int more = 0; more < DIGITS; more++) {
        snprintf(text, sizeof text, "%.*e", more, number);
        if (strtod(text, NULL) == number)
            break;
    }
    size_t count = 0;
    char *exponent = strchr(text, 'e');
    for (const char *c = text; c < exponent; c++) /* the point may be a comma */
        if (*c >= '0' && *c <= '9')
            digits[count++] = *c;
    digits[count] = '\0';
    *point = (int)strtol(exponent + 1, NULL, 10) + 1;
    return count;
}

static void print_digits(double number, char out[QF_PYTHON_FLOAT])
{
    char digits[DIGITS + 1];
    int point;
    const size_t count = shortest_digits(fabs(number), digits, &point);
    const char *sign = signbit(number) ? "-" : "";
    if (point - 1 < FIXED_FROM || point - 1 >= FIXED_BELOW)
        snprintf(out, QF_PYTHON_FLOAT, "%s%c%s%se%+03d", sign, digits[0], count > 1 ? "." : "",
                 digits + 1, point - 1);
    else if (point <= 0)
        snprintf(out, QF_PYTHON_FLOAT, "%s0.%.*s%s", sign, -point, "0000", digits);
    else if ((size_t)point >= count)
        snprintf(out, QF_PYTHON_FLOAT, "%s%s%.*s.0", sign, digits, point - (int)count,
                 "0000000000000000");
    else
        snprintf(out, QF_PYTHON_FLOAT, "%s%.*s.%s", sign, point, digits, digits + point);
}

const char *qf_python_float(double number, bool json, char out[QF_PYTHON_FLOAT])
{
    if (isnan(number))
        snprintf(out, QF_PYTHON_FLOAT, "%s", json ? "NaN" : "nan");
    else if (isinf(number))
        snprintf(out, QF_PYTHON_FLOAT, "%s%s", number < 0 ? "-" : "", json ? "Infinity" : "inf");
    else
        print_digits(number, out);
    return out;
}

/* ---- lines ---- */

void qf_auto_say(qf_context *context, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    qf_amct_say(context, QF_INFO, MODULE, "%s", text);
}

/* As Python prints a list of pairs. A line that memory does not suffice for is left out. */
static void log_record(qf_context *context, const qf_auto_history *history,
                       const qf_auto_record *record)
{
    char number[QF_PYTHON_FLOAT];
    qf_auto_say(context, "quant layers:");
    for (size_t first = 0; first < history->layers; first += PAIRS) {
        qf_buffer line = {0};
        for (size_t i = first; i < history->layers && i < first + PAIRS; i++)
            qf_buffer_print(&line, "%s('%s', %s)", i == first ? "[" : ", ",
                            history->names[record->order[i]],
                            record->quantised[record->order[i]] ? "True" : "False");
        qf_auto_say(context, "%s]", qf_buffer_text(&line));
        qf_buffer_release(&line);
    }
    qf_auto_say(context, "metric_eval: (%s, %s)", record->satisfied ? "True" : "False",
                qf_python_float(record->difference, false, number));
}

void qf_auto_log_step(qf_context *context, const qf_auto_history *history, int step,
                      const qf_auto_record *record)
{
    qf_auto_say(context, "%s fine search step %d %s", STARS, step, STARS);
    log_record(context, history, record);
}

void qf_auto_log_satisfied(qf_context *context)
{
    qf_auto_say(context, "The model satisfy the requirement after all layers are quantized, "
                         "automatic calibration succeed!");
}

void qf_auto_log_history(qf_context *context, const qf_auto_history *history)
{
    qf_auto_say(context, "Fine search finish, automatic calibration succeed!");
    qf_auto_say(context, "accuracy based auto calibration search record:");
    for (size_t i = 0; i < history->count; i++)
        log_record(context, history, &history->records[i]);
}

void qf_auto_log_end(qf_context *context, const qf_auto_ending *ending)
{
    qf_auto_say(context, "Accuracy of original model is %s", ending->original);
    qf_auto_say(context, "Accuracy of global quantized model is %s", ending->global);
    if (!ending->saved) {
        qf_auto_say(context, "No quantized model are generated due to all quant layers are roll "
                             "backed, the accuracy target may be too difficult to achieve.");
        return;
    }
    qf_auto_say(context, "Accuracy of saved model is %s", ending->saved);
    qf_auto_say(context, "The generated model is stored in dir: %s", ending->model_folder);
    qf_auto_say(context, "The records file is stored in dir: %s", ending->record_folder);
}

void qf_auto_log_cost(qf_context *context, double seconds)
{
    const long minutes = (long)(seconds / 60), hours = minutes / 60;
    qf_auto_say(context, "%s", FRAME);
    qf_auto_say(context, "#>Func name: accuracy_based_auto_calibration");
    qf_auto_say(context, "#>Cost time: %ld hours, %ld minutes, %.2f seconds", hours, minutes % 60,
                seconds - 60.0 * (double)minutes);
    qf_auto_say(context, "%s", FRAME);
}
