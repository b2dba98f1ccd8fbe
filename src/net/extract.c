/* Values of blobs into databases of float datums, as Caffe's extract_features. */
#include "base/memory.h"
#include "base/output.h"
#include "data/stores/sample_store.h"
#include "net/net.h"

#include <stdio.h>
#include <string.h>

enum { REPORT = 1000 };

typedef struct feature {
    const char *blob_name, *database; /* in the caller's lists */
    qf_blob *blob;
    qf_sample_writer *writer;
    int count; /* images so far */
} feature;

typedef struct features {
    char *names, *databases; /* the lists, cut */
    feature *items;
    size_t count;
} features;

static qf_status split(qf_context *context, const char *blobs, const char *databases, features *out)
{
    size_t most = 1;
    for (const char *c = blobs; *c; c++)
        most += *c == ',';
    out->names = qf_strdup(blobs);
    out->databases = qf_strdup(databases);
    out->items = qf_alloc(most, sizeof *out->items);
    if (!out->names || !out->databases || !out->items)
        return qf_fail(context, QF_E_MEMORY, "no memory for the names of features");
    char *name_rest = out->names, *database_rest = out->databases;
    while (name_rest && database_rest)
        out->items[out->count++] = (feature){.blob_name = strsep(&name_rest, ","),
                                             .database = strsep(&database_rest, ",")};
    return name_rest || database_rest
               ? qf_fail(context, QF_E_ARGUMENT,
                         "the number of blob names and dataset names must be equal, but '%s' and "
                         "'%s' differ",
                         blobs, databases)
               : QF_OK;
}

static qf_status open_databases(qf_context *context, qf_net *net, const char *model,
                                const char *backend, features *all)
{
    qf_store_format format;
    QF_TRY(qf_store_format_find(context, backend, &format));
    for (size_t i = 0; i < all->count; i++)
        if (!(all->items[i].blob = qf_net_blob(net, all->items[i].blob_name)))
            return qf_fail(context, QF_E_ARGUMENT, "Unknown feature blob name %s in the network %s",
                           all->items[i].blob_name, model);
    for (size_t i = 0; i < all->count; i++) {
        qf_info(context, "Opening dataset %s", all->items[i].database);
        QF_TRY(qf_sample_writer_create(context, all->items[i].database, format,
                                       &all->items[i].writer));
    }
    return QF_OK;
}

static void report(qf_context *context, const feature *feature)
{
    qf_problem(context, "Extracted features of %d query images for feature blob %s", feature->count,
               feature->blob_name);
}

/* One item an image: its values as floats. */
static qf_status put_batch(qf_context *context, feature *feature)
{
    const qf_shape *shape = qf_blob_shape(feature->blob);
    if (shape->axes > 4)
        return qf_fail(context, QF_E_SHAPE,
                       "blob %s has %d axes, a datum has room for at most 4 with the images'",
                       feature->blob_name, shape->axes);
    int dim[4] = {1, 1, 1, 1}; /* Caffe puts missing axes behind */
    for (int i = 0; i < shape->axes; i++)
        dim[i] = shape->dim[i];
    size_t each = (size_t)dim[1] * (size_t)dim[2] * (size_t)dim[3];
    const float *values;
    QF_TRY(qf_blob_data(feature->blob, &values));
    for (int n = 0; n < dim[0]; n++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        char key[16];
        datum.has_channels = datum.has_height = datum.has_width = true;
        datum.channels = dim[1];
        datum.height = dim[2];
        datum.width = dim[3];
        datum.n_float_data = each;
        datum.float_data = (float *)values + (size_t)n * each; /* only read */
        snprintf(key, sizeof key, "%010d", feature->count++);
        QF_TRY(qf_sample_writer_put_message(context, feature->writer, key, &datum.base));
        if (feature->count % REPORT == 0)
            report(context, feature);
    }
    return QF_OK;
}

static qf_status extract(qf_context *context, qf_net *net, features *all, int batches)
{
    qf_problem(context, "Extracting Features");
    for (int b = 0; b < batches; b++) {
        QF_TRY(qf_net_forward(net, NULL));
        for (size_t i = 0; i < all->count; i++)
            QF_TRY(put_batch(context, &all->items[i]));
    }
    return QF_OK;
}

static qf_status close_databases(qf_context *context, features *all, qf_status status)
{
    const size_t mark = qf_outputs_begin(context);
    for (size_t i = 0; i < all->count; i++) {
        feature *feature = &all->items[i];
        if (status == QF_OK)
            report(context, feature);
        qf_status closed = qf_sample_writer_finish(context, feature->writer, status == QF_OK);
        status = status == QF_OK ? closed : status;
    }
    status = qf_outputs_end(context, mark, status);
    qf_free(all->names);
    qf_free(all->databases);
    qf_free(all->items);
    return status;
}

qf_status qf_extract_features(qf_context *context, const char *model, const char *weights,
                              const char *blobs, const char *databases, int batches,
                              const char *backend)
{
    qf_net *net = NULL;
    features all = {0};
    qf_status status = split(context, blobs, databases, &all);
    if (status == QF_OK)
        status = qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_net_load_weights_list(net, weights);
    if (status == QF_OK)
        status = open_databases(context, net, model, backend, &all);
    if (status == QF_OK)
        status = extract(context, net, &all, batches);
    status = close_databases(context, &all, status);
    if (status == QF_OK)
        qf_problem(context, "Successfully extracted the features!");
    qf_net_destroy(net);
    return status;
}
