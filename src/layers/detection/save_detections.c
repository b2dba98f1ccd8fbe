/* The forms of files, and when they are written. */
#include "layers/detection/save_detections.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/boxes/fit.h"
#include "data/boxes/label_map.h"
#include "data/boxes/name_sizes.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

enum { ROW = 7 };

typedef struct detection {
    const char *image;
    int label;
    const char *class_name;
    float score;
    double x, y, width, height; /* in hundredths, rounded, as SSD keeps them */
} detection;

typedef struct form {
    const char *name;
    const char *ending;  /* of its one file; NULL: a file for each class */
    const char *between; /* what stands between two detections */
    const char *before, *behind;
    void (*print)(const detection *d, qf_buffer *out);
} form;

struct qf_detection_files {
    const Caffe__SaveOutputParameter *param;
    const form *form;
    Caffe__LabelMap *labels;
    qf_name_sizes sizes;
    size_t round, position; /* images of the set; the next of them */
    int background;
    qf_buffer *texts; /* of each item of the map, or one */
    size_t text_count;
};

/* ---- forms ---- */

/* Whole pixels, cut off: first the corner and the size, as SSD does. */
static void print_corners(const detection *d, qf_buffer *out)
{
    qf_buffer_print(out, " %g %d %d %d %d\n", (double)d->score, (int)d->x, (int)d->y,
                    (int)d->x + (int)d->width, (int)d->y + (int)d->height);
}

static void print_voc(const detection *d, qf_buffer *out)
{
    qf_buffer_print(out, "%s", d->image);
    print_corners(d, out);
}

static void print_ilsvrc(const detection *d, qf_buffer *out)
{
    qf_buffer_print(out, "%s %d", d->image, d->label);
    print_corners(d, out);
}

/* A number stays one, anything else is put in quotes. */
static void print_name(const char *name, qf_buffer *out)
{
    if (*name && strspn(name, "0123456789") == strlen(name)) {
        qf_buffer_print(out, "%s", name);
        return;
    }
    qf_buffer_append(out, "\"", 1);
    for (; *name; name++) {
        if ((unsigned char)*name < ' ')
            qf_buffer_print(out, "\\u%04x", (unsigned)*name);
        else
            qf_buffer_print(out, *name == '"' || *name == '\\' ? "\\%c" : "%c", *name);
    }
    qf_buffer_append(out, "\"", 1);
}

static void print_coco(const detection *d, qf_buffer *out)
{
    qf_buffer_print(out, "    {\"image_id\": ");
    print_name(d->image, out);
    qf_buffer_print(out, ", \"category_id\": ");
    print_name(d->class_name, out);
    qf_buffer_print(out, ", \"bbox\": [%.2f, %.2f, %.2f, %.2f], \"score\": %g}", d->x, d->y,
                    d->width, d->height, (double)d->score);
}

static const form forms[] = {
    {"VOC", NULL, "", "", "", print_voc},
    {"COCO", ".json", ",\n", "[\n", "\n]\n", print_coco},
    {"ILSVRC", ".txt", "", "", "", print_ilsvrc},
};

static qf_status find_form(const qf_layer *layer, const char *name, const form **out)
{
    for (size_t i = 0; name && i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, name) == 0) {
            *out = &forms[i];
            return QF_OK;
        }
    return qf_fail(layer->context, QF_E_VALUE,
                   "save_output_param: output_format is '%s', expected VOC, COCO or ILSVRC",
                   name ? name : "");
}

/* ---- setting up ---- */

static qf_status read_inputs(const qf_layer *layer, qf_detection_files *files)
{
    const Caffe__SaveOutputParameter *p = files->param;
    qf_context *context = layer->context;
    QF_TRY(find_form(layer, p->output_format, &files->form));
    if (p->resize_param)
        QF_TRY(qf_fit_check(context, p->resize_param));
    QF_TRY(qf_label_map_read(context, p->label_map_file, true, &files->labels));
    QF_TRY(qf_name_sizes_read(context, p->name_size_file, &files->sizes));
    files->round = p->has_num_test_image ? p->num_test_image : files->sizes.count;
    if (files->round < 1 || files->round > files->sizes.count)
        return qf_fail(context, QF_E_VALUE,
                       "save_output_param: num_test_image is %zu, but %s has %zu names",
                       files->round, p->name_size_file, files->sizes.count);
    files->text_count = files->form->ending ? 1 : files->labels->n_item;
    files->texts = qf_alloc(files->text_count, sizeof *files->texts);
    return files->texts ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for detections");
}

static bool is_there(const char *file)
{
    return file && *file && qf_file_exists(file);
}

qf_status qf_detection_files_open(const qf_layer *layer, const Caffe__SaveOutputParameter *param,
                                  int background, qf_detection_files **out)
{
    *out = NULL;
    if (!param || !param->output_directory || !*param->output_directory)
        return QF_OK;
    if (!is_there(param->label_map_file) || !is_there(param->name_size_file)) {
        qf_warning(layer->context,
                   "%s: detections are not saved: save_output_param needs a label_map_file and a "
                   "name_size_file that are there, has '%s' and '%s'",
                   layer->name, param->label_map_file ? param->label_map_file : "",
                   param->name_size_file ? param->name_size_file : "");
        return QF_OK;
    }
    qf_detection_files *files = qf_alloc(1, sizeof *files);
    if (!files)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for detections");
    files->param = param;
    files->background = background;
    const qf_status status = read_inputs(layer, files);
    if (status == QF_OK)
        *out = files;
    else
        qf_detection_files_close(files);
    return status;
}

static void forget(qf_detection_files *files)
{
    for (size_t i = 0; files->texts && i < files->text_count; i++)
        qf_buffer_release(&files->texts[i]);
}

void qf_detection_files_close(qf_detection_files *files)
{
    if (!files)
        return;
    forget(files);
    qf_free(files->texts);
    qf_message_free(files->labels);
    qf_name_sizes_release(&files->sizes);
    qf_free(files);
}

/* ---- collecting ---- */

static double hundredths(double value)
{
    return round(value * 100) / 100;
}

/* A row of the image that is next. */
static qf_status collect(const qf_layer *layer, qf_detection_files *files, const float *row)
{
    const qf_name_size *image = &files->sizes.items[files->position];
    const qf_box found = {row[3], row[4], row[5], row[6]};
    const qf_box box = qf_fit_back(files->param->resize_param, image->height, image->width, &found);
    const detection d = {.image = image->name,
                         .label = (int)row[1],
                         .class_name = qf_label_name(files->labels, (int)row[1]),
                         .score = row[2],
                         .x = hundredths((double)box.x1),
                         .y = hundredths((double)box.y1),
                         .width = hundredths((double)(box.x2 - box.x1)),
                         .height = hundredths((double)(box.y2 - box.y1))};
    if (!d.class_name)
        return qf_fail(layer->context, QF_E_VALUE, "label %d is not in the label map %s", d.label,
                       files->param->label_map_file);
    size_t text = 0;
    while (!files->form->ending && files->labels->item[text]->label != d.label)
        text++;
    qf_buffer *out = &files->texts[text];
    if (out->size)
        qf_buffer_print(out, "%s", files->form->between);
    files->form->print(&d, out);
    return out->failed ? qf_fail(layer->context, QF_E_MEMORY, "no memory for detections") : QF_OK;
}

static qf_status write_text(const qf_layer *layer, const qf_detection_files *files,
                            const char *name, const char *ending, const qf_buffer *text)
{
    const Caffe__SaveOutputParameter *p = files->param;
    qf_buffer path = {0}, whole = {0};
    qf_buffer_print(&path, "%s/%s%s%s", p->output_directory,
                    p->output_name_prefix ? p->output_name_prefix : "", name, ending);
    qf_buffer_print(&whole, "%s", files->form->before);
    qf_buffer_append(&whole, text->data, text->size);
    qf_buffer_print(&whole, "%s", files->form->behind);
    qf_status status = qf_buffer_whole(layer->context, path.failed ? &path : &whole);
    if (status == QF_OK)
        status = qf_file_write(layer->context, path.data, whole.data, whole.size, 0644);
    qf_buffer_release(&path);
    qf_buffer_release(&whole);
    return status;
}

static qf_status write_all(const qf_layer *layer, qf_detection_files *files)
{
    if (files->form->ending)
        return write_text(layer, files, "", files->form->ending, files->texts);
    for (size_t i = 0; i < files->text_count; i++)
        if (files->labels->item[i]->label != files->background)
            QF_TRY(
                write_text(layer, files, files->labels->item[i]->name, ".txt", &files->texts[i]));
    return QF_OK;
}

/* A batch may reach beyond the set, into its next round: the files are written in between. */
qf_status qf_detection_files_add(const qf_layer *layer, qf_detection_files *files, int images,
                                 const float *rows, size_t row_count)
{
    size_t row = 0;
    for (int i = 0; i < images; i++) {
        for (; row < row_count && (int)rows[row * ROW] == i; row++)
            if (rows[row * ROW + 1] != -1)
                QF_TRY(collect(layer, files, rows + row * ROW));
        if (++files->position < files->round)
            continue;
        files->position = 0;
        QF_TRY(write_all(layer, files));
        forget(files);
    }
    return QF_OK;
}

size_t qf_detection_files_position(const qf_detection_files *files)
{
    return files->position;
}

void qf_detection_files_go(qf_detection_files *files, size_t position)
{
    forget(files);
    files->position = position % files->round;
}

size_t qf_detection_files_round(const qf_detection_files *files)
{
    return files->round;
}
