/* Image files: decoded in each of the four ways, and resized. */
#include "data/images/image.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    for (int color = QF_COLOR_AS_STORED; color <= QF_LABELS; color++) {
        qf_image image;
        if (qf_image_decode(context, data, size, (qf_color)color, &image) != QF_OK)
            continue;
        if (image.height * image.width < 1 << 12)
            (void)qf_image_resize(context, &image, 1 + (int)(size % 40), 1 + (int)(size % 23));
        qf_image_release(&image);
    }
    qf_context_destroy(context);
    return 0;
}
