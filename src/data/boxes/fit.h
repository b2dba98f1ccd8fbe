/* SSD's resize_param: how an image is brought to a size, and where its boxes go. Boxes are shares
 * of their image, unless said otherwise. */
#ifndef QF_DATA_BOXES_FIT_H
#define QF_DATA_BOXES_FIT_H

#include "base/box.h"
#include "base/random.h"
#include "data/images/image.h"
#include "model/caffe.pb-c.h"

/* One of its interp_mode is drawn; NULL, or none: linear. */
qf_interpolation qf_fit_interpolation(const Caffe__ResizeParameter *param, qf_random *random);
qf_status qf_fit_check(qf_context *context, const Caffe__ResizeParameter *param);
/* Height and width of what an image of this size becomes. */
void qf_fit_size(const Caffe__ResizeParameter *param, int height, int width, int *new_height,
                 int *new_width);
/* In place; one of several interp_mode is drawn. */
qf_status qf_fit_image(qf_context *context, const Caffe__ResizeParameter *param, qf_random *random,
                       qf_image *image);
/* Where a box of an image of this size goes. */
qf_box qf_fit_box(const Caffe__ResizeParameter *param, int height, int width, const qf_box *box);
/* With height_scale and width_scale, in FIT_SMALL_SIZE: a box of the crop as shares of those in
 * place of the crop. Else the box. */
qf_box qf_fit_rescale(const Caffe__ResizeParameter *param, int height, int width,
                      const qf_box *crop, const qf_box *box);
/* The way back: a box that was found on the fitted image, in pixels of one of this size. `param`
 * NULL: the image was stretched. */
qf_box qf_fit_back(const Caffe__ResizeParameter *param, int height, int width, const qf_box *box);

/* `box` as shares of `frame`, cut to it; false where nothing of it is inside. */
bool qf_box_project(const qf_box *frame, const qf_box *box, qf_box *out);

#endif
