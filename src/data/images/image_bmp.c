/* Windows bitmaps without compression: 1, 4, 8 bits with a palette, 16, 24 and 32 bits. */
#include "data/images/image_codecs.h"

#include "base/memory.h"

enum { PALETTE_MAX = 256 };

typedef struct bitmap {
    const uint8_t *file, *rows;
    size_t row_bytes;
    int64_t width, height;
    bool top_down, bitfields, has_color;
    unsigned depth;
    uint8_t palette[PALETTE_MAX][3]; /* B, G, R */
    unsigned green_mask;             /* of 16 bits */
} bitmap;

static uint32_t little(const uint8_t *bytes, int width)
{
    uint32_t value = 0;
    for (int i = 0; i < width; i++)
        value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

/* Palette entries are of 4 bytes, in OS/2's header of 3; those that a file lacks are black. */
static void read_palette(bitmap *b, size_t size, size_t header)
{
    const size_t at = 14 + header, entry = header == 12 ? 3 : 4;
    const unsigned colors = b->depth <= 8 ? 1u << b->depth : 0;
    b->has_color = b->depth > 8;
    for (unsigned i = 0; i < colors && at + (i + 1) * entry <= size; i++) {
        const uint8_t *from = b->file + at + i * entry;
        for (int c = 0; c < 3; c++)
            b->palette[i][c] = from[c];
        b->has_color |= from[0] != from[1] || from[1] != from[2];
    }
}

static qf_status read_header(qf_context *context, size_t size, bitmap *b)
{
    enum { PLAIN = 0, BITFIELDS = 3 };
    const uint8_t *file = b->file;
    const uint32_t offset = size >= 26 ? little(file + 10, 4) : 0,
                   header = size >= 26 ? little(file + 14, 4) : 0;
    const bool old = header == 12;
    if ((!old && header < 40) || 14 + (size_t)header > size || offset > size)
        return qf_fail(context, QF_E_FORMAT, "damaged BMP image: its header is cut off");
    b->width = old ? (int64_t)little(file + 18, 2) : (int32_t)little(file + 18, 4);
    b->height = old ? (int64_t)little(file + 20, 2) : (int32_t)little(file + 22, 4);
    b->depth = little(file + (old ? 24 : 28), 2);
    const uint32_t compression = old ? PLAIN : little(file + 30, 4);
    b->bitfields = compression == BITFIELDS;
    b->top_down = b->height < 0;
    b->height = b->top_down ? -b->height : b->height;
    const bool known = b->depth == 1 || b->depth == 4 || b->depth == 8 || b->depth == 16 ||
                       b->depth == 24 || b->depth == 32;
    if (!known || (compression != PLAIN && !(b->bitfields && (b->depth == 16 || b->depth == 32))))
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "a BMP image of %u bits, compression %u, is not supported; convert it first",
                       b->depth, compression);
    b->green_mask = b->bitfields && size >= 62 ? little(file + 58, 4) : 0x3e0;
    read_palette(b, size, header);
    b->rows = file + offset;
    b->row_bytes = ((size_t)b->width * b->depth + 31) / 32 * 4;
    if (b->width < 1 || b->height < 1 || (size - offset) / b->row_bytes < (size_t)b->height)
        return qf_fail(context, QF_E_FORMAT,
                       "damaged BMP image: %zu bytes are not %lld x %lld pixels", size,
                       (long long)b->width, (long long)b->height);
    return QF_OK;
}

/* One pixel in B, G, R, alpha. */
static void take_pixel(const bitmap *b, const uint8_t *row, size_t column, uint8_t out[4])
{
    if (b->depth <= 8) {
        const size_t per_byte = 8 / b->depth;
        const unsigned shift = (unsigned)(per_byte - 1 - column % per_byte) * b->depth;
        const unsigned index = row[column / per_byte] >> shift & ((1u << b->depth) - 1);
        for (int c = 0; c < 3; c++)
            out[c] = b->palette[index][c];
    } else if (b->depth == 16) {
        const unsigned value = little(row + 2 * column, 2);
        const bool six = b->green_mask == 0x7e0; /* bits of green */
        out[0] = (uint8_t)(value << 3 & 0xf8);
        out[1] = (uint8_t)(six ? value >> 3 & 0xfc : value >> 2 & 0xf8);
        out[2] = (uint8_t)(six ? value >> 8 & 0xf8 : value >> 7 & 0xf8);
    } else {
        const size_t step = b->depth / 8;
        for (size_t c = 0; c < step; c++)
            out[c] = row[step * column + c];
    }
}

qf_status qf_decode_bmp(qf_context *context, const uint8_t *file, size_t size, qf_color color,
                        qf_image *out)
{
    bitmap b = {.file = file};
    QF_TRY(read_header(context, size, &b));
    const bool gray = color == QF_GRAY_FORCED || (color == QF_COLOR_AS_STORED && !b.has_color);
    const bool alpha = color == QF_COLOR_AS_STORED && b.depth == 32 && b.bitfields;
    const int channels = gray ? 1 : alpha ? 4 : 3;
    QF_TRY(qf_image_make(context, b.height, b.width, channels, out));
    uint8_t *to = out->pixels;
    for (int64_t h = 0; h < b.height; h++) {
        const uint8_t *row = b.rows + (size_t)(b.top_down ? h : b.height - 1 - h) * b.row_bytes;
        for (int64_t w = 0; w < b.width; w++, to += channels) {
            uint8_t pixel[4] = {0};
            take_pixel(&b, row, (size_t)w, pixel);
            if (gray)
                qf_pixels_to_gray(pixel, 1, 3, to);
            for (int c = 0; !gray && c < channels; c++)
                to[c] = pixel[c];
        }
    }
    return QF_OK;
}
