/* Rows of results, and how large the structs of results and options are. */
#include "base/rows.h"

#include "base/memory.h"
#include "qaffe/qaffe.h"

#include <string.h>

void *qf_rows_add(void *rows, size_t *count, size_t size)
{
    void **array, *row = qf_alloc(1, size);
    size_t capacity = *count;
    memcpy(&array, rows, sizeof array);
    const bool full = (capacity & (capacity - 1)) == 0; /* it is as long as a power of two */
    if (row && full && !qf_grow(&array, &capacity, capacity ? 2 * capacity : 1, sizeof *array)) {
        qf_free(row);
        return NULL;
    }
    if (!row)
        return NULL;
    memcpy(rows, &array, sizeof array);
    array[(*count)++] = row;
    return row;
}

void qf_rows_free(void *rows, size_t count)
{
    void **array = rows;
    for (size_t i = 0; i < count; i++)
        qf_free(array[i]);
    qf_free(array);
}

/* What bindings ask the size of. */
#define ROW(type)                                                                                  \
    {                                                                                              \
#type, sizeof(type)                                                                        \
    }
static const struct {
    const char *name;
    size_t size;
} structs[] = {
    ROW(qf_python_layers),
    ROW(qf_progress),
    ROW(qf_solver_options),
    ROW(qf_imageset_options),
    ROW(qf_annoset_options),
    ROW(qf_plan_row),
    ROW(qf_plan),
    ROW(qf_inspected_layer),
    ROW(qf_inspected_edge),
    ROW(qf_inspection),
    ROW(qf_verification),
    ROW(qf_onnx_options),
    ROW(qf_onnx_result),
    ROW(qf_odd_blob),
    ROW(qf_file_check),
    ROW(qf_equalised_row),
    ROW(qf_equalisation),
    ROW(qf_qat_training),
    ROW(qf_retrain_options),
    ROW(qf_retrain_config_options),
    ROW(qf_correction_options),
    ROW(qf_data_options),
    ROW(qf_ptq_options),
    ROW(qf_qat_options),
    ROW(qf_qat_row),
    ROW(qf_qat_score),
    ROW(qf_qat_result),
    ROW(qf_quant_options),
    ROW(qf_decomposed_layer),
    ROW(qf_decomposition),
    ROW(qf_nuq_evaluator),
    ROW(qf_nuq_row),
    ROW(qf_metric),
    ROW(qf_nuq_result),
    ROW(qf_evaluator),
    ROW(qf_strategy),
    ROW(qf_sensitivity),
    ROW(qf_auto_options),
    ROW(qf_auto_layer),
    ROW(qf_auto_step),
    ROW(qf_auto_result),
    ROW(qf_report_options),
    ROW(qf_report_channel),
    ROW(qf_report_range),
    ROW(qf_report_layer),
    ROW(qf_report_curve),
    ROW(qf_report_advice),
    ROW(qf_sensitivity_options),
    ROW(qf_bits_options),
    ROW(qf_bits_layer),
    ROW(qf_bits_row),
    ROW(qf_bits_result),
    ROW(qf_sensitive_layer),
    ROW(qf_sensitivity_result),
    ROW(qf_report),
    ROW(qf_import_options),
    ROW(qf_onnx_import),
};
#undef ROW

size_t qf_struct_size(const char *name)
{
    for (size_t i = 0; i < sizeof structs / sizeof *structs; i++)
        if (strcmp(structs[i].name, name) == 0)
            return structs[i].size;
    return 0;
}
