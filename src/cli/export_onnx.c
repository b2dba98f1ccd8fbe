/* qaffe export-onnx: a net as an ONNX model, float or QDQ. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/session.h"
#include "cli/signal_thread.h"

#include <inttypes.h>

static const option options[] = {
    REQUIRED_FILE("model", "FILE",
                  "A net (.prototxt), float, fake-quant or deploy; without --weights the PREFIX of "
                  "`qaffe qat run` or `ptq run`, whose deploy model is taken."),
    FILE_OPTION("weights", "FILE", "Its weights (.caffemodel)."),
    REQUIRED_FILE("out", "FILE", "The ONNX model to write (.onnx)."),
    INTEGER_OPTION("opset", "N", "17", 13, 21, "ONNX's operator set."),
    CHOICE("activations", NULL, "u8|s8", "u8",
           "Codes of activations in a quantised model: u8 are the model's own, s8 are symmetric, "
           "as TensorRT needs them, and half as fine where no value is negative."),
    FLAG("keep-shift",
         "Keep AMCT's shift of sums to 16 bits, in nodes of its own: the file then answers as the "
         "model does, but runtimes find no integer layers in it. For comparing, and where answers "
         "must not change."),
    TEXT_OPTION(
        "shape", "NAME=SIZES",
        "The shape of a blob that the net begins with, as data=1x3x224x224, in place of the "
        "model's; several are separated by commas. A data layer that makes the blob is not "
        "opened."),
    INTEGER_OPTION("verify", "N", "0", 0, 1e9,
                   "Compare what the file means with the model on N batches of data, and say how "
                   "many answers and codes differ."),
    DATA_OPTION("Images to compare on:"),
    DATA_DETAILS,
    UNTIL_OPTION,
};

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

static void print_result(const qf_onnx_result *found, const char *file)
{
    printf("%s: %zu nodes, %zu initialisers", file, found->nodes, found->initialisers);
    if (found->quantised)
        printf(", %zu layer%s with int8 weights", found->quantised,
               found->quantised == 1 ? "" : "s");
    printf(", %s\n", found->free_batch ? "any batch" : "one batch size");
    if (!found->batches)
        return;
    printf("Compared with the model on %d batch%s: %" PRIu64 " of %" PRIu64
           " answers differ (%.3f %%), %" PRIu64 " of %" PRIu64 " codes (%.3f %%).\n",
           found->batches, found->batches == 1 ? "" : "es", found->differing_answers,
           found->answers, percent(found->differing_answers, found->answers),
           found->differing_codes, found->codes, percent(found->differing_codes, found->codes));
    if (!found->codes)
        puts("Codes were not compared: all have other scales than the model's.");
}

static int run(const arguments *a)
{
    session session;
    qf_onnx_result *found;
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    signals_install("stop", "none");
    const qf_data_options data = chosen_data(a);
    qf_onnx_options chosen = {.size = sizeof chosen};
    qf_onnx_set_defaults(&chosen);
    chosen.opset = argument_integer(a, "opset");
    chosen.signed_activations = same_word(argument_text(a, "activations"), "s8");
    chosen.keep_shift = argument_flag(a, "keep-shift");
    chosen.shapes = argument_text(a, "shape");
    chosen.verify_batches = argument_integer(a, "verify");
    chosen.data = &data;
    const char *file = argument_text(a, "out");
    const qf_status status =
        qf_export_onnx(session.context, argument_text(a, "model"), argument_text(a, "weights"),
                       file, &chosen, requested_action, show_progress, &session, &found);
    const int code = session_close(&session, status);
    if (status == QF_OK)
        print_result(found, file);
    qf_onnx_result_destroy(found);
    return code;
}

const command command_export_onnx = {
    .name = "export-onnx",
    .summary = "Write a net as an ONNX model, a quantised one with QDQ nodes.",
    .details =
        "The TEST phase counts. Layers that read data become inputs, a loss with answers "
        "(SoftmaxWithLoss) those answers; the batch is left open where the net allows it. A layer "
        "that cannot be exported is named, with the reason; docs/onnx.md lists all types.\n\n"
        "A quantised model gets QuantizeLinear and DequantizeLinear with its own codes and scales. "
        "What such a file means differs a little from what AMCT's models compute (docs/onnx.md); "
        "--verify says how much on your data.",
    .example =
        "qaffe export-onnx --model deploy.prototxt --weights lenet.caffemodel --out lenet.onnx\n"
        "qaffe export-onnx --model results/lenet --out lenet_int8.onnx --verify 10 --data "
        "test_lmdb",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
