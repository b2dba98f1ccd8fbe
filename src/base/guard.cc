/* C++ exceptions of libraries, caught around a call. */
#include "base/guard.h"

#include <execinfo.h>

bool qf_guard_prepare(void)
{
    void *frame;
    return backtrace(&frame, 1) > 0; /* loads the unwinder, and says so by finding a frame */
}

bool qf_guard(void (*function)(void *data), void *data)
{
    try {
        function(data);
        return true;
    } catch (...) {
        return false;
    }
}
