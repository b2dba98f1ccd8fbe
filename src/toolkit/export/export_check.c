/* Does a configuration enable the layers that a retrained model quantises, and no others? */
#include "model/file_type.h"
#include "toolkit/config/json_file.h"
#include "toolkit/export/export.h"

#include <string.h>

static bool enables(const json_t *settings)
{
    const json_t *enable = json_object_get(settings, "retrain_enable");
    return json_is_object(settings) && (!enable || json_is_true(enable));
}

static qf_status check_config(qf_context *context, const qf_quantised_net *quantised,
                              const char *config_file)
{
    json_t *root;
    QF_TRY(qf_json_read(context, config_file, &root));
    qf_status status = QF_OK;
    for (size_t i = 0; i < quantised->count && status == QF_OK; i++)
        if (!enables(json_object_get(root, quantised->layers[i].name)))
            status = qf_fail(context, QF_E_MISMATCH,
                             "%s does not enable layer %s, which the model quantises; give the "
                             "configuration that the model was prepared with",
                             config_file, quantised->layers[i].name);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        bool found = !enables(value);
        for (size_t i = 0; i < quantised->count && !found; i++)
            found = strcmp(quantised->layers[i].name, key) == 0;
        if (!found && status == QF_OK)
            status = qf_fail(context, QF_E_MISMATCH,
                             "%s enables layer %s, which the model does not quantise; give the "
                             "configuration that the model was prepared with",
                             config_file, key);
    }
    json_decref(root);
    return status;
}

qf_status qf_export_check_config(qf_context *context, const qf_quantised_net *quantised,
                                 const char *config_file)
{
    return qf_wrong_file(context, check_config(context, quantised, config_file), config_file,
                         QF_FILE_CONFIG);
}
