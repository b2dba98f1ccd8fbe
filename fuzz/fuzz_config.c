/* AMCT's configurations, of training and of calibration: config.json, the simplified .cfg, and the
 * record of factors. The input's first byte says which. */
#include "fuzz.h"
#include "model/record.h"
#include "net.h"
#include "toolkit/config/config.h"
#include "toolkit/config/ptq_config.h"

static Caffe__NetParameter *read_net(qf_context *context)
{
    static const char text[] = FUZZ_NET;
    Caffe__NetParameter *net;
    fuzz_require(qf_text_parse(context, "net", text, sizeof text - 1,
                               &caffe__net_parameter__descriptor, &net) == QF_OK,
                 qf_error_text(context));
    return net;
}

/* The net once more with a weight for each layer, as a caffemodel has it. */
static Caffe__NetParameter *read_weights(qf_context *context)
{
    Caffe__NetParameter *net = read_net(context);
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        Caffe__BlobProto *blob;
        fuzz_require(qf_message_new(context, &caffe__blob_proto__descriptor, &blob) == QF_OK &&
                         qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob) ==
                             QF_OK,
                     "no memory");
    }
    return net;
}

/* A record of the net's layers: entries by themselves, and the whole as convert reads it. */
static void read_record(qf_context *context, const char *path)
{
    static const qf_record_layer layers[] = {{"conv", true, 3}, {"ip", true, 2}};
    for (int stage = QF_RECORD_GIVEN; stage <= QF_RECORD_RETRAINED; stage++) {
        qf_record *record;
        if (qf_record_read_for(context, path, "net", layers, 2, (qf_record_stage)stage, &record) ==
            QF_OK)
            qf_message_free(record);
    }
    qf_record *record;
    if (qf_record_read(context, path, &record) != QF_OK)
        return;
    for (size_t i = 0; i < record->n_record; i++)
        if (record->record[i]->value)
            (void)qf_record_check(context, &layers[0], record->record[i]->value,
                                  QF_RECORD_RETRAINED);
    qf_message_free(record);
}

static void read_config(qf_context *context, const char *path, bool json)
{
    Caffe__NetParameter *net = read_net(context), *weights = read_weights(context);
    qf_config config = {0};
    fuzz_require(qf_config_defaults(context, net, weights, &config) == QF_OK,
                 qf_error_text(context));
    (void)(json ? qf_config_read : qf_config_apply_definition)(context, net, path, &config);
    qf_message_free(weights);
    qf_config_release(&config);
    qf_message_free(net);
}

static void read_calibration(qf_context *context, const char *path, bool json)
{
    Caffe__NetParameter *net = read_net(context), *weights = read_weights(context);
    qf_config config = {0};
    fuzz_require(qf_ptq_defaults(context, net, weights, &config) == QF_OK, qf_error_text(context));
    if ((json ? qf_ptq_read : qf_ptq_apply_definition)(context, net, path, &config) == QF_OK)
        (void)qf_ptq_check(context, net, &config);
    qf_message_free(weights);
    qf_config_release(&config);
    qf_message_free(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    qf_context *context = fuzz_context();
    const char *path = fuzz_file(data + 1, size - 1);
    if (data[0] % 3 == 2)
        read_record(context, path);
    else if (data[0] / 3 % 2)
        read_calibration(context, path, data[0] % 3 == 0);
    else
        read_config(context, path, data[0] % 3 == 0);
    qf_context_destroy(context);
    return 0;
}
