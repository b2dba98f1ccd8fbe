/* PASCAL VOC's and ILSVRC's annotations, by expat: an element counts where its path is one of those
 * below, so that parts of an object, which have names and boxes of their own, do not. */
#include "data/boxes/annotation_file.h"

#include "base/memory.h"
#include "data/sources/list_text.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

enum { PATH_SIZE = 128, TEXT_MAX = 1024 };

typedef struct object {
    qf_drawn_box box;
    bool has_label;
    unsigned sides; /* bit i: the i-th is there */
} object;

typedef struct parser {
    qf_context *context;
    XML_Parser expat;
    const Caffe__LabelMap *map;
    qf_drawn_boxes *boxes;
    qf_status status; /* of what was found; the first failure stops all */
    char path[PATH_SIZE];
    int depth, deaf; /* deaf: so many of the innermost elements are not in the path */
    qf_buffer text;  /* of the innermost element */
    object object;   /* the one that is read */
} parser;

static void stop(parser *p, qf_status status)
{
    if (p->status == QF_OK)
        p->status = status;
    XML_StopParser(p->expat, XML_FALSE);
}

/* ---- what elements mean ---- */

static qf_status read_number(parser *p, const char *text, double *out)
{
    return qf_list_number(text, out)
               ? QF_OK
               : qf_fail(p->context, QF_E_FORMAT, "<%s> is '%s', expected a number",
                         strrchr(p->path, '/') + 1, text);
}

static qf_status take_width(parser *p, const char *text)
{
    return read_number(p, text, &p->boxes->width);
}

static qf_status take_height(parser *p, const char *text)
{
    return read_number(p, text, &p->boxes->height);
}

static qf_status take_name(parser *p, const char *text)
{
    p->object.has_label = true;
    return qf_annotation_label(p->context, p->map, text, &p->object.box.label);
}

static qf_status take_difficult(parser *p, const char *text)
{
    p->object.box.difficult = strcmp(text, "1") == 0;
    return QF_OK;
}

static qf_status take_side(parser *p, const char *text, unsigned side, double *out)
{
    p->object.sides |= 1U << side;
    return read_number(p, text, out);
}

static qf_status take_left(parser *p, const char *text)
{
    return take_side(p, text, 0, &p->object.box.left);
}

static qf_status take_top(parser *p, const char *text)
{
    return take_side(p, text, 1, &p->object.box.top);
}

static qf_status take_right(parser *p, const char *text)
{
    return take_side(p, text, 2, &p->object.box.right);
}

static qf_status take_bottom(parser *p, const char *text)
{
    return take_side(p, text, 3, &p->object.box.bottom);
}

static qf_status end_object(parser *p, const char *text)
{
    (void)text;
    const object o = p->object;
    p->object = (object){0};
    if (!o.has_label)
        return qf_fail(p->context, QF_E_FORMAT, "object %zu has no <name>", p->boxes->count);
    if (o.sides != 15)
        return qf_fail(p->context, QF_E_FORMAT,
                       "object %zu needs a <bndbox> with <xmin>, <ymin>, <xmax> and <ymax>",
                       p->boxes->count);
    return qf_drawn_boxes_add(p->context, p->boxes, &o.box);
}

static const struct {
    const char *path;
    qf_status (*take)(parser *p, const char *text);
} elements[] = {
    {"/annotation/size/width", take_width},
    {"/annotation/size/height", take_height},
    {"/annotation/object/name", take_name},
    {"/annotation/object/difficult", take_difficult},
    {"/annotation/object/bndbox/xmin", take_left},
    {"/annotation/object/bndbox/ymin", take_top},
    {"/annotation/object/bndbox/xmax", take_right},
    {"/annotation/object/bndbox/ymax", take_bottom},
    {"/annotation/object", end_object},
};

/* ---- what expat tells ---- */

static void on_start(void *user, const char *name, const char **attributes)
{
    parser *p = user;
    const size_t length = strlen(p->path), more = strlen(name);
    (void)attributes;
    if (p->depth == 0 && strcmp(name, "annotation") != 0)
        stop(p, qf_fail(p->context, QF_E_FORMAT,
                        "the outermost element is <%.60s>; VOC's files have <annotation>", name));
    p->depth++;
    p->text.size = 0;
    if (p->deaf || length + more + 2 > PATH_SIZE) {
        p->deaf++;
        return;
    }
    p->path[length] = '/';
    memcpy(p->path + length + 1, name, more + 1);
}

static void on_text(void *user, const char *text, int length)
{
    parser *p = user;
    if (!p->deaf && p->text.size + (size_t)length <= TEXT_MAX)
        qf_buffer_append(&p->text, text, (size_t)length);
}

/* Without blanks and line ends around it. */
static const char *trimmed(qf_buffer *text)
{
    static const char blanks[] = " \t\r\n";
    if (!text->size)
        return "";
    while (text->size && strchr(blanks, text->data[text->size - 1]))
        text->size--;
    text->data[text->size] = '\0';
    return text->data + strspn(text->data, blanks);
}

static void on_end(void *user, const char *name)
{
    parser *p = user;
    (void)name;
    p->depth--;
    if (p->deaf) {
        p->deaf--;
        return;
    }
    qf_status status = QF_OK;
    if (p->text.failed)
        status = qf_fail(p->context, QF_E_MEMORY, "no memory for an annotation");
    for (size_t i = 0; status == QF_OK && i < sizeof elements / sizeof *elements; i++)
        if (strcmp(p->path, elements[i].path) == 0)
            status = elements[i].take(p, trimmed(&p->text));
    p->text.size = 0;
    *strrchr(p->path, '/') = '\0';
    if (status != QF_OK)
        stop(p, status);
}

static qf_status parse(parser *p, const qf_buffer *file)
{
    if (file->size > INT_MAX)
        return qf_fail(p->context, QF_E_FORMAT, "a file of %zu bytes is no annotation", file->size);
    XML_SetUserData(p->expat, p);
    XML_SetElementHandler(p->expat, on_start, on_end);
    XML_SetCharacterDataHandler(p->expat, on_text);
    if (XML_Parse(p->expat, file->data ? file->data : "", (int)file->size, 1) == XML_STATUS_OK ||
        p->status != QF_OK)
        return p->status;
    const enum XML_Error error = XML_GetErrorCode(p->expat);
    return error == XML_ERROR_NO_MEMORY
               ? qf_fail(p->context, QF_E_MEMORY, "no memory for an annotation")
               : qf_fail(p->context, QF_E_FORMAT, "line %lu, column %lu is no XML: %s",
                         (unsigned long)XML_GetCurrentLineNumber(p->expat),
                         (unsigned long)XML_GetCurrentColumnNumber(p->expat) + 1,
                         XML_ErrorString(error));
}

qf_status qf_annotation_read_xml(qf_context *context, const char *path, const qf_buffer *file,
                                 const Caffe__LabelMap *map, qf_drawn_boxes *out)
{
    (void)path;
    parser p = {.context = context, .expat = XML_ParserCreate(NULL), .map = map, .boxes = out};
    if (!p.expat)
        return qf_fail(context, QF_E_MEMORY, "no memory for an annotation");
    const qf_status status = parse(&p, file);
    XML_ParserFree(p.expat);
    qf_buffer_release(&p.text);
    return status;
}
