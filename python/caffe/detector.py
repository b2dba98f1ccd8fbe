"""Detector: a classifier applied to windows of images."""
import numpy as np

from . import io
from .classifier import make_transformer
from .proto import caffe_pb2
from .pycaffe import Net


class Detector(Net):
    """A net that classifies windows of images.

    Parameters as in Transformer, and `context_pad`: pixels of the net's input that show what lies around the
    window (R-CNN takes 16).

    >>> import caffe, numpy as np, qaffe.examples
    >>> detector = caffe.Detector(*qaffe.examples.small_model())
    >>> found = detector.detect_windows([(np.zeros((20, 30, 1)), [(0, 0, 8, 8), (5, 5, 20, 20)])])
    >>> [entry['prediction'].shape for entry in found]
    [(3,), (3,)]
    """

    def __init__(self, model_file, pretrained_file, mean=None, input_scale=None, raw_scale=None, channel_swap=None,
                 context_pad=None):
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad):
        """Set how much of the surroundings a crop shows, and what stands for what lies outside the image."""
        name = self.inputs[0]
        self.crop_dims = np.array(self.blobs[name].shape[2:])
        self.context_pad = context_pad or 0
        self.crop_mean = None
        if not self.context_pad:
            return
        mean = self.transformer.mean.get(name)
        if mean is None:
            self.crop_mean = np.zeros(tuple(self.crop_dims) + (self.blobs[name].shape[1],), np.float32)
            return
        # The mean as an image: what preprocess() will turn into zero.
        full = np.broadcast_to(mean, tuple(self.blobs[name].shape[1:])).astype(np.float32)
        if name in self.transformer.raw_scale:
            full = full / self.transformer.raw_scale[name]
        if name in self.transformer.channel_swap:
            full = full[np.argsort(self.transformer.channel_swap[name])]
        self.crop_mean = full.transpose(np.argsort(self.transformer.transpose[name]))

    def crop(self, im, window):
        """The window (ymin, xmin, ymax, xmax) of an image, with its surroundings, as large as the input."""
        ymin, xmin, ymax, xmax = (int(v) for v in window)
        if not self.context_pad:
            return io.resize_image(im[ymin:ymax, xmin:xmax], self.crop_dims)
        # Widen the box so that the window itself fills all but the margin of the crop.
        size = self.crop_dims.astype(float)
        widen = size / (size - 2 * self.context_pad)
        centre = np.array([ymin + ymax, xmin + xmax]) / 2
        half = np.array([ymax - ymin, xmax - xmin]) / 2 * widen
        low, high = np.round(centre - half).astype(int), np.round(centre + half).astype(int)
        inside_low, inside_high = np.maximum(low, 0), np.minimum(high, im.shape[:2])
        factor = size / (high - low)
        target = np.maximum(np.round((inside_high - inside_low) * factor).astype(int), 1)
        start = np.minimum(np.round((inside_low - low) * factor).astype(int), self.crop_dims - 1)
        target = np.minimum(target, self.crop_dims - start)
        part = io.resize_image(im[inside_low[0]:inside_high[0], inside_low[1]:inside_high[1]], target)
        result = self.crop_mean.copy()
        result[start[0]:start[0] + target[0], start[1]:start[1] + target[1]] = part
        return result

    def detect_windows(self, images_windows):
        """Classify windows: `images_windows` is [(image or file name, [(ymin, xmin, ymax, xmax), …]), …].

        Returns [{'window', 'prediction', 'filename'}, …], one for each window.
        """
        crops, found = [], []
        for image, windows in images_windows:
            pixels = io.load_image(image).astype(np.float32) if isinstance(image, str) else image
            for window in windows:
                crops.append(self.crop(pixels, window))
                found.append({"window": np.asarray(window), "filename": image})
        name = self.inputs[0]
        prepared = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions = self.forward_all(**{name: prepared})[self.outputs[0]]
        for entry, prediction in zip(found, predictions.reshape(len(found), -1)):
            entry["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames):
        """detect_windows() on the proposals of selective search, which needs its own Python package."""
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError:
            raise ImportError("selective_search_ijcv_with_python is not installed; detect_windows() takes windows "
                              "from anywhere") from None
        image_fnames = [str(name) for name in image_fnames]
        return self.detect_windows(list(zip(image_fnames, selective_search.get_windows(image_fnames))))
