/* Images with a label for each pixel, as the forks for segmentation and edges read them. */
#ifndef QF_DATA_SOURCES_LABEL_MAP_SOURCE_H
#define QF_DATA_SOURCES_LABEL_MAP_SOURCE_H

#include "data/sources/data_source.h"

/* What stands behind the image in a line of the list. */
typedef enum qf_label_kind {
    QF_LABEL_MAP, /* an image, the labels of the pixels */
    QF_ONE_LABEL, /* the label of all pixels */
    QF_NO_LABELS, /* nothing that is read: ignore_label for all pixels */
} qf_label_kind;

/* Strings are borrowed for as long as the source is open. */
typedef struct qf_label_map_options {
    const char *source, *root_folder;
    qf_label_kind labels;
    qf_color color; /* of images */
    uint32_t rand_skip;
    bool shuffle, mirror;
    bool train;                  /* crops are drawn, else from the middle */
    bool pads;                   /* images smaller than the crop; else that is an error */
    bool halves;                 /* labels become 1 from 128 on, else 0 */
    int ignore_label;            /* of padding */
    int new_height, new_width;   /* 0: as they are */
    int crop_height, crop_width; /* 0: whole */
    const float *scale_factors;  /* one of these by chance */
    size_t scale_factor_count;
} qf_label_map_options;

/* `transform`, which is borrowed: its mean and scale count, of images; crop and mirror are those of
 * `options`. Labels go to qf_batch.maps. */
qf_status qf_label_map_source_open(qf_context *context, const qf_label_map_options *options,
                                   const Caffe__TransformationParameter *transform,
                                   qf_random *random, qf_data_source *out);

#endif
