/* Histogram equalisation, of a whole image and of its tiles (CLAHE: Zuiderveld 1994), as OpenCV
 * does them. */
#include "data/images/image_noise.h"

#include "base/memory.h"
#include "data/images/image_codecs.h"

#include <string.h>

enum { LEVELS = 256, TILES = 8, CLIP = 4 };

void qf_equalize(uint8_t *plane, int height, int width)
{
    const size_t count = (size_t)height * (size_t)width;
    size_t histogram[LEVELS] = {0}, below = 0;
    uint8_t table[LEVELS] = {0};
    int first = 0;
    for (size_t i = 0; i < count; i++)
        histogram[plane[i]]++;
    while (!histogram[first])
        first++;
    if (histogram[first] == count)
        return;
    const float scale = (LEVELS - 1.f) / (float)(count - histogram[first]);
    for (int v = first + 1; v < LEVELS; v++) {
        below += histogram[v];
        table[v] = qf_to_byte((float)below * scale);
    }
    for (size_t i = 0; i < count; i++)
        plane[i] = table[plane[i]];
}

/* What each brightness of a tile becomes; the tile may reach beyond the image, which is mirrored.
 */
static void tile_table(const uint8_t *plane, int height, int width, int top, int left,
                       int tile_height, int tile_width, uint8_t table[LEVELS])
{
    const int area = tile_height * tile_width;
    int histogram[LEVELS] = {0}, limit = CLIP * area / LEVELS, clipped = 0, sum = 0;
    limit = limit < 1 ? 1 : limit;
    for (int h = top; h < top + tile_height; h++)
        for (int w = left; w < left + tile_width; w++)
            histogram[plane[(size_t)qf_border_index(QF_BORDER_MIRRORED, h, height) * (size_t)width +
                            (size_t)qf_border_index(QF_BORDER_MIRRORED, w, width)]]++;
    for (int v = 0; v < LEVELS; v++)
        if (histogram[v] > limit) {
            clipped += histogram[v] - limit;
            histogram[v] = limit;
        }
    const int each = clipped / LEVELS, rest = clipped - each * LEVELS;
    const int step = rest ? (LEVELS / rest > 1 ? LEVELS / rest : 1) : LEVELS;
    for (int v = 0; v < LEVELS; v++)
        histogram[v] += each;
    for (int v = 0, left_over = rest; v < LEVELS && left_over > 0; v += step, left_over--)
        histogram[v]++;
    for (int v = 0; v < LEVELS; v++) {
        sum += histogram[v];
        table[v] = qf_to_byte((float)sum * (LEVELS - 1.f) / (float)area);
    }
}

/* The tiles on either side of a row or column, and how far it is from the first's middle. */
static void between(int index, int size, int *first, int *second, float *share)
{
    const float place = (float)index / (float)size - 0.5f;
    const int floor_of = (int)(place + 1) - 1;
    *share = place - (float)floor_of;
    *first = floor_of < 0 ? 0 : floor_of;
    *second = floor_of + 1 < TILES ? floor_of + 1 : TILES - 1;
}

qf_status qf_equalize_tiles(qf_context *context, uint8_t *plane, int height, int width)
{
    const int tile_height = (height + TILES - 1) / TILES, tile_width = (width + TILES - 1) / TILES;
    uint8_t tables[TILES][TILES][LEVELS];
    if (tile_height > (1 << 15) / tile_width * (1 << 8))
        return qf_fail(context, QF_E_UNSUPPORTED, "an image of %d x %d is too large for clahe",
                       width, height);
    for (int i = 0; i < TILES; i++)
        for (int k = 0; k < TILES; k++)
            tile_table(plane, height, width, i * tile_height, k * tile_width, tile_height,
                       tile_width, tables[i][k]);
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++) {
            int above, below, before, behind;
            float down, across;
            between(h, tile_height, &above, &below, &down);
            between(w, tile_width, &before, &behind, &across);
            uint8_t *p = &plane[(size_t)h * (size_t)width + (size_t)w];
            const float upper = (float)tables[above][before][*p] * (1 - across) +
                                (float)tables[above][behind][*p] * across;
            const float lower = (float)tables[below][before][*p] * (1 - across) +
                                (float)tables[below][behind][*p] * across;
            *p = qf_to_byte(upper * (1 - down) + lower * down);
        }
    return QF_OK;
}
