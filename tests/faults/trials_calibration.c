/* Quantisation without training, in steps and at once. */
#define QF_TRIAL
#include "faults/trials.h"

#include <string.h>
#include <unistd.h>

static qf_status configure_calibration(qf_context *context, double *result)
{
    const char *const skipped[] = {"ip"};
    const qf_quant_options options = {.size = sizeof options,
                                      .skip_layers = skipped,
                                      .skip_layer_count = 1,
                                      .batch_num = 2,
                                      .activation_offset = true};
    (void)result;
    return qf_create_quant_config(context, "out/config.json", "net.prototxt", "given.caffemodel",
                                  &options);
}

static qf_status configure_calibration_simply(qf_context *context, double *result)
{
    qf_quant_options options = {.size = sizeof options};
    qf_quant_set_defaults(&options);
    options.config_definition = "calibration.cfg";
    (void)result;
    return qf_create_quant_config(context, "out/config.json", "net.prototxt", "given.caffemodel",
                                  &options);
}

static qf_status quantise_model(qf_context *context, double *result)
{
    qf_quant_graph *graph;
    (void)result;
    qf_status status = qf_quant_init(context, "calibration.json", "net.prototxt",
                                     "given.caffemodel", "out/record.txt", &graph);
    if (status == QF_OK)
        status = qf_quantize_model(context, graph, "out/calibration.prototxt",
                                   "out/calibration.caffemodel");
    qf_quant_graph_destroy(graph);
    return status;
}

static qf_status save_calibrated(qf_context *context, double *result)
{
    qf_quant_graph *graph;
    (void)result;
    qf_status status = qf_quant_open(context, "calibration.json", "net.prototxt",
                                     "given.caffemodel", "calibrated.txt", &graph);
    if (status == QF_OK)
        status = qf_save_model(context, graph, QF_SAVE_BOTH, "out/m");
    qf_quant_graph_destroy(graph);
    return status;
}

static qf_status save_corrected(qf_context *context, double *result)
{
    const qf_correction_options options = {.size = sizeof options,
                                           .model = "net.prototxt",
                                           .weights = "given.caffemodel",
                                           .bias_correction = 1,
                                           .adaround = true,
                                           .adaround_iterations = 1};
    qf_quant_graph *graph;
    (void)result;
    qf_status status = qf_quant_open(context, "calibration.json", "net.prototxt",
                                     "given.caffemodel", "calibrated.txt", &graph);
    if (status == QF_OK)
        status = qf_save_corrected_model(context, graph, QF_SAVE_BOTH, "out/m", &options, NULL,
                                         NULL, NULL);
    qf_quant_graph_destroy(graph);
    return status;
}

/* In memory for the graph, and into files beside the record and the models. */
static qf_status equalise_and_save(qf_context *context, double *result)
{
    qf_quant_graph *graph;
    (void)result;
    qf_status status =
        qf_quant_open_equalised(context, "calibration.json", "net.prototxt", "given.caffemodel",
                                "calibrated.txt", QF_EQUALISE_ON, &graph);
    if (status == QF_OK)
        status = qf_save_model(context, graph, QF_SAVE_BOTH, "out/m");
    qf_quant_graph_destroy(graph);
    QF_TRY(status);
    QF_TRY(qf_quant_open_equalised(context, "calibration.json", "net.prototxt", "given.caffemodel",
                                   "out/k_record.txt", QF_EQUALISE_ON, &graph));
    status =
        qf_quantize_model(context, graph, "out/calibration.prototxt", "out/calibration.caffemodel");
    qf_quant_graph_destroy(graph);
    return status;
}

static qf_status convert(qf_context *context, double *result)
{
    (void)result;
    return qf_convert_model(context, "net.prototxt", "given.caffemodel", "factors.txt", "out/m");
}

static qf_status equalise(qf_context *context, double *result)
{
    qf_equalisation *found;
    const qf_status status = qf_equalise_weights(context, "net.prototxt", "given.caffemodel",
                                                 "out/equalised.caffemodel", &found);
    *result = found ? (double)found->rows : 0;
    qf_equalisation_destroy(found);
    return status;
}

static qf_status plan_calibration(qf_context *context, double *result)
{
    qf_plan *found;
    const qf_status status =
        qf_quant_plan(context, "net.prototxt", "given.caffemodel", "calibration.json", &found);
    *result = found ? (double)found->rows : 0;
    qf_plan_destroy(found);
    return status;
}

static qf_status plan_equalised(qf_context *context, double *result)
{
    qf_plan *found;
    const qf_status status = qf_quant_plan_equalised(context, "net.prototxt", "given.caffemodel",
                                                     "calibration.json", QF_EQUALISE_ON, &found);
    *result = found ? (double)found->rows : 0;
    qf_plan_destroy(found);
    return status;
}

static qf_status calibrate(qf_context *context, double *result)
{
    (void)result;
    QF_TRY(quantise_model(context, result));
    return qf_calibrate(context, "out/calibration.prototxt", "out/calibration.caffemodel", NULL, 0,
                        NULL, NULL, NULL);
}

/* Calibration is a record that is there already. */
static qf_status judge_few_codes(void *user, qf_context *context, const char *model_file,
                                 const char *weights_file, int batches, qf_metric *out)
{
    (void)user;
    (void)weights_file;
    (void)batches;
    out->number = 1;
    if (!strstr(model_file, "calibration_model"))
        return QF_OK;
    if (unlink("out/record.txt") == 0 && link("calibrated.txt", "out/record.txt") == 0)
        return QF_OK;
    qf_context_fail(context, "no record");
    return QF_E_IO;
}

static qf_status like_few_codes(void *user, qf_context *context, const qf_metric *original,
                                const qf_metric *other, bool *out)
{
    (void)user;
    (void)context;
    *out = original->number == other->number;
    return QF_OK;
}

static qf_status find_few_codes(qf_context *context, double *result)
{
    const qf_nuq_evaluator evaluator = {
        .size = sizeof evaluator, .evaluate = judge_few_codes, .is_satisfied = like_few_codes};
    qf_nuq_result *found;
    const qf_status status = qf_auto_nuq(context, "net.prototxt", "given.caffemodel", "few.json",
                                         "out/record.txt", "out/m", &evaluator, &found);
    *result = found ? (double)found->attempts : 0;
    qf_nuq_result_destroy(found);
    return status;
}

static qf_status calibrate_with(qf_context *context, bool adaround, double *result)
{
    qf_ptq_options options = {.size = sizeof options};
    qf_data_options data = {.size = sizeof data};
    qf_qat_result *found;
    qf_data_set_defaults(&data);
    qf_ptq_set_defaults(&options);
    data.source = "test_lmdb";
    options.model = "net.prototxt";
    options.weights = "given.caffemodel";
    options.data = &data;
    options.save_path = "out/m";
    options.test_iterations = 1;
    options.adaround = adaround;
    options.adaround_iterations = 2;
    const qf_status status = qf_ptq_run(context, &options, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        *result = found->float_score + found->fake_quant_score + found->deploy_score +
                  (double)found->verification->compared + (double)found->verification->differing;
    qf_qat_result_destroy(found);
    return status;
}

static qf_status calibrate_all(qf_context *context, double *result)
{
    return calibrate_with(context, false, result);
}

static qf_status learn_rounding(qf_context *context, double *result)
{
    return calibrate_with(context, true, result);
}

static qf_status calibrate_automatically(qf_context *context, double *result)
{
    qf_auto_options options = {.size = sizeof options};
    qf_auto_result *found;
    qf_auto_set_defaults(&options);
    options.model_file = "net.prototxt";
    options.weights_file = "given.caffemodel";
    options.config_file = "calibration.json";
    options.save_path = "out/m";
    options.test_iterations = 1;
    options.max_loss = 0; /* so that there is something to search */
    const qf_status status = qf_auto_calibrate(context, &options, NULL, NULL, NULL, &found);
    *result = found ? (double)(found->steps + found->layers) + (double)found->generated : 0;
    qf_auto_result_destroy(found);
    return status;
}

const trial trials_of_calibration[] = {
    {.name = "the configuration of calibration", .run = configure_calibration},
    {.name = "the configuration of calibration, from a simplified one",
     .run = configure_calibration_simply},
    {.name = "the net to calibrate", .run = quantise_model},
    {.name = "calibration", .run = calibrate},
    {.name = "the models of a calibrated net", .run = save_calibrated},
    {.name = "the corrected models of a calibrated net", .run = save_corrected, .places = 60},
    {.name = "the models of an equalised net", .run = equalise_and_save},
    {.name = "the models of given factors", .run = convert},
    {.name = "the plan of calibration", .run = plan_calibration},
    {.name = "the plan of calibration, equalised", .run = plan_equalised},
    {.name = "equalise", .run = equalise},
    {.name = "the search for layers with few codes", .run = find_few_codes},
    {.name = "automatic calibration", .run = calibrate_automatically, .places = 60},
    {.name = "the whole flow without training", .run = calibrate_all, .places = 60},
    {.name = "adaptive rounding", .run = learn_rounding, .places = 60},
    {.name = NULL},
};
