/* The words of a budget: a number alone is a loss, one with a unit or a per cent sign a size. */
#include "toolkit/bits/budget.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char expected[] =
    "expected what may be lost (0.5: points of an accuracy, per cent of anything else), what all "
    "weights may take (600K, 2M, or 60%: of what they take with 8 bits), or both with a comma "
    "between";

/* Bytes of a unit; 1024s, as everywhere. */
static const struct unit {
    const char *name;
    double bytes;
} units[] = {
    {"B", 1},        {"K", 1024},      {"KB", 1024},      {"KiB", 1024},      {"M", 1048576},
    {"MB", 1048576}, {"MiB", 1048576}, {"G", 1073741824}, {"GB", 1073741824}, {"GiB", 1073741824},
};

static qf_status refuse(qf_context *context, const char *budget, const char *why)
{
    return qf_fail(context, QF_E_ARGUMENT, "the budget \"%.80s\" %s; %s", budget, why, expected);
}

static qf_status take_size(qf_context *context, const char *budget, double value, const char *unit,
                           qf_bits_options *out)
{
    if (out->max_bytes || out->max_share > 0)
        return refuse(context, budget, "says two sizes");
    if (!(value > 0))
        return refuse(context, budget, "leaves no room for weights");
    if (strcmp(unit, "%") == 0) {
        out->max_share = value / 100;
        return QF_OK;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcasecmp(unit, units[i].name) == 0) {
            const double bytes = value * units[i].bytes;
            out->max_bytes = bytes < 1e18 ? (uint64_t)(bytes < 1 ? 1 : bytes) : (uint64_t)1e18;
            return QF_OK;
        }
    return refuse(context, budget, "has a unit that is not known");
}

/* Digits with a point between, whatever the user's language writes; `end` behind them. */
static double read_decimal(const char *text, const char **end)
{
    double value = 0, place = 1;
    bool behind = false;
    for (*end = text; isdigit((unsigned char)**end) || (**end == '.' && !behind); ++*end) {
        behind |= **end == '.';
        if (**end == '.')
            continue;
        place /= behind ? 10 : 1;
        value = behind ? value + place * (**end - '0') : 10 * value + (**end - '0');
    }
    return *end - text > behind ? value : (double)NAN; /* a point alone */
}

static qf_status take_part(qf_context *context, const char *budget, const char *part,
                           qf_bits_options *out)
{
    const char *unit;
    while (*part == ' ')
        part++;
    const double value = read_decimal(part, &unit);
    if (!isfinite(value))
        return refuse(context, budget, "is none");
    while (*unit == ' ')
        unit++;
    if (*unit)
        return take_size(context, budget, value, unit, out);
    if (out->max_loss >= 0)
        return refuse(context, budget, "says two losses");
    if (value > 100)
        return refuse(context, budget, "allows more than 100 points of loss; a size has a unit");
    out->max_loss = value;
    return QF_OK;
}

qf_status qf_bits_budget_take(qf_context *context, const char *budget, qf_bits_options *out)
{
    char text[128], *rest = text;
    if ((size_t)snprintf(text, sizeof text, "%s", budget) >= sizeof text)
        return refuse(context, budget, "is too long");
    out->max_loss = -1;
    out->max_bytes = 0;
    out->max_share = 0;
    for (char *part = strsep(&rest, ","); part; part = strsep(&rest, ","))
        QF_TRY(take_part(context, budget, part, out));
    return QF_OK;
}
