/* ONNX models: reading, what their nodes become, and the net of it. */
#include "fuzz.h"
#include "net/net.h"
#include "onnx/import/importer.h"

static void read_graph(qf_context *context, Onnx__Model *model)
{
    qf_importer im = {.context = context, .model = model};
    qf_net *net;
    if (model->graph && qf_import_graph(&im, 2, NULL) == QF_OK &&
        qf_net_create_from_param(context, im.net, NULL, &net) == QF_OK)
        qf_net_destroy(net);
    qf_importer_release(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Onnx__Model *model;
    fuzz_enter_folder();
    if (qf_wire_read_bytes(context, "input", data, size, &onnx__model__descriptor, &model) ==
        QF_OK) {
        read_graph(context, model);
        qf_message_free(model);
    }
    qf_context_destroy(context);
    return 0;
}
