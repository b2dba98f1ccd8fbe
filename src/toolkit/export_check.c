#include "base/file.h"
#include "toolkit/export.h"

#include <jansson.h>
#include <string.h>

static bool enables(const json_t *settings)
{
    const json_t *enable = json_object_get(settings, "retrain_enable");
    return json_is_object(settings) && (!enable || json_is_true(enable));
}

qf_status qf_export_check_config(qf_context *context, const qf_retrained *retrained,
                                 const char *config_file)
{
    qf_buffer file = {0};
    json_error_t error;
    QF_TRY(qf_file_read(context, config_file, &file));
    json_t *root = json_loadb(qf_buffer_text(&file), file.size, JSON_REJECT_DUPLICATES, &error);
    qf_buffer_release(&file);
    if (!root)
        return qf_fail(context, QF_E_FORMAT, "%s:%d:%d: %s", config_file, error.line, error.column,
                       error.text);
    qf_status status = QF_OK;
    for (size_t i = 0; i < retrained->count && status == QF_OK; i++)
        if (!enables(json_object_get(root, retrained->layers[i].name)))
            status = qf_fail(context, QF_E_MISMATCH,
                             "%s does not enable layer %s, which the model quantises; give the "
                             "configuration that the model was prepared with",
                             config_file, retrained->layers[i].name);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        bool found = !enables(value);
        for (size_t i = 0; i < retrained->count && !found; i++)
            found = strcmp(retrained->layers[i].name, key) == 0;
        if (!found && status == QF_OK)
            status = qf_fail(context, QF_E_MISMATCH,
                             "%s enables layer %s, which the model does not quantise; give the "
                             "configuration that the model was prepared with",
                             config_file, key);
    }
    json_decref(root);
    return status;
}
