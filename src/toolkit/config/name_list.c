/* Lists of names in AMCT's sentences. */
#include "toolkit/config/name_list.h"

#include <string.h>

static void print_name(qf_buffer *out, const char *name)
{
    qf_buffer_print(out, "%s'%s'", out->size ? ", " : "", name);
}

void qf_names_print(qf_buffer *out, const char *const *names, size_t count)
{
    qf_buffer list = {0};
    for (size_t i = 0; i < count; i++)
        print_name(&list, names[i]);
    out->failed = out->failed || list.failed;
    qf_buffer_print(out, "[%s]", qf_buffer_text(&list));
    qf_buffer_release(&list);
}

static size_t seen_before(const char *const *names, size_t index)
{
    size_t times = 0;
    for (size_t i = 0; i < index; i++)
        times += strcmp(names[i], names[index]) == 0;
    return times;
}

qf_status qf_names_repeated(qf_context *context, const char *what, const void *list, size_t count)
{
    const char *const *names = list;
    qf_buffer repeated = {0};
    for (size_t i = 1; i < count; i++)
        if (seen_before(names, i) == 1) /* each once */
            print_name(&repeated, names[i]);
    qf_status status = qf_buffer_whole(context, &repeated);
    if (status == QF_OK && repeated.size)
        status = qf_fail(context, QF_E_VALUE,
                         "Please delete repeated items in %s, repeated items are [%s] ", what,
                         qf_buffer_text(&repeated));
    qf_buffer_release(&repeated);
    return status;
}
