/* The layers that are to stay float, as a file for the commands that quantise. */
#include "base/ending.h"
#include "base/file.h"
#include "toolkit/report/put.h"

#include <string.h>

qf_status qf_sensitivity_write_skip_layers(qf_context *context, const qf_sensitivity_result *result,
                                           const char *file)
{
    qf_buffer out = {0};
    bool first = true;
    const bool json = qf_find_ending(file, ".json");
    qf_buffer_print(&out, json ? "{\"skip_layers\": [" : "");
    for (size_t i = 0; i < result->layers; i++) {
        if (!result->layer[i]->skip)
            continue;
        qf_buffer_print(&out, "%s", !json ? "skip_layers: " : first ? "" : ", ");
        qf_put_json_text(&out, result->layer[i]->name); /* a string of the text format, too */
        qf_buffer_print(&out, json ? "" : "\n");
        first = false;
    }
    qf_buffer_print(&out, json ? "]}\n" : "");
    qf_status status = qf_buffer_whole(context, &out);
    if (status == QF_OK)
        status = qf_file_write(context, file, qf_buffer_text(&out), out.size, 0644);
    qf_buffer_release(&out);
    return status;
}
