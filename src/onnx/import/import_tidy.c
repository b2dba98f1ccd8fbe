/* What is left to do when all nodes have become layers: some go, some work in place, and the
 * outputs get the model's names. */
#include "onnx/import/importer.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

typedef Caffe__LayerParameter layer;

/* By the names that blobs have before anything is renamed. */
typedef struct tidy {
    qf_importer *im;
    qf_names readers; /* of a blob, how many */
    qf_names writer;  /* its layer */
    qf_names final;   /* its number in `names`, which has what it will be called */
    const char **names;
    size_t count, capacity;
    char **old; /* strings that were replaced: keys above may be in them */
    size_t old_count, old_capacity;
} tidy;

static qf_status note(tidy *t, qf_names *names, const char *name, int number)
{
    return qf_names_set(names, name, number)
               ? QF_OK
               : qf_fail(t->im->context, QF_E_MEMORY, "no memory for the names of blobs");
}

static qf_status count_reader(tidy *t, const char *blob)
{
    const int before = qf_names_get(&t->readers, blob);
    return note(t, &t->readers, blob, before < 0 ? 1 : before + 1);
}

static const char *output_blob(const tidy *t, size_t index)
{
    return qf_import_find(t->im, t->im->model->graph->output[index]->name)->blob;
}

/* ---- layers that nobody needs ---- */

static bool is_read(const tidy *t, const layer *l)
{
    for (size_t i = 0; i < l->n_top; i++)
        if (qf_names_get(&t->readers, l->top[i]) > 0)
            return true;
    return false;
}

/* Backwards, so that what only such layers read goes, too. */
static qf_status mark_needed(tidy *t, bool *needed)
{
    const Caffe__NetParameter *net = t->im->net;
    for (size_t i = 0; i < t->im->model->graph->n_output; i++)
        QF_TRY(count_reader(t, output_blob(t, i)));
    for (size_t i = net->n_layer; i-- > 0;) {
        const layer *l = net->layer[i];
        needed[i] = is_read(t, l);
        for (size_t b = 0; needed[i] && b < l->n_bottom; b++)
            QF_TRY(count_reader(t, l->bottom[b]));
    }
    return QF_OK;
}

static qf_status drop_unread(tidy *t)
{
    Caffe__NetParameter *net = t->im->net;
    bool *needed = qf_alloc(net->n_layer, sizeof *needed);
    if (!needed)
        return qf_fail(t->im->context, QF_E_MEMORY, "no memory for %zu layers", net->n_layer);
    const qf_status status = mark_needed(t, needed);
    size_t kept = 0;
    for (size_t i = 0; i < net->n_layer && status == QF_OK; i++) {
        if (!needed[i] && strcmp(net->layer[i]->type, "Input") == 0)
            qf_warning(t->im->context, "no output depends on the input '%s', so the net has none",
                       net->layer[i]->top[0]);
        if (needed[i])
            net->layer[kept++] = net->layer[i];
        else
            qf_message_free(net->layer[i]);
    }
    if (status == QF_OK)
        net->n_layer = kept;
    qf_free(needed);
    return status;
}

/* Tops of Slice that nobody reads would be outputs of the net. */
static qf_status silence(tidy *t)
{
    qf_importer *im = t->im;
    layer *silent = NULL;
    for (size_t i = 0, n = im->net->n_layer; i < n; i++)
        for (size_t k = 0; k < im->net->layer[i]->n_top; k++) {
            char *top = im->net->layer[i]->top[k];
            if (qf_names_get(&t->readers, top) > 0)
                continue;
            if (!silent)
                QF_TRY(qf_import_add_layer(im, "Silence", "", &silent));
            QF_TRY(qf_append_string(im->context, &silent->n_bottom, &silent->bottom, top));
        }
    return QF_OK;
}

/* ---- final names ---- */

/* Blobs that become one have one number. */
static qf_status number_of(tidy *t, const char *blob, int *out)
{
    *out = qf_names_get(&t->final, blob);
    if (*out >= 0)
        return QF_OK;
    if (!qf_grow(&t->names, &t->capacity, t->count + 1, sizeof *t->names))
        return qf_fail(t->im->context, QF_E_MEMORY, "no memory for the names of blobs");
    t->names[t->count] = blob;
    *out = (int)t->count;
    return note(t, &t->final, blob, (int)t->count++);
}

static const char *final_name(const tidy *t, const char *blob)
{
    const int index = qf_names_get(&t->final, blob);
    return index < 0 ? blob : t->names[index];
}

static bool is_one_of(const char *type, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

/* As Caffe's nets are written: on what was just computed, where nobody else reads that. */
static bool works_in_place(const tidy *t, const layer *l)
{
    static const char *const in_place[] = {"BatchNorm", "Scale", "ReLU", "ReLU6", "PReLU"};
    static const char *const computing[] = {"Convolution", "Deconvolution", "InnerProduct",
                                            "Eltwise",     "BatchNorm",     "Scale",
                                            "Concat",      "ReLU"};
    if (!is_one_of(l->type, in_place, sizeof in_place / sizeof *in_place) || l->n_bottom != 1 ||
        l->n_top != 1 || qf_names_get(&t->readers, l->bottom[0]) != 1)
        return false;
    const int writer = qf_names_get(&t->writer, l->bottom[0]);
    return writer >= 0 && is_one_of(t->im->net->layer[writer]->type, computing,
                                    sizeof computing / sizeof *computing);
}

static qf_status choose_in_place(tidy *t)
{
    const Caffe__NetParameter *net = t->im->net;
    for (size_t i = 0; i < net->n_layer; i++) {
        const layer *l = net->layer[i];
        int number;
        for (size_t k = 0; k < l->n_top; k++)
            QF_TRY(note(t, &t->writer, l->top[k], (int)i));
        if (!works_in_place(t, l))
            continue;
        QF_TRY(number_of(t, l->bottom[0], &number));
        QF_TRY(note(t, &t->final, l->top[0], number));
    }
    return QF_OK;
}

static bool is_input(const tidy *t, const char *blob)
{
    const int writer = qf_names_get(&t->writer, blob);
    return writer >= 0 && strcmp(t->im->net->layer[writer]->type, "Input") == 0;
}

/* A second name for a blob that has one that it keeps. */
static qf_status copy_output(tidy *t, const char *blob, char *name)
{
    static char type[] = "Split";
    Onnx__Node node = ONNX__NODE__INIT;
    layer *split;
    node.name = name;
    node.op_type = type;
    t->im->node = &node;
    qf_status status = qf_import_add_layer(t->im, type, "", &split);
    t->im->node = NULL;
    if (status == QF_OK)
        status = qf_append_string(t->im->context, &split->n_bottom, &split->bottom, blob);
    if (status == QF_OK)
        status = qf_append_string(t->im->context, &split->n_top, &split->top, name);
    return status;
}

static qf_status name_outputs(tidy *t)
{
    const Onnx__Graph *graph = t->im->model->graph;
    qf_names named = {0};
    qf_status status = QF_OK;
    for (size_t i = 0; i < graph->n_output && status == QF_OK; i++) {
        char *name = graph->output[i]->name;
        const char *blob = output_blob(t, i);
        int number;
        if (strcmp(final_name(t, blob), name) == 0)
            status = note(t, &named, blob, 1);
        else if (is_input(t, blob) || qf_names_get(&named, blob) > 0)
            status = copy_output(t, blob, name);
        else if ((status = number_of(t, blob, &number)) == QF_OK) {
            t->names[number] = name; /* of all that works in place on it */
            status = note(t, &named, blob, 1);
        }
    }
    qf_names_release(&named);
    return status;
}

static qf_status rename(tidy *t, char **field)
{
    const char *name = final_name(t, *field);
    char *copy = NULL;
    if (name == *field)
        return QF_OK;
    if (!qf_grow(&t->old, &t->old_capacity, t->old_count + 1, sizeof *t->old))
        return qf_fail(t->im->context, QF_E_MEMORY, "no memory for the names of blobs");
    QF_TRY(qf_set_string(t->im->context, &copy, name));
    t->old[t->old_count++] = *field;
    *field = copy;
    return QF_OK;
}

static qf_status rename_all(tidy *t)
{
    for (size_t i = 0; i < t->im->net->n_layer; i++) {
        layer *l = t->im->net->layer[i];
        for (size_t k = 0; k < l->n_bottom; k++)
            QF_TRY(rename(t, &l->bottom[k]));
        for (size_t k = 0; k < l->n_top; k++)
            QF_TRY(rename(t, &l->top[k]));
    }
    return QF_OK;
}

qf_status qf_import_tidy(qf_importer *im)
{
    static char type[] = "Silence";
    Onnx__Node node = ONNX__NODE__INIT;
    tidy t = {.im = im};
    node.name = node.op_type = type;
    qf_status status = drop_unread(&t);
    im->node = &node;
    if (status == QF_OK)
        status = silence(&t);
    im->node = NULL;
    if (status == QF_OK)
        status = choose_in_place(&t);
    if (status == QF_OK)
        status = name_outputs(&t);
    if (status == QF_OK)
        status = rename_all(&t);
    qf_names_release(&t.readers);
    qf_names_release(&t.writer);
    qf_names_release(&t.final);
    for (size_t i = 0; i < t.old_count; i++)
        free(t.old[i]);
    qf_free(t.old);
    qf_free(t.names);
    return status;
}
