/* ImageData: image files of a list, resized if asked for, in order or shuffled anew each epoch. */
#include "base/memory.h"
#include "data/sources/image_folder.h"
#include "data/sources/item_order.h"
#include "model/file_type.h"

typedef struct state {
    qf_item_order order; /* first: see item_order.h */
    const Caffe__ImageDataParameter *param;
    qf_transform transform;
    qf_image_list list;
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_transform_release(&s->transform);
    qf_image_list_release(&s->list);
    qf_item_order_release(&s->order);
    qf_free(s);
}

/* The image at the present position. */
static qf_status read_image(qf_context *context, const state *s, qf_image *out)
{
    const qf_listed_image *item = &s->list.items[qf_item_order_item(&s->order)];
    qf_buffer path = {0};
    /* Caffe puts the two together as they are. */
    qf_buffer_print(&path, "%s%s", s->param->root_folder, item->path);
    qf_status status = qf_buffer_whole(context, &path);
    if (status == QF_OK)
        status = qf_image_read(context, path.data,
                               s->param->is_color ? QF_COLOR_FORCED : QF_GRAY_FORCED, out);
    qf_buffer_release(&path);
    if (status == QF_OK && s->param->new_height) {
        status = qf_image_resize(context, out, (int)s->param->new_height, (int)s->param->new_width);
        if (status != QF_OK)
            qf_image_release(out);
    }
    out->label = item->label;
    return qf_listed_image_within(context, status, s->param->source, item);
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    qf_image image;
    QF_TRY(read_image(context, s, &image));
    qf_status status = qf_batch_add_image(context, batch, index, &s->transform, &image, random);
    qf_image_release(&image);
    qf_item_order_advance(&s->order);
    return status;
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    state *s = opaque;
    return qf_item_order_go(context, &s->order, to, s->param->source);
}

static const qf_data_source_type type = {
    .add = add, .go = go, .destroy = destroy, QF_ORDERED_MEMBERS};

static qf_status check(qf_context *context, const Caffe__ImageDataParameter *p)
{
    if (!p->source)
        return qf_fail(context, QF_E_FORMAT, "image_data_param names no source");
    if (!p->new_height != !p->new_width || p->new_height > INT32_MAX || p->new_width > INT32_MAX)
        return qf_fail(context, QF_E_VALUE,
                       "image_data_param has new_height %u and new_width %u; give both or neither",
                       p->new_height, p->new_width);
    return QF_OK;
}

static qf_status start_order(qf_context *context, state *s, qf_random *random)
{
    QF_TRY(qf_item_order_start(context, s->list.count, s->param->shuffle, random, &s->order));
    if (s->param->rand_skip)
        s->order.position = qf_random_below(random, s->param->rand_skip);
    return s->order.position < s->list.count
               ? QF_OK
               : qf_fail(context, QF_E_VALUE,
                         "image_data_param.rand_skip is %u, but %s has only %zu images",
                         s->param->rand_skip, s->param->source, s->list.count);
}

/* Of a folder, the images in it: there Caffe has nothing but a failure. */
static qf_status read_list(qf_context *context, state *s)
{
    if (qf_file_type_of(s->param->source) != QF_FILE_FOLDER)
        return qf_image_list_read(context, s->param->source, QF_LIST_LENIENT, &s->list);
    if (*s->param->root_folder)
        return qf_fail(context, QF_E_VALUE,
                       "image_data_param.source is the folder %s, so there can be no root_folder",
                       s->param->source);
    return qf_image_folder_list(context, s->param->source, &s->list);
}

static qf_status open(qf_context *context, bool train,
                      const Caffe__TransformationParameter *transform, qf_random *random, state *s,
                      qf_data_source *out)
{
    qf_image image;
    QF_TRY(check(context, s->param));
    QF_TRY(qf_transform_setup(context, transform, train, &s->transform));
    QF_TRY(read_list(context, s));
    qf_info(context, "A total of %zu images.", s->list.count);
    QF_TRY(start_order(context, s, random));
    qf_status status = read_image(context, s, &image);
    if (s->list.items->line) /* which else may be no list */
        status = qf_wrong_file(context, status, s->param->source, QF_FILE_IMAGE_LIST);
    QF_TRY(status);
    return qf_data_source_shape(context, &s->transform, &image, out);
}

qf_status qf_image_source_open(qf_context *context, const Caffe__ImageDataParameter *param,
                               const Caffe__TransformationParameter *transform, bool train,
                               qf_random *random, qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    s->param = param;
    qf_data_source opened = {.type = &type, .state = s};
    const qf_status status = open(context, train, transform, random, s, &opened);
    return qf_data_source_opened(status, &opened, out);
}
