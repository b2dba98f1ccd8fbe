/* Text format: whatever is accepted must print to something that is accepted again. */
#include "fuzz.h"
#include "model/model.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    void *net, *again;
    if (qf_text_parse(context, "input", (const char *)data, size, &caffe__net_parameter__descriptor,
                      &net) == QF_OK) {
        qf_buffer text = {0};
        qf_text_print(net, &text);
        if (qf_text_parse(context, "printed", qf_buffer_text(&text), text.size,
                          &caffe__net_parameter__descriptor, &again) != QF_OK)
            abort();
        qf_message_free(again);
        qf_message_free(net);
        qf_buffer_release(&text);
    }
    qf_context_destroy(context);
    return 0;
}
