/*
 * Quantisation without training, step by step: configure, prepare, calibrate, export, verify.
 *   calibrate NET.prototxt WEIGHTS.caffemodel BATCHES
 * The net has data for its TEST phase. All files go into the working directory; the models are
 * calibrated_fake_quant_* and calibrated_deploy_*.
 */
#include <qaffe/qaffe.h>
#include <stdio.h>
#include <stdlib.h>

static qf_status configure(qf_context *context, const char *model, const char *weights, int batches)
{
    qf_quant_options options = {.size = sizeof options};
    qf_quant_set_defaults(&options);
    options.batch_num = batches;
    return qf_create_quant_config(context, "config.json", model, weights, &options);
}

static qf_status quantise(qf_context *context, const char *model, const char *weights, int batches)
{
    qf_quant_graph *graph = NULL;
    qf_verification *found = NULL;
    qf_status status = configure(context, model, weights, batches);
    if (status == QF_OK)
        status = qf_quant_init(context, "config.json", model, weights, "record.txt", &graph);
    if (status == QF_OK)
        status =
            qf_quantize_model(context, graph, "calibration.prototxt", "calibration.caffemodel");
    if (status == QF_OK)
        status = qf_calibrate(context, "calibration.prototxt", "calibration.caffemodel", NULL, 0,
                              NULL, NULL, NULL);
    if (status == QF_OK)
        status = qf_save_model(context, graph, QF_SAVE_BOTH, "./calibrated");
    if (status == QF_OK)
        status = qf_verify(context, "./calibrated", NULL, 2, NULL, NULL, NULL, &found);
    if (status == QF_OK)
        printf("verified: %zu integers behind %d layers, %zu differ\n", found->compared,
               found->layers, found->differing);
    qf_verification_destroy(found);
    qf_quant_graph_destroy(graph);
    return status;
}

int main(int count, char **argument)
{
    qf_context *context;
    const int batches = count == 4 ? atoi(argument[3]) : 0;
    if (batches < 1) {
        fprintf(stderr, "usage: calibrate NET.prototxt WEIGHTS.caffemodel BATCHES\n");
        return 2;
    }
    if (qf_context_create(&context) != QF_OK)
        return 1;
    const qf_status status = quantise(context, argument[1], argument[2], batches);
    if (status != QF_OK)
        fprintf(stderr, "calibrate: %s\n", qf_error_text(context));
    qf_context_destroy(context);
    return status != QF_OK;
}
