"""Images and arrays on their way into and out of nets."""
import numpy as np

from .proto import caffe_pb2

# ---- messages and arrays ----


def blobproto_to_array(blob, return_diff=False):
    """The values (or gradients) of a BlobProto as an array of its shape.

    >>> import caffe, numpy as np
    >>> caffe.io.blobproto_to_array(caffe.io.array_to_blobproto(np.zeros((2, 3)))).shape
    (2, 3)
    """
    values = np.array(blob.diff if return_diff else blob.data)
    if blob.HasField("num") or blob.HasField("channels") or blob.HasField("height") or blob.HasField("width"):
        return values.reshape(blob.num, blob.channels, blob.height, blob.width)
    return values.reshape(blob.shape.dim)


def array_to_blobproto(arr, diff=None):
    """A BlobProto of an array, and of a gradient of the same shape if one is given.

    >>> import caffe, numpy as np
    >>> list(caffe.io.array_to_blobproto(np.zeros((2, 3))).shape.dim)
    [2, 3]
    """
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(np.asarray(arr, dtype=float).flat)
    if diff is not None:
        blob.diff.extend(np.asarray(diff, dtype=float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist):
    """Arrays as the bytes of a BlobProtoVector.

    >>> import caffe, numpy as np
    >>> text = caffe.io.arraylist_to_blobprotovector_str([np.ones(2), np.ones((3, 1))])
    >>> [a.shape for a in caffe.io.blobprotovector_str_to_arraylist(text)]
    [(2,), (3, 1)]
    """
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(a) for a in arraylist]).SerializeToString()


def blobprotovector_str_to_arraylist(str):
    """The arrays of a BlobProtoVector's bytes; the other way round: arraylist_to_blobprotovector_str.

    >>> import caffe
    >>> caffe.io.blobprotovector_str_to_arraylist(b'')
    []
    """
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(str)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr, label=None):
    """A Datum of a (channels, height, width) array: bytes if it is uint8, floats else. ValueError for any
    other number of axes.

    >>> import caffe, numpy as np
    >>> caffe.io.array_to_datum(np.zeros((3, 4, 5), np.uint8), label=7).width
    5
    """
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum):
    """The (channels, height, width) array of a Datum that is not encoded.

    >>> import caffe, numpy as np
    >>> caffe.io.datum_to_array(caffe.io.array_to_datum(np.zeros((3, 4, 5), np.uint8))).shape
    (3, 4, 5)
    """
    shape = datum.channels, datum.height, datum.width
    if len(datum.data):
        return np.frombuffer(datum.data, dtype=np.uint8).reshape(shape)
    return np.array(datum.float_data).astype(float).reshape(shape)


# ---- preparing images ----


class Transformer:
    """Turns images as load_image() gives them into what a net's inputs want.

    preprocess() works in this order: resize, transpose, channel swap, raw scale, mean, input scale. Images
    are (height, width, channels); inputs are (channels, height, width).

    >>> import caffe, numpy as np
    >>> t = caffe.io.Transformer({'data': (1, 3, 4, 4)})
    >>> t.set_transpose('data', (2, 0, 1))
    >>> t.set_raw_scale('data', 255)
    >>> t.preprocess('data', np.ones((4, 4, 3), np.float32)).shape
    (3, 4, 4)
    """

    def __init__(self, inputs):
        """`inputs`: name → shape of the blob."""
        self.inputs = inputs
        self.transpose, self.channel_swap, self.raw_scale, self.mean, self.input_scale = {}, {}, {}, {}, {}

    def _check(self, name):
        if name not in self.inputs:
            raise Exception("{} is not one of the net inputs: {}".format(name, self.inputs))

    def preprocess(self, in_, data):
        """An image as the input `in_` wants it."""
        self._check(in_)
        result = data.astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if result.shape[:2] != size:
            result = resize_image(result, size)
        if in_ in self.transpose:
            result = result.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            result = result[self.channel_swap[in_], :, :]
        if in_ in self.raw_scale:
            result = result * self.raw_scale[in_]
        if in_ in self.mean:
            result = result - self.mean[in_]
        if in_ in self.input_scale:
            result = result * self.input_scale[in_]
        return result.astype(np.float32, copy=False)

    def deprocess(self, in_, data):
        """preprocess() backwards, but for the size."""
        self._check(in_)
        result = data.copy().squeeze()
        if in_ in self.input_scale:
            result = result / self.input_scale[in_]
        if in_ in self.mean:
            result = result + self.mean[in_]
        if in_ in self.raw_scale:
            result = result / self.raw_scale[in_]
        if in_ in self.channel_swap:
            result = result[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            result = result.transpose(np.argsort(self.transpose[in_]))
        return result

    def set_transpose(self, in_, order):
        """Order of the axes: (2, 0, 1) for (height, width, channels) → (channels, height, width)."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order):
        """Order of the channels: (2, 1, 0) for RGB → BGR."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_, scale):
        """Factor before the mean is taken away: 255 for images of 0 … 1."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """What to take away: one value per channel, or a (channels, height, width) image, which is resized to the
        input's size. ValueError if it has other channels."""
        self._check(in_)
        mean, shape = np.asarray(mean), tuple(self.inputs[in_])
        if mean.ndim == 1:
            if mean.shape[0] != shape[1]:
                raise ValueError("Mean channels incompatible with input.")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            if mean.ndim == 2:
                mean = mean[np.newaxis]
            if mean.ndim != 3:
                raise ValueError("Mean shape invalid")
            if mean.shape[0] not in (1, shape[1]):
                raise ValueError("Mean channels incompatible with input.")
            if mean.shape[1:] != shape[2:]:
                mean = resize_image(mean.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_, scale):
        """Factor after the mean was taken away."""
        self._check(in_)
        self.input_scale[in_] = scale


# ---- images ----


def load_image(filename, color=True):
    """An image file as float32 (height, width, 3) in RGB, or (height, width, 1) if not `color`; 0 … 1.

    Needs Pillow or OpenCV. OSError if the file cannot be read.

    >>> import caffe
    >>> try:
    ...     caffe.io.load_image('no.jpg')
    ... except OSError:  # Pillow raises a kind of it
    ...     print('not found')
    not found
    """
    try:
        from PIL import Image
    except ImportError:
        pixels = _load_with_opencv(filename, color)
    else:
        with Image.open(filename) as image:
            pixels = np.asarray(image.convert("RGB" if color else "L"))
    pixels = pixels.astype(np.float32) / 255
    return pixels if color else pixels[:, :, np.newaxis]


def _load_with_opencv(filename, color):
    try:
        import cv2
    except ImportError:
        raise ImportError("caffe.io.load_image needs Pillow or OpenCV: pip install pillow") from None
    pixels = cv2.imread(str(filename), cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise OSError("cannot read the image %s" % filename)
    return pixels[:, :, ::-1] if color else pixels


def resize_image(im, new_dims, interp_order=1):
    """Resize a (height, width, channels) array to `new_dims` = (height, width).

    interp_order 0 takes the nearest pixel, anything else interpolates bilinearly; pixels lie at their
    centres, and values beyond the border repeat it.

    >>> import caffe, numpy as np
    >>> caffe.io.resize_image(np.zeros((4, 6, 3)), (2, 9)).shape
    (2, 9, 3)
    """
    im = np.asarray(im, dtype=np.float32)
    if tuple(im.shape[:2]) == tuple(new_dims):
        return im.copy()
    places = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(im.shape, new_dims)]
    for axis, place in enumerate(places):
        last = im.shape[axis] - 1
        if interp_order == 0:
            im = im.take(np.clip(np.round(place).astype(int), 0, last), axis)
            continue
        low = np.floor(place).astype(int)
        weight = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(im.ndim)])
        im = im.take(np.clip(low, 0, last), axis) * (1 - weight) + im.take(np.clip(low + 1, 0, last), axis) * weight
    return im


def oversample(images, crop_dims):
    """The four corners and the centre of each image, and their mirror images: ten crops each.

    `images`: (height, width, channels) arrays of one size; the result is (10 · images, height, width,
    channels), float32.

    >>> import caffe, numpy as np
    >>> caffe.io.oversample([np.zeros((8, 8, 3))], (4, 4)).shape
    (10, 4, 4, 3)
    """
    size, crop = np.array(images[0].shape[:2]), np.array(crop_dims)
    corners = [(row, column) for row in (0, size[0] - crop[0]) for column in (0, size[1] - crop[1])]
    corners.append(tuple(((size - crop) / 2.0).astype(int)))
    crops = []
    for image in images:
        five = [image[row:row + crop[0], column:column + crop[1], :] for row, column in corners]
        crops += five + [one[:, ::-1, :] for one in five]
    return np.stack(crops).astype(np.float32)
