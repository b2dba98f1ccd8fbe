/* Which implementation of an operation runs: the walk down a list, and what QAFFE_FORCE says. */
#include "device/choose.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is forced ---- */

typedef struct forced {
    const char *family, *name; /* not terminated */
    size_t family_length, name_length;
} forced;

/* The next item of the list `*at`; false at its end. */
static bool next_forced(const char **at, forced *out)
{
    while (**at == ',')
        ++*at;
    if (!**at)
        return false;
    const size_t length = strcspn(*at, ","), family = strcspn(*at, ":,");
    const size_t colon = family < length ? 1 : 0;
    *out = (forced){*at, *at + family + colon, family, length - family - colon};
    *at += length;
    return true;
}

static const char *forced_list(void)
{
    const char *list = getenv("QAFFE_FORCE");
    return list ? list : "";
}

static bool is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

static const qf_implementation *find(const qf_implementations *list, const forced *f)
{
    for (int i = 0; is(list->family, f->family, f->family_length) && i < list->count; i++)
        if (is(list->entry[i].name, f->name, f->name_length))
            return &list->entry[i];
    return NULL;
}

static const qf_implementation *find_forced(const qf_implementations *list)
{
    const qf_implementation *found = NULL;
    const char *at = forced_list();
    for (forced f; !found && next_forced(&at, &f);)
        found = find(list, &f);
    return found;
}

typedef struct text {
    char characters[512];
    size_t length;
} text;

__attribute__((format(printf, 2, 3))) static void append(text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const size_t room = sizeof t->characters - t->length;
    const int length = vsnprintf(t->characters + t->length, room, format, arguments);
    va_end(arguments);
    t->length += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
}

/* All names of a family, or (family NULL) all families, each once. */
static void append_names(text *t, const qf_implementations *const *lists, const forced *family)
{
    for (; *lists; lists++) {
        if (family && !is((*lists)->family, family->family, family->family_length))
            continue;
        for (int i = 0; i < (family ? (*lists)->count : 1); i++) {
            const char *name = family ? (*lists)->entry[i].name : (*lists)->family;
            char quoted[64];
            snprintf(quoted, sizeof quoted, "'%s'", name);
            if (!strstr(t->characters, quoted))
                append(t, "%s%s", t->length ? ", " : "", quoted);
        }
    }
}

void qf_check_forced(qf_context *context, const qf_implementations *const *lists)
{
    const char *at = forced_list();
    for (forced f; next_forced(&at, &f);) {
        bool family = false, name = false;
        text names = {{0}, 0};
        for (const qf_implementations *const *l = lists; *l; l++) {
            family |= is((*l)->family, f.family, f.family_length);
            name |= find(*l, &f) != NULL;
        }
        if (name)
            continue;
        append_names(&names, lists, family ? &f : NULL);
        qf_warning(context, "QAFFE_FORCE names %.*s:%.*s; there is no such %s, but there are %s",
                   (int)f.family_length, f.family, (int)f.name_length, f.name,
                   family ? "implementation" : "family of several", names.characters);
    }
}

/* ---- choosing ---- */

static qf_status ask(qf_context *context, const qf_implementation *i, const void *call, bool forced,
                     const char **no)
{
    *no = NULL;
    if (i->accepts)
        QF_TRY(i->accepts(context, call, no));
    return !*no && !forced && i->suits ? i->suits(context, call, no) : QF_OK;
}

qf_status qf_choose(qf_context *context, const qf_implementations *list, const void *call,
                    const qf_implementation **chosen)
{
    if (*chosen)
        return QF_OK;
    const qf_implementation *forced = find_forced(list), *found = NULL;
    text others = {{0}, 0};
    char shape[192];
    const char *no;
    if (forced) {
        QF_TRY(ask(context, forced, call, true, &no));
        found = no ? NULL : forced;
        if (no)
            append(&others, "; not %s, which is forced: %s", forced->name, no);
        else
            append(&others, " (forced)");
    }
    for (int i = 0; !found && i < list->count; i++) {
        if (&list->entry[i] == forced)
            continue;
        QF_TRY(ask(context, &list->entry[i], call, false, &no));
        if (no)
            append(&others, "; not %s: %s", list->entry[i].name, no);
        else
            found = &list->entry[i];
    }
    if (!found) /* nothing but a forced reference that refuses, and it never does */
        return qf_fail(context, QF_E_UNSUPPORTED, "there is no way to compute %s %s", list->family,
                       list->operation);
    list->describe(call, shape, sizeof shape);
    qf_debug(context, "%s %s %s: %s%s", list->family, list->operation, shape, found->name,
             others.characters);
    *chosen = found;
    return QF_OK;
}
