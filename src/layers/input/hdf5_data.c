/* HDF5Data: arrays from the HDF5 files that a text file lists; top t is the data set of its name.
 * A file at a time is in memory; rows follow one another across files. */
#include "base/file.h"
#include "base/memory.h"
#include "data/sources/hold_back.h"
#include "data/sources/list_text.h"
#include "data/stores/hdf5_array.h"
#include "layers/layer.h"
#include "model/file_type.h"

#include <string.h>

typedef struct state {
    struct {
        char *path;
        int line; /* in the list */
    } * files;
    size_t file_count, file_capacity;
    size_t *file_order, file; /* which file is in memory: file_order[file] */
    float **rows;             /* per top: all rows of the file */
    size_t *row_size;         /* per top, in floats */
    size_t *row_order, row, row_count;
    uint64_t *first_row; /* per file, counted over all files; NULL: nothing is held back */
    uint64_t epoch;
    qf_random shuffle; /* what all orders are made from */
    int batch, cut;    /* items in the tops now; in the next batch, 0: as many as batch_size */
    double items;
} state;

static const Caffe__HDF5DataParameter *parameter(const qf_layer *layer)
{
    return layer->param->hdf5_data_param;
}

/* Words, as Caffe reads them: a name has no blanks in it. */
static qf_status take_files(qf_layer *layer, char *text, state *s)
{
    const char *list = parameter(layer)->source;
    qf_list_words words = {.at = text, .line = 1};
    for (const char *word; (word = qf_list_next_word(&words)); s->file_count++) {
        QF_TRY(qf_check_limit(layer->context, QF_LIMIT_LIST_LINES, s->file_count + 1,
                              "%s has more than", list));
        if (!qf_grow(&s->files, &s->file_capacity, s->file_count + 1, sizeof *s->files) ||
            !(s->files[s->file_count].path = qf_strdup(word)))
            return qf_fail(layer->context, QF_E_MEMORY, "no memory for a list of files");
        s->files[s->file_count].line = words.line;
    }
    return s->file_count ? QF_OK
                         : qf_fail(layer->context, QF_E_FORMAT, "%s names no HDF5 files", list);
}

static qf_status read_list(qf_layer *layer, state *s)
{
    const char *list = parameter(layer)->source;
    qf_buffer text = {0};
    qf_status status = qf_list_text_read(layer->context, list, &text);
    if (status == QF_OK)
        status = take_files(layer, text.data, s);
    qf_buffer_release(&text);
    return status;
}

/* 0 … count − 1, shuffled if the layer shuffles: in each epoch another way, and in each `part`. */
static qf_status make_order(qf_layer *layer, uint64_t part, size_t count, size_t **order)
{
    state *s = layer->state;
    qf_random random = s->shuffle;
    qf_free(*order);
    *order = qf_alloc(count, sizeof **order);
    if (!*order)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for an order of %zu", count);
    random.state[1] ^= part;
    for (size_t i = 0; i < count; i++)
        (*order)[i] = i;
    if (parameter(layer)->shuffle)
        qf_epoch_order(&random, s->epoch, *order, count);
    return QF_OK;
}

static qf_status order_files(qf_layer *layer)
{
    state *s = layer->state;
    return make_order(layer, 0, s->file_count, &s->file_order);
}

static qf_status order_rows(qf_layer *layer)
{
    state *s = layer->state;
    return make_order(layer, s->file + 1, s->row_count, &s->row_order);
}

/* One top's data set; its shape gives the top's, but for the first axis. */
static qf_status load_top(qf_layer *layer, int64_t file, int top)
{
    state *s = layer->state;
    const char *name = layer->top[top]->name;
    qf_hdf5_shape found;
    QF_TRY(qf_hdf5_describe(layer->context, file, name, &found));
    if (found.axes < 1 || found.dim[0] < 1)
        return qf_fail(layer->context, QF_E_SHAPE, "the data set '%s' has no rows", name);
    const size_t rows = (size_t)found.dim[0], size = found.count / rows;
    if (top > 0 && rows != s->row_count)
        return qf_fail(layer->context, QF_E_SHAPE, "the data set '%s' has %zu rows, '%s' has %zu",
                       name, rows, layer->top[0]->name, s->row_count);
    qf_shape shape = qf_shape_make(found.axes, found.dim);
    shape.dim[0] = s->batch;
    if (s->row_size[top] && !qf_shape_equal(&shape, qf_blob_shape(layer->top[top])))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "rows of the data set '%s' have another shape than in the files before",
                       name);
    QF_TRY(qf_blob_reshape_to(layer->top[top], &shape));
    QF_TRY(qf_check_limit(layer->context, QF_LIMIT_NET_BYTES, found.count * sizeof(float),
                          "the data set '%s' has", name));
    s->row_count = rows;
    s->row_size[top] = size;
    qf_free(s->rows[top]);
    s->rows[top] = qf_alloc_raw(found.count, sizeof(float));
    if (!s->rows[top])
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the data set '%s'", name);
    return qf_hdf5_read(layer->context, file, name, s->rows[top]);
}

static qf_status within_list(qf_layer *layer, size_t file, qf_status status)
{
    const state *s = layer->state;
    return qf_within(layer->context, status, "%s:%d", parameter(layer)->source,
                     s->files[file].line);
}

static qf_status load_file(qf_layer *layer)
{
    state *s = layer->state;
    const size_t index = s->file_order[s->file];
    int64_t file;
    qf_status status = qf_hdf5_open(layer->context, s->files[index].path, &file);
    for (int t = 0; t < layer->top_count && status == QF_OK; t++)
        status = qf_within(layer->context, load_top(layer, file, t), "%s", s->files[index].path);
    qf_hdf5_close(file);
    QF_TRY(within_list(layer, index, status));
    s->row = 0;
    return order_rows(layer);
}

static qf_status count_rows(qf_layer *layer, size_t index, uint64_t *items)
{
    const state *s = layer->state;
    int64_t file;
    qf_hdf5_shape found = {0};
    qf_status status = qf_hdf5_open(layer->context, s->files[index].path, &file);
    if (status == QF_OK)
        status = qf_within(layer->context,
                           qf_hdf5_describe(layer->context, file, layer->top[0]->name, &found),
                           "%s", s->files[index].path);
    qf_hdf5_close(file);
    if (status == QF_OK && found.axes > 0)
        *items += (uint64_t)found.dim[0];
    return within_list(layer, index, status);
}

/* Rows are numbered over all files, in the order of the list. */
static qf_status number_rows(qf_layer *layer)
{
    state *s = layer->state;
    const Caffe__HoldBackParameter *p = layer->param->hold_back_param;
    uint64_t rows = 0;
    QF_TRY(qf_hold_back_check(layer->context, p));
    s->first_row = qf_alloc(s->file_count, sizeof *s->first_row);
    if (!s->first_row)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a list of files");
    for (size_t i = 0; i < s->file_count; i++) {
        s->first_row[i] = rows;
        QF_TRY(count_rows(layer, i, &rows));
    }
    return qf_hold_back_count(p, rows)
               ? QF_OK
               : qf_fail(layer->context, QF_E_VALUE,
                         "hold_back_param.every is %u, but there are only %llu rows: none is left",
                         p->every, (unsigned long long)rows);
}

static bool is_given(const qf_layer *layer)
{
    const state *s = layer->state;
    return !s->first_row ||
           qf_hold_back_gives(layer->param->hold_back_param,
                              s->first_row[s->file_order[s->file]] + s->row_order[s->row]);
}

static qf_status setup(qf_layer *layer)
{
    state *s = layer->state;
    const Caffe__HDF5DataParameter *p = parameter(layer);
    if (!p || !p->source || p->batch_size < 1 || p->batch_size > 1 << 24)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "hdf5_data_param needs source and a batch_size of 1 or more");
    if (layer->param->transform_param)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "HDF5Data does not transform data; remove transform_param");
    s->shuffle = qf_random_fork(&layer->context->random);
    s->batch = (int)p->batch_size;
    s->rows = qf_alloc((size_t)layer->top_count, sizeof *s->rows);
    s->row_size = qf_alloc((size_t)layer->top_count, sizeof *s->row_size);
    if (!s->rows || !s->row_size)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %d tops", layer->top_count);
    qf_status status = read_list(layer, s);
    if (status == QF_OK && layer->param->hold_back_param)
        status = number_rows(layer);
    if (status == QF_OK)
        status = order_files(layer);
    if (status == QF_OK)
        status = load_file(layer);
    return qf_wrong_file(layer->context, status, p->source, QF_FILE_HDF5_LIST);
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

static qf_status advance(qf_layer *layer)
{
    state *s = layer->state;
    if (++s->row < s->row_count)
        return QF_OK;
    s->row = 0;
    if (++s->file == s->file_count) {
        s->file = 0;
        s->epoch++;
        QF_TRY(order_files(layer));
    }
    return s->file_count == 1 ? order_rows(layer) : load_file(layer);
}

static qf_status set_batch(qf_layer *layer, int batch)
{
    state *s = layer->state;
    for (int t = 0; t < layer->top_count && batch != s->batch; t++) {
        qf_shape shape = *qf_blob_shape(layer->top[t]);
        shape.dim[0] = batch;
        QF_TRY(qf_blob_reshape_to(layer->top[t], &shape));
    }
    s->batch = batch;
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(set_batch(layer, s->cut ? s->cut : (int)parameter(layer)->batch_size));
    s->cut = 0;
    for (size_t i = 0; i < (size_t)s->batch; i++) {
        while (!is_given(layer))
            QF_TRY(advance(layer));
        for (int t = 0; t < layer->top_count; t++) {
            float *values;
            const size_t size = s->row_size[t];
            QF_TRY(
                (i ? qf_update : qf_write)(layer->context, layer->top[t]->data, QF_PLAIN, &values));
            memcpy(values + i * size, s->rows[t] + s->row_order[s->row] * size,
                   size * sizeof *values);
        }
        QF_TRY(advance(layer));
        s->items++;
    }
    return QF_OK;
}

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    const state *s = layer->state;
    *out = (qf_data_state){
        .epoch = s->epoch, .part = s->file, .position = s->row, .shuffle = s->shuffle};
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    state *s = layer->state;
    if (to->part >= s->file_count)
        return qf_fail(layer->context, QF_E_MISMATCH,
                       "%s names %zu files, but the run stood in file %llu",
                       parameter(layer)->source, s->file_count, (unsigned long long)to->part + 1);
    s->shuffle = to->shuffle;
    s->epoch = to->epoch;
    s->file = (size_t)to->part;
    QF_TRY(order_files(layer));
    QF_TRY(load_file(layer));
    if (to->position >= s->row_count)
        return qf_fail(
            layer->context, QF_E_MISMATCH, "%s has %zu rows, but the run stood at row %llu",
            s->files[s->file_order[s->file]].path, s->row_count, (unsigned long long)to->position);
    s->row = (size_t)to->position;
    return QF_OK;
}

static void data_statistics(const qf_layer *layer, double *wait_seconds, double *items)
{
    *wait_seconds = 0;
    *items = ((const state *)layer->state)->items;
}

static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    const state *s = layer->state;
    *items = 0;
    *batch = (int)parameter(layer)->batch_size;
    for (size_t i = 0; i < s->file_count; i++)
        QF_TRY(count_rows(layer, i, items));
    if (s->first_row)
        *items = qf_hold_back_count(layer->param->hold_back_param, *items);
    return QF_OK;
}

static void data_cut(qf_layer *layer, int items)
{
    ((state *)layer->state)->cut = items;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    for (size_t i = 0; i < s->file_count; i++)
        qf_free(s->files[i].path);
    for (int t = 0; s->rows && t < layer->top_count; t++)
        qf_free(s->rows[t]);
    qf_free(s->files);
    qf_free(s->file_order);
    qf_free(s->rows);
    qf_free(s->row_size);
    qf_free(s->row_order);
    qf_free(s->first_row);
}

const qf_layer_type qf_hdf5_data_layer = {
    .name = "HDF5Data",
    .state_size = sizeof(state),
    QF_BOTTOMS(0, 0),
    QF_TOPS(1, -1),
    .no_backward = true,
    .source = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
    .data_state = data_state,
    .data_restore = data_restore,
    .data_statistics = data_statistics,
    .data_round = data_round,
    .data_cut = data_cut,
    .holds_back = true,
};
