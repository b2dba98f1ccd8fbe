/* VideoData (SSD): frames of a camera or of a video. Its prototxts are read; the frames are not:
 * decoding video is a matter of other programs, which can write frames as images. */
#include "layers/layer.h"

static qf_status setup(qf_layer *layer)
{
    const Caffe__VideoDataParameter *p =
        QF_LAYER_PARAM(layer, video_data_param, VIDEO_DATA_, VideoData);
    const bool camera = p->video_type == CAFFE__VIDEO_DATA_PARAMETER__VIDEO_TYPE__WEBCAM;
    return qf_fail(layer->context, QF_E_UNSUPPORTED,
                   "VideoData reads %s%s, which is not done here; write its frames as images (for "
                   "example with ffmpeg) and read them with ImageData, or feed the net from your "
                   "code through an Input layer",
                   camera ? "a camera" : "the video ",
                   camera ? "" : (p->video_file ? p->video_file : "of no name"));
}

static qf_status nothing(qf_layer *layer)
{
    (void)layer; /* comes to no pass: setup fails */
    return QF_OK;
}

const qf_layer_type qf_video_data_layer = {
    .name = "VideoData",
    QF_BOTTOMS(0, 0),
    QF_TOPS(1, 2),
    .no_backward = true,
    .source = true,
    .setup = setup,
    .reshape = nothing,
    .forward = nothing,
};
