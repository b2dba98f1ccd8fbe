"""Classifier: a net that takes images of any size and gives class probabilities."""
import numpy as np

from . import io
from .proto import caffe_pb2
from .pycaffe import Net


def make_transformer(net, mean, input_scale, raw_scale, channel_swap):
    """A Transformer for the net's first input, for images as load_image() gives them."""
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].shape})
    transformer.set_transpose(name, (2, 0, 1))
    for setter, value in ((transformer.set_mean, mean), (transformer.set_input_scale, input_scale),
                          (transformer.set_raw_scale, raw_scale), (transformer.set_channel_swap, channel_swap)):
        if value is not None:
            setter(name, value)
    return transformer


class Classifier(Net):
    """A net for classification, with preparation of images and averaging over crops.

    Parameters as in Transformer: `image_dims` (height, width) to which images are resized before cropping,
    `mean`, `input_scale`, `raw_scale`, `channel_swap`.

    >>> import caffe, numpy as np, qaffe.examples
    >>> classifier = caffe.Classifier(*qaffe.examples.small_model(), image_dims=(10, 10))
    >>> classifier.predict([np.zeros((20, 30, 1))]).shape
    (1, 3)
    """

    def __init__(self, model_file, pretrained_file, image_dims=None, mean=None, input_scale=None, raw_scale=None,
                 channel_swap=None):
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs, oversample=True):
        """Class probabilities of (height, width, channels) images: (images, classes).

        With `oversample` the mean over ten crops (see caffe.io.oversample), else the centre crop alone.
        """
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            top, left = (self.image_dims - self.crop_dims) // 2
            crops = [image[top:top + self.crop_dims[0], left:left + self.crop_dims[1], :] for image in images]
        name = self.inputs[0]
        prepared = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions = self.forward_all(**{name: prepared})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape((len(images), -1) + predictions.shape[1:]).mean(1)
        return predictions
