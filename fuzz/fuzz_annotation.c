/* Annotations of images: VOC's XML, COCO's JSON, lines of text (the first byte says which), and
 * what becomes of their boxes. */
#include "data/boxes/annotation_file.h"
#include "data/boxes/label_map.h"
#include "fuzz.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char map_text[] = "item { name: 'cat' label: 1 } item { name: '18' label: 2 }";
    Caffe__LabelMap *map;
    Caffe__AnnotatedDatum *datum;
    qf_drawn_boxes boxes;
    if (size == 0)
        return 0;
    qf_context *context = fuzz_context();
    fuzz_require(qf_text_parse(context, "map", map_text, sizeof map_text - 1,
                               &caffe__label_map__descriptor, &map) == QF_OK,
                 "no label map");
    fuzz_require(qf_message_new(context, &caffe__annotated_datum__descriptor, &datum) == QF_OK,
                 "no datum");
    const char *path = fuzz_file(data + 1, size - 1);
    if (qf_annotation_file_read(context, path, (qf_annotation_format)(data[0] % 3), map, &boxes) ==
        QF_OK)
        fuzz_require(qf_drawn_boxes_store(context, path, &boxes, 30, 40, datum) == QF_OK,
                     "boxes are not stored");
    qf_drawn_boxes_release(&boxes);
    qf_message_free(datum);
    qf_message_free(map);
    qf_context_destroy(context);
    return 0;
}
