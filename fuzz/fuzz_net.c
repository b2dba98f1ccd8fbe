/* Building nets from text: shapes, fillers, sharing, in-place rules. */
#include "fuzz.h"
#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Caffe__NetParameter *param;
    qf_net *net;
    qf_upgrade outcome;
    fuzz_enter_folder();
    if (qf_text_parse(context, "input", (const char *)data, size, &caffe__net_parameter__descriptor,
                      &param) == QF_OK) {
        if (qf_net_param_upgrade(context, "input", param, &outcome) == QF_OK &&
            qf_net_create_from_param(context, param, NULL, &net) == QF_OK)
            qf_net_destroy(net);
        qf_message_free(param);
    }
    qf_context_destroy(context);
    return 0;
}
