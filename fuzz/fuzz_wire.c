/* Wire format, and the upgrade of whatever it holds. */
#include "fuzz.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Caffe__NetParameter *net;
    qf_upgrade outcome;
    if (qf_wire_read_bytes(context, "input", data, size, &caffe__net_parameter__descriptor, &net) ==
        QF_OK) {
        (void)qf_net_param_upgrade(context, "input", net, &outcome);
        qf_message_free(net);
    }
    qf_context_destroy(context);
    return 0;
}
