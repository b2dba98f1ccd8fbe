/* Decoding PNG with libpng. */
#include "data/images/image_codecs.h"

#include "base/memory.h"

#include <png.h>
#include <stdio.h>
#include <string.h>

/* libpng leaves by longjmp; whatever must survive that lives here. */
typedef struct reader {
    png_structp png;
    png_infop info;
    const uint8_t *file;
    size_t left;
    png_bytepp rows;
    char message[128];
} reader;

static void on_error(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t size)
{
    reader *r = png_get_io_ptr(png);
    if (size > r->left)
        png_error(png, "it is cut off");
    memcpy(to, r->file, size);
    r->file += size;
    r->left -= size;
}

/* As OpenCV does: alpha (and palettes' transparency) only where channels are kept, 16 bits cut to
 * their upper 8, no gamma. */
static void ask_for(reader *r, int kind, int depth, int channels, bool numbers)
{
    const bool has_color = kind & PNG_COLOR_MASK_COLOR;
    if (numbers) { /* of the palette, however many to a byte */
        png_set_packing(r->png);
        png_set_interlace_handling(r->png);
        png_read_update_info(r->png, r->info);
        return;
    }
    if (depth == 16)
        png_set_strip_16(r->png);
    if (channels < 4)
        png_set_strip_alpha(r->png);
    else if (png_get_valid(r->png, r->info, PNG_INFO_tRNS))
        png_set_tRNS_to_alpha(r->png);
    if (kind == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(r->png);
    if (!has_color && depth < 8)
        png_set_expand_gray_1_2_4_to_8(r->png);
    if (has_color && channels > 1)
        png_set_bgr(r->png);
    else if (channels > 1)
        png_set_gray_to_rgb(r->png);
    else
        png_set_rgb_to_gray(r->png, PNG_ERROR_ACTION_NONE, 0.299, 0.587);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
}

static qf_status read_rows(qf_context *context, reader *r, const qf_image *image)
{
    if (png_get_rowbytes(r->png, r->info) != image->row_step)
        return qf_fail(context, QF_E_FORMAT, "damaged PNG image: rows of another length");
    r->rows = qf_alloc_raw((size_t)image->height, sizeof *r->rows);
    if (!r->rows)
        return qf_fail(context, QF_E_MEMORY, "no memory for an image");
    for (int h = 0; h < image->height; h++)
        r->rows[h] = image->pixels + (size_t)h * image->row_step;
    png_read_image(r->png, r->rows);
    png_read_end(r->png, NULL);
    return QF_OK;
}

static qf_status decode(qf_context *context, reader *r, qf_color color, qf_image *out)
{
    png_uint_32 width, height;
    int depth, kind;
    if (setjmp(png_jmpbuf(r->png)))
        return qf_image_damaged(context, "PNG", r->message);
    png_set_read_fn(r->png, r, read_bytes);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_read_info(r->png, r->info);
    png_get_IHDR(r->png, r->info, &width, &height, &depth, &kind, NULL, NULL, NULL);
    const bool has_color = kind & PNG_COLOR_MASK_COLOR;
    const bool has_alpha = (kind & PNG_COLOR_MASK_ALPHA) ||
                           (has_color && png_get_valid(r->png, r->info, PNG_INFO_tRNS));
    if (color == QF_COLOR_AS_STORED && depth == 16)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "a PNG image has 16 bits a channel; Caffe takes 8: convert it, or say "
                       "force_color or force_gray");
    const int channels = color == QF_COLOR_FORCED                        ? 3
                         : color == QF_GRAY_FORCED || color == QF_LABELS ? 1
                         : has_alpha                                     ? 4
                         : has_color                                     ? 3
                                                                         : 1;
    QF_TRY(qf_image_make(context, height, width, channels, out));
    ask_for(r, kind, depth, channels, color == QF_LABELS && kind == PNG_COLOR_TYPE_PALETTE);
    return read_rows(context, r, out);
}

qf_status qf_decode_png(qf_context *context, const uint8_t *file, size_t size, qf_color color,
                        qf_image *out)
{
    reader r = {.file = file, .left = size};
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    qf_status status = r.info ? decode(context, &r, color, out)
                              : qf_fail(context, QF_E_MEMORY, "no memory to decode a PNG image");
    png_destroy_read_struct(&r.png, &r.info, NULL);
    qf_free(r.rows);
    return status;
}
