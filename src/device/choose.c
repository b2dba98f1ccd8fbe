/* Which implementation of an operation runs: the walk down a list, and what QAFFE_FORCE says. */
#include "device/choose.h"

#include "device/families.h"

#include "base/memory.h"

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

static bool is_family(const char *name, const forced *f)
{
    return is(name, f->family, f->family_length);
}

bool qf_is_forced(const char *family, const char *name)
{
    const char *at = forced_list();
    for (forced f; next_forced(&at, &f);)
        if (is_family(family, &f) && is(name, f.name, f.name_length))
            return true;
    return false;
}

static const qf_implementation *find(const qf_implementations *list, const forced *f)
{
    for (int i = 0; is_family(list->family, f) && i < list->count; i++)
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

static void append_name(text *t, const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "'%s'", name);
    if (!strstr(t->characters, quoted))
        append(t, "%s%s", t->length ? ", " : "", quoted);
}

/* Each has the reference, and what is in its lists. */
static const char *const families[] = {
#define NAME(family) #family,
    QF_FAMILIES(NAME)
#undef NAME
};
enum { FAMILIES = sizeof families / sizeof *families };

static bool is_known(const qf_implementations *const *lists, const forced *f, text *family,
                     text *names)
{
    bool known = false;
    for (int i = 0; i < FAMILIES; i++) {
        append_name(family, families[i]);
        if (is_family(families[i], f)) {
            append_name(names, "reference");
            known |= is("reference", f->name, f->name_length);
        }
    }
    for (; *lists; lists++) {
        append_name(family, (*lists)->family);
        for (int i = 0; is_family((*lists)->family, f) && i < (*lists)->count; i++)
            append_name(names, (*lists)->entry[i].name);
        known |= find(*lists, f) != NULL;
    }
    return known;
}

void qf_check_forced(qf_context *context, const qf_implementations *const *lists)
{
    const char *at = forced_list();
    for (forced f; next_forced(&at, &f);) {
        text family = {{0}, 0}, names = {{0}, 0};
        if (is_known(lists, &f, &family, &names))
            continue;
        qf_warning(context, "QAFFE_FORCE names %.*s:%.*s; there is no such %s, but there are %s",
                   (int)f.family_length, f.family, (int)f.name_length, f.name,
                   names.length ? "implementation" : "family",
                   names.length ? names.characters : family.characters);
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

/* ---- choices that the context keeps ---- */

enum { KEPT_LISTS = 16, KEPT_WAYS = 32, KEPT_TIMINGS = 128 };

struct qf_kept_choices {
    struct kept {
        const qf_implementations *list;
        const qf_implementation *chosen[KEPT_WAYS];
    } lists[KEPT_LISTS];
    struct timing {
        const qf_implementations *list; /* NULL: free */
        unsigned char key[QF_TIMED_KEY];
        size_t size;
        bool suits;
    } timings[KEPT_TIMINGS];
    unsigned timed; /* how many there were; the next one takes the oldest one's place */
};

static qf_status need_kept(qf_context *context)
{
    if (!context->choices)
        context->choices = qf_alloc(1, sizeof *context->choices);
    return context->choices
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for choices of implementations");
}

/* Where the list's choices are; NULL: there is no room for one more list. */
static const qf_implementation **kept_of(struct qf_kept_choices *choices,
                                         const qf_implementations *list)
{
    for (struct kept *k = choices->lists; k < choices->lists + KEPT_LISTS; k++) {
        if (!k->list)
            k->list = list;
        if (k->list == list)
            return k->chosen;
    }
    return NULL;
}

qf_status qf_choose_once(qf_context *context, const qf_implementations *list, unsigned with,
                         const void *call, const qf_implementation **chosen)
{
    *chosen = NULL;
    QF_TRY(need_kept(context));
    const qf_implementation **kept = kept_of(context->choices, list);
    if (!kept || with >= KEPT_WAYS)
        return qf_choose(context, list, call, chosen);
    QF_TRY(qf_choose(context, list, call, &kept[with]));
    *chosen = kept[with];
    return QF_OK;
}

bool qf_timing_known(const qf_context *context, const qf_implementations *list, const void *key,
                     size_t size, bool *suits)
{
    for (int i = 0; context->choices && i < KEPT_TIMINGS; i++) {
        const struct timing *t = &context->choices->timings[i];
        if (t->list == list && t->size == size && memcmp(t->key, key, size) == 0) {
            *suits = t->suits;
            return true;
        }
    }
    return false;
}

qf_status qf_timing_keep(qf_context *context, const qf_implementations *list, const void *key,
                         size_t size, bool suits)
{
    QF_TRY(need_kept(context));
    struct qf_kept_choices *kept = context->choices;
    struct timing *t = &kept->timings[kept->timed++ % KEPT_TIMINGS];
    t->list = size <= sizeof t->key ? list : NULL;
    t->size = size;
    t->suits = suits;
    memcpy(t->key, key, size <= sizeof t->key ? size : sizeof t->key);
    return QF_OK;
}

void qf_forget_choices(qf_context *context)
{
    qf_free(context->choices);
    context->choices = NULL;
}
