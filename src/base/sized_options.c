/* Options of older and of newer headers than the library's. */
#include "base/sized_options.h"

#include <string.h>

enum { LARGEST = 4096 }; /* a size beyond it is no size but what memory held */

qf_status qf_options_take(qf_context *context, const char *name, const void *given, void *own,
                          size_t size)
{
    size_t theirs;
    memcpy(&theirs, given, sizeof theirs);
    if (theirs < sizeof theirs || theirs > LARGEST)
        return qf_fail(context, QF_E_ARGUMENT,
                       "%s.size is %zu: begin with `%s options = {.size = sizeof options};`", name,
                       theirs, name);
    const unsigned char *bytes = given;
    for (size_t i = size; i < theirs; i++)
        if (bytes[i] != 0)
            return qf_fail(context, QF_E_UNSUPPORTED,
                           "%s has fields that this library, version %s, does not know; the "
                           "program was built with the header of a newer one",
                           name, qf_version());
    memcpy(own, given, theirs < size ? theirs : size);
    memcpy(own, &size, sizeof size);
    return QF_OK;
}

void qf_options_set_defaults(void *given, const void *defaults, size_t size)
{
    size_t theirs;
    memcpy(&theirs, given, sizeof theirs);
    for (size_t i = sizeof theirs; i < theirs && i < size; i++)
        ((char *)given)[i] = ((const char *)defaults)[i];
}
