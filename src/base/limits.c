/* The table of limits, and the lists by which they are changed. */
#include "base/limits.h"

#include "base/buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    uint64_t initial, highest;
    const char *unit;
} limits[QF_LIMIT_COUNT] = {
#define X(constant, name, initial, highest, unit) [constant] = {name, initial, highest, unit},
    QF_LIMIT_MAP(X)
#undef X
};

void qf_limits_reset(qf_context *context)
{
    const uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < QF_LIMIT_COUNT; i++)
        context->limits[i] = limits[i].initial ? limits[i].initial : memory;
}

const char *qf_limit_describe(int index, uint64_t *initial, const char **unit)
{
    if (index < 0 || index >= QF_LIMIT_COUNT)
        return NULL;
    *initial = limits[index].initial;
    *unit = limits[index].unit;
    return limits[index].name;
}

qf_status qf_check_limit(qf_context *context, qf_limit limit, uint64_t value, const char *format,
                         ...)
{
    if (value <= context->limits[limit])
        return QF_OK;
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    const char *name = limits[limit].name;
    const uint64_t most = context->limits[limit];
    if (value > limits[limit].highest)
        return qf_fail(context, QF_E_FORMAT,
                       "%s %" PRIu64 " %s; more than %" PRIu64 " are not possible", what, value,
                       limits[limit].unit, limits[limit].highest);
    return qf_fail(context, QF_E_FORMAT,
                   "%s %" PRIu64 " %s; the limit %s is %" PRIu64 " (if the file is right, raise it "
                   "with --limit %s=%" PRIu64 " or QAFFE_LIMITS)",
                   what, value, limits[limit].unit, name, most, name, value);
}

qf_status qf_context_set_limit(qf_context *context, const char *name, uint64_t value)
{
    for (int i = 0; i < QF_LIMIT_COUNT; i++) {
        if (strcmp(name, limits[i].name) != 0)
            continue;
        if (value < 1 || value > limits[i].highest)
            return qf_fail(context, QF_E_VALUE,
                           "the limit %s may be 1 to %" PRIu64 " (%s), not %" PRIu64, name,
                           limits[i].highest, limits[i].unit, value);
        context->limits[i] = value;
        return QF_OK;
    }
    qf_buffer names = {0};
    for (int i = 0; i < QF_LIMIT_COUNT; i++)
        qf_buffer_print(&names, "%s%s", i ? ", " : "", limits[i].name);
    qf_status status = qf_fail(context, QF_E_ARGUMENT, "there is no limit '%.80s'; there are %s",
                               name, qf_buffer_text(&names));
    qf_buffer_release(&names);
    return status;
}

/* "name=value", the value with K, M or G for powers of 1024. */
static qf_status set_one(qf_context *context, const char *text, size_t length)
{
    static const char suffixes[] = "KMG";
    char item[128], *end;
    snprintf(item, sizeof item, "%.*s", (int)(length < sizeof item ? length : sizeof item), text);
    char *equals = strchr(item, '=');
    errno = 0;
    unsigned long long value = equals ? strtoull(equals + 1, &end, 10) : 0;
    bool good = equals && end != equals + 1 && equals[1] != '-' && errno == 0;
    const char *suffix = good && *end ? strchr(suffixes, *end) : NULL;
    if (suffix) {
        const int shift = 10 * (int)(suffix - suffixes + 1);
        good = value <= UINT64_MAX >> shift;
        value <<= shift;
        end++;
    }
    if (!good || *end)
        return qf_fail(context, QF_E_ARGUMENT,
                       "'%s' is not a limit; expected NAME=NUMBER, for example image_pixels=64M",
                       item);
    *equals = '\0';
    return qf_context_set_limit(context, item, value);
}

qf_status qf_context_set_limits(qf_context *context, const char *list)
{
    while (*list) {
        size_t length = strcspn(list, ",");
        if (length)
            QF_TRY(set_one(context, list, length));
        list += length + (list[length] == ',');
    }
    return QF_OK;
}
