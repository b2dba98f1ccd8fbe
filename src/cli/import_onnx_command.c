/* qaffe import-onnx: a Caffe net of an ONNX model. */
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <limits.h>

static const option options[] = {
    REQUIRED_FILE("model", "FILE", "The ONNX model (.onnx)."),
    REQUIRED_FILE("out", "PREFIX",
                  "What the files' names begin with: PREFIX.prototxt, PREFIX.caffemodel and, of a "
                  "quantised model, PREFIX_record.txt."),
    INTEGER_OPTION("batch", "N", "1", 1, INT_MAX,
                   "Items in a batch, where the model leaves that open."),
    TEXT_OPTION("shape", "NAME=SIZES",
                "The shape of an input, as data=1x3x224x224, for sizes that the model leaves open "
                "or to have others; several are separated by commas."),
};

static void print(const qf_onnx_import *r, const char *prefix)
{
    printf("%s: %zu nodes of operator set %d became %zu layers with %s parameters\n", r->name,
           r->nodes, r->operator_set, r->layers, grouped(r->parameters));
    printf("written: %s.prototxt, %s.caffemodel%s%s%s\n", prefix, prefix, r->ranges ? ", " : "",
           r->ranges ? prefix : "", r->ranges ? "_record.txt" : "");
    if (r->ranges || r->lost_ranges)
        printf("ranges of %zu layers are in the record, those of %zu cannot be (--verbose says "
               "why)\n",
               r->ranges, r->lost_ranges);
    if (r->ranges)
        printf("Next: qaffe ptq convert --model %s.prototxt --weights %s.caffemodel --record "
               "%s_record.txt --out %s\n",
               prefix, prefix, prefix, prefix);
}

static qf_status import(session *session, const arguments *a)
{
    const qf_import_options options = {.size = sizeof options,
                                       .shapes = argument_text(a, "shape"),
                                       .batch = (uint64_t)argument_integer(a, "batch")};
    qf_onnx_import *imported;
    const qf_status status = qf_import_onnx(session->context, argument_text(a, "model"),
                                            argument_text(a, "out"), &options, &imported);
    if (status == QF_OK)
        print(imported, argument_text(a, "out"));
    qf_onnx_import_destroy(imported);
    return status;
}

static int run(const arguments *a)
{
    signals_install("stop", "stop");
    return session_run(a, QF_WARNING, import);
}

const command command_import_onnx = {
    .name = "import-onnx",
    .summary = "Make a Caffe net of an ONNX model.",
    .details =
        "Reads operator sets 7 to 25: convolutions, products, pooling, normalisation, activations, "
        "and what moves data; sizes that exporters compute in the graph are computed here. What "
        "Caffe cannot say is refused with the name of the node. The net gives in float what the "
        "model does.\n\n"
        "Of a model with QuantizeLinear and DequantizeLinear nodes the ranges go into a record, "
        "from which ptq convert makes the fake-quant and deploy models.",
    .example = "qaffe import-onnx --model resnet18.onnx --out resnet18",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
