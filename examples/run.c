/*
 * Classify a batch that the net reads by itself (a Data layer of phase TEST).
 *   run NET.prototxt WEIGHTS.caffemodel BLOB
 * prints, for each item of a batch, the index of the largest value of BLOB.
 */
#include <qaffe/qaffe.h>
#include <stdio.h>

static qf_status classify(qf_context *context, const char *const *argument, qf_net **net)
{
    qf_status status = qf_net_create(context, argument[1], QF_TEST, 0, NULL, 0, net);
    if (status == QF_OK)
        status = qf_net_load_weights(*net, argument[2]);
    if (status == QF_OK)
        status = qf_net_forward(*net, NULL);
    if (status != QF_OK)
        return status;
    qf_blob *blob = qf_net_blob(*net, argument[3]);
    if (!blob || qf_blob_axes(blob) < 1) {
        qf_context_fail(context, "the net has no such blob with an axis for the batch");
        return QF_E_ARGUMENT;
    }
    const float *values;
    status = qf_blob_data(blob, &values);
    if (status != QF_OK)
        return status;
    const int items = qf_blob_dimension(blob, 0);
    const size_t classes = items > 0 ? qf_blob_count(blob) / (size_t)items : 0;
    for (int i = 0; i < items; i++, values += classes) {
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            if (values[c] > values[best])
                best = c;
        printf("%d: class %zu, %g\n", i, best, (double)values[best]);
    }
    return QF_OK;
}

int main(int count, char **argument)
{
    qf_context *context;
    qf_net *net = NULL;
    if (count != 4) {
        fprintf(stderr, "usage: run NET.prototxt WEIGHTS.caffemodel BLOB\n");
        return 2;
    }
    if (qf_context_create(&context) != QF_OK)
        return 1;
    const qf_status status = classify(context, (const char *const *)argument, &net);
    if (status != QF_OK)
        fprintf(stderr, "run: %s\n", qf_error_text(context));
    qf_net_destroy(net); /* before its context */
    qf_context_destroy(context);
    return status != QF_OK;
}
