/* The shifts N of a trained net, on training data. AMCT's flow searches them where the solver
 * tests, on the test set. */
#include "layers/quantised/calibration.h"
#include "model/until.h"
#include "toolkit/ptq/calibrate.h"
#include "toolkit/run/start.h"
#include "toolkit/run/training_source.h"

static qf_status open_net(const qf_run_start *s, const char *prepared_model, const char *weights,
                          qf_net **out)
{
    qf_context *context = s->flow->context;
    Caffe__NetParameter *model = NULL, *net = NULL;
    *out = NULL;
    qf_status status = qf_net_param_read(context, s->float_model, &model);
    if (status == QF_OK)
        status = qf_net_param_read(context, prepared_model, &net);
    if (status == QF_OK)
        status = qf_source_train(context, model, net);
    if (status == QF_OK)
        qf_source_drop_judges(net);
    if (status == QF_OK)
        status = qf_net_param_set_state(context, net, QF_TEST, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, net, NULL, out);
    if (status == QF_OK)
        status = qf_net_load_weights_file(*out, weights);
    qf_message_free(model);
    qf_message_free(net);
    return status;
}

/* One where nothing is searched: the ranges go into the record. */
static int batches_of(const qf_net *net)
{
    int batches = 1;
    for (int i = 0; i < net->layer_count; i++) {
        const int wanted = qf_calibration_of(net->layers[i]).wanted;
        batches = wanted > batches ? wanted : batches;
    }
    return batches;
}

qf_status qf_run_search_shifts(const qf_run_start *s, const char *prepared_model,
                               const char *weights)
{
    qf_context *context = s->flow->context;
    const qf_run_callbacks callbacks = qf_flow_callbacks(s->flow);
    const qf_random random = context->random;
    const char *stage = s->flow->stage;
    char *until = qf_until_suspend(context); /* what trains is whole */
    qf_net *net;
    s->flow->stage = "calibrating";
    qf_status status = open_net(s, prepared_model, weights, &net);
    if (status == QF_OK) {
        qf_net_keep_blobs(net, false);
        status = qf_calibrate_net(net, batches_of(net), callbacks.action, callbacks.progress,
                                  callbacks.user);
    }
    qf_net_destroy(net);
    qf_until_resume(context, until);
    s->flow->stage = stage;
    context->random = random;
    return status;
}
