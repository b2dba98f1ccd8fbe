/* The AMCT flow with training, and looking at models and files. */
#define QF_TRIAL
#include "faults/trials.h"

static qf_status configure(qf_context *context, double *result)
{
    (void)result;
    return qf_create_quant_retrain_config(context, "out/config.json", "net.prototxt",
                                          "given.caffemodel", "quant.cfg");
}

static qf_status configure_bits(qf_context *context, double *result)
{
    const qf_retrain_config_options options = {
        .size = sizeof options, .config_definition = "quant.cfg", .weight_bits = 4};
    (void)result;
    return qf_create_retrain_config(context, "out/config.json", "net.prototxt", "given.caffemodel",
                                    &options);
}

static qf_status prepare(qf_context *context, double *result)
{
    (void)result;
    return qf_create_quant_retrain_model(context, "net.prototxt", "given.caffemodel", "config.json",
                                         "out/modified.prototxt", "out/modified.caffemodel",
                                         "out/record.txt");
}

static qf_status prepare_frozen(qf_context *context, double *result)
{
    (void)result;
    const qf_retrain_options options = {.size = sizeof options,
                                        .batch_norm = QF_BATCH_NORM_FROZEN,
                                        .calibrated_record = "record.txt"};
    return qf_prepare_quant_retrain_model(context, "net.prototxt", "given.caffemodel",
                                          "config.json", "out/modified.prototxt",
                                          "out/modified.caffemodel", "out/record.txt", &options);
}

static qf_status prepare_taught(qf_context *context, double *result)
{
    (void)result;
    const qf_retrain_options options = {
        .size = sizeof options, .distil = QF_DISTIL_ON, .distil_blobs = "c"};
    return qf_prepare_quant_retrain_model(context, "net.prototxt", "given.caffemodel",
                                          "config.json", "out/modified.prototxt",
                                          "out/modified.caffemodel", "out/record.txt", &options);
}

static qf_status prepare_learned(qf_context *context, double *result)
{
    (void)result;
    const qf_retrain_options options = {.size = sizeof options,
                                        .calibrated_record = "learned/m_record.txt",
                                        .adaround = true,
                                        .bias_correction = true};
    return qf_prepare_quant_retrain_model(context, "net.prototxt", "given.caffemodel",
                                          "config.json", "out/modified.prototxt",
                                          "out/modified.caffemodel", "out/record.txt", &options);
}

static qf_status save(qf_context *context, double *result)
{
    (void)result;
    return qf_save_quant_retrain_model(context, "modified.prototxt", "trained.caffemodel",
                                       QF_SAVE_BOTH, "out/m", "record.txt", "config.json");
}

static qf_status plan(qf_context *context, double *result)
{
    qf_plan *found;
    const qf_status status = qf_quant_retrain_plan(context, "net.prototxt", "given.caffemodel",
                                                   "config.json", NULL, &found);
    *result = found ? (double)found->rows : 0;
    qf_plan_destroy(found);
    return status;
}

static qf_status inspect(qf_context *context, double *result)
{
    qf_inspection *found;
    const qf_status status = qf_inspect(context, "net.prototxt", NULL, "x=1x1x28x28,label=1",
                                        QF_TRAIN, 0, NULL, 0, &found);
    *result = found ? (double)(found->layers + found->edges) : 0;
    for (size_t i = 0; found && i < found->layers; i++)
        *result += (double)found->layer[i]->parameters + (double)found->layer[i]->multiply_adds;
    qf_inspection_destroy(found);
    return status;
}

static qf_status verify(qf_context *context, double *result)
{
    qf_verification *found;
    qf_data_options data = {.size = sizeof data};
    qf_data_set_defaults(&data);
    data.source = "test_lmdb";
    const qf_status status = qf_verify(context, "ready/m", &data, 1, NULL, NULL, NULL, &found);
    *result = found ? (double)found->compared + (double)found->differing : 0;
    qf_verification_destroy(found);
    return status;
}

static qf_status check(qf_context *context, double *result)
{
    static const char *const files[] = {"given.caffemodel", "record.txt", "given.solverstate"};
    *result = 0;
    for (int i = 0; i < 3; i++) {
        qf_file_check *found;
        const qf_status status = qf_check_file(context, files[i], &found);
        *result += found ? (double)(found->blobs + found->values + found->odd) : 0;
        qf_file_check_destroy(found);
        QF_TRY(status);
    }
    return QF_OK;
}

static qf_status decompose(qf_context *context, double *result)
{
    qf_decomposition *found;
    const qf_status status =
        qf_auto_decomposition(context, "thick.prototxt", "thick.caffemodel", "out/thin.prototxt",
                              "out/thin.caffemodel", NULL, NULL, NULL, &found);
    *result = found ? (double)found->layers : 0;
    qf_decomposition_destroy(found);
    return status;
}

static qf_qat_options run_options(void)
{
    qf_qat_options options = {.size = sizeof options};
    qf_qat_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "given.caffemodel";
    options.save_path = "out/m";
    options.iterations = 2;
    options.test_iterations = 1;
    options.hold_back = 0.25;
    return options;
}

static double value_of(const qf_qat_result *found)
{
    return found->float_score + found->calibrated_score + found->fake_quant_score +
           found->deploy_score + found->validation_best + found->validation_last +
           (double)found->verification->compared + (double)found->verification->differing;
}

static qf_status run_all(qf_context *context, double *result)
{
    const qf_qat_options options = run_options();
    qf_qat_result *found;
    const qf_status status = qf_qat_run(context, &options, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        *result = value_of(found);
    qf_qat_result_destroy(found);
    return status;
}

static qf_action stop_in_training(void *user)
{
    int *left = user;
    return (*left)-- > 0 ? QF_CONTINUE : QF_STOP;
}

static qf_status run_in_two(qf_context *context, double *result)
{
    qf_qat_options options = run_options();
    qf_qat_result *found;
    int left = 5;
    options.iterations = 4;
    qf_status status = qf_qat_run(context, &options, stop_in_training, NULL, &left, &found);
    qf_qat_result_destroy(found);
    if (status != QF_OK && status != QF_E_STOPPED)
        return status;
    options.resume = true;
    status = qf_qat_run(context, &options, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        *result = value_of(found);
    qf_qat_result_destroy(found);
    return status;
}

static qf_status import_onnx(qf_context *context, double *result)
{
    const qf_import_options options = {.size = sizeof options, .batch = 2};
    qf_onnx_import *found;
    const qf_status status = qf_import_onnx(context, "given.onnx", "out/m", &options, &found);
    *result = found ? (double)(found->layers + found->parameters + found->ranges) : 0;
    qf_onnx_import_destroy(found);
    return status;
}

static qf_status export_onnx(qf_context *context, double *result)
{
    qf_onnx_options options = {.size = sizeof options};
    qf_onnx_result *found;
    qf_onnx_set_defaults(&options);
    options.verify_batches = 1;
    const qf_status status =
        qf_export_onnx(context, "ready/m", NULL, "out/m.onnx", &options, NULL, NULL, NULL, &found);
    *result = found ? (double)(found->nodes + found->codes) : 0;
    qf_onnx_result_destroy(found);
    return status;
}

static qf_status report(qf_context *context, double *result)
{
    qf_report_options options = {.size = sizeof options};
    qf_report *made;
    size_t size = 0;
    char *text = NULL;
    qf_report_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "given.caffemodel";
    options.prefix = "ready/m";
    options.batches = options.test_iterations = 1;
    qf_status status = qf_report_create(context, &options, NULL, NULL, NULL, &made);
    if (status == QF_OK)
        made->float_speed = made->deploy_speed = 1; /* files have to be the same */
    if (status == QF_OK)
        status = qf_report_write(context, made, QF_REPORT_HTML, "out/report.html");
    if (status == QF_OK)
        status = qf_report_write(context, made, QF_REPORT_JSON, "out/report.json");
    if (status == QF_OK)
        status = qf_report_render(context, made, QF_REPORT_TEXT, &text, &size);
    if (status == QF_OK)
        *result = made->layer[0]->output_sqnr + (double)made->advices;
    qf_memory_release(text);
    qf_report_destroy(made);
    return status;
}

static qf_status find_sensitivity(qf_context *context, double *result)
{
    qf_sensitivity_options options = {.size = sizeof options};
    qf_sensitivity_result *found;
    qf_sensitivity_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "given.caffemodel";
    options.prefix = "ready/m";
    options.batches = 1;
    qf_status status = qf_measure_sensitivity(context, &options, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        status = qf_sensitivity_write_skip_layers(context, found, "out/skip.json");
    if (status == QF_OK)
        *result = found->layer[0]->alone_loss + found->quantised_loss;
    qf_sensitivity_result_destroy(found);
    return status;
}

static qf_status choose_bits(qf_context *context, double *result)
{
    qf_qat_options net = {.size = sizeof net};
    qf_bits_options options = {.size = sizeof options};
    qf_bits_result *found;
    qf_qat_set_defaults(&net);
    net.model = "net.prototxt";
    net.weights = "given.caffemodel";
    qf_bits_set_defaults(&options);
    options.net = &net;
    options.batches = 1;
    options.max_loss = 1e6;
    qf_status status = qf_choose_bits(context, &options, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        status = qf_bits_write(context, found, "out/bits.cfg");
    if (status == QF_OK)
        status = qf_bits_write(context, found, "out/bits.json");
    if (status == QF_OK)
        status = qf_bits_write(context, found, "out/bits.svg");
    if (status == QF_OK)
        *result = found->row[found->rows - 1]->loss + (double)found->row[0]->bytes;
    qf_bits_result_destroy(found);
    return status;
}

const trial trials_of_flow[] = {
    {.name = "the configuration", .run = configure},
    {.name = "the configuration, of fewer bits", .run = configure_bits},
    {.name = "the net to train", .run = prepare},
    {.name = "the net to train, from calibrated ranges, with frozen statistics",
     .run = prepare_frozen},
    {.name = "the net to train, with a teacher", .run = prepare_taught},
    {.name = "the net to train, from what calibration learned", .run = prepare_learned},
    {.name = "the models to deploy", .run = save},
    {.name = "the plan", .run = plan},
    {.name = "an inspection", .run = inspect},
    {.name = "the comparison of models", .run = verify},
    {.name = "an ONNX model", .run = export_onnx},
    {.name = "a net of an ONNX model", .run = import_onnx},
    {.name = "a report", .run = report, .places = 60},
    {.name = "sensitivity", .run = find_sensitivity, .places = 60},
    {.name = "a choice of bits", .run = choose_bits, .places = 60},
    {.name = "looking at files", .run = check},
    {.name = "decomposition", .run = decompose},
    {.name = "the whole flow", .run = run_all, .places = 60},
    {.name = "the whole flow, interrupted", .run = run_in_two, .places = 60},
    {.name = NULL},
};
