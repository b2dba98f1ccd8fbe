/* Rows of one implementation: forced by name, and watched in the log whether it was chosen. */
#include "operations/rows_forcing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the log says where the forced implementation is chosen, and where it needs another
 * processor.
 */
static char ran_text[80], lacks_text[128];
static bool ran, lacks;
static const char *forced_name = "";

const char *rows_forced(void)
{
    return forced_name;
}

static void watch_choices(void *user, qf_log_level level, const char *file, int line,
                          const char *text)
{
    (void)user, (void)level, (void)file, (void)line;
    ran |= strstr(text, ran_text) != NULL;
    lacks |= strstr(text, lacks_text) != NULL;
}

bool rows_forced_ran(void)
{
    return ran;
}

bool rows_forced_lacks(void)
{
    return lacks;
}

void rows_force(const char *list, const char *implementation)
{
    char forced[80];
    snprintf(forced, sizeof forced, "%.*s:%s", (int)strcspn(list, ":"), list, implementation);
    snprintf(ran_text, sizeof ran_text, ": %s (forced)", implementation);
    snprintf(lacks_text, sizeof lacks_text, "; not %s, which is forced: " QF_LACKS, implementation);
    ran = lacks = false;
    forced_name = implementation;
    setenv("QAFFE_FORCE", forced, 1);
    qf_forget_choices(context);
    qf_context_set_log(context, watch_choices, NULL, QF_DEBUG);
}

void rows_stop_forcing(void)
{
    unsetenv("QAFFE_FORCE");
    qf_forget_choices(context);
    forced_name = "";
    qf_context_set_log(context, NULL, NULL, QF_ERROR);
}

const qf_implementations *rows_list_of(const qf_device *device, const char *list)
{
    for (const qf_implementations *const *l = device->lists; l && *l && list; l++) {
        char name[80];
        snprintf(name, sizeof name, "%s:%s", (*l)->family, (*l)->operation);
        if (strcmp(name, list) == 0)
            return *l;
    }
    return NULL;
}
