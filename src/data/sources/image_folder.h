/* A folder of images in place of a list of them. */
#ifndef QF_DATA_SOURCES_IMAGE_FOLDER_H
#define QF_DATA_SOURCES_IMAGE_FOLDER_H

#include "data/sources/image_list.h"

/* All images (.jpg, .jpeg, .png, .bmp) in the folder and those below it, except hidden ones. The
 * folders in it are the classes: labels count them by name, from 0; images beside them have label
 * 0. They come in turn from each class, by name within it, so that the first few are of all. */
qf_status qf_image_folder_list(qf_context *context, const char *folder, qf_image_list *out);

#endif
