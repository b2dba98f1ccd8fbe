"""Where the pixels of one top lie in another: for Crop layers of fully convolutional nets.

A coordinate map is (axis, a, b): top coordinate i lies at a · i + b in the bottom, from `axis` on.
"""
from collections import deque

import numpy as np

from caffe import layers as L

PASS_THROUGH_LAYERS = [
    'AbsVal', 'BatchNorm', 'Bias', 'BNLL', 'Dropout', 'Eltwise', 'ELU', 'Log', 'LRN', 'Exp', 'MVN', 'Power', 'ReLU',
    'PReLU', 'Scale', 'Sigmoid', 'Split', 'TanH', 'Threshold']


class UndefinedMapException(Exception):
    """The layer has no coordinate map."""


class AxisMismatchException(Exception):
    """Two maps are about different axes."""


def _parameters(fn):
    """The parameters of a convolution or pooling, whether given flat or as a message's dict."""
    return fn.params.get('convolution_param', fn.params.get('pooling_param', fn.params))


def conv_params(fn):
    """(axis, stride, kernel extent, pad) of a layer that moves a window."""
    params = _parameters(fn)
    axis = params.get('axis', 1)
    kernel = np.array(params['kernel_size'], ndmin=1)
    dilation = np.array(params.get('dilation', 1), ndmin=1)
    assert not {'pad_h', 'pad_w', 'kernel_h', 'kernel_w', 'stride_h', 'stride_w'} & set(fn.params), \
        'cropping does not support legacy _h/_w params'
    assert not params.get('pad_type', 0), 'cropping needs pad, or pad_t and pad_l, not pad_type'
    if {'pad_t', 'pad_l'} & set(params):  # what lies behind the image moves nothing
        pad = [params.get('pad_t', 0), params.get('pad_l', 0)]
    else:
        pad = params.get('pad', 0)
    return (axis, np.array(params.get('stride', 1), ndmin=1), (kernel - 1) * dilation + 1,
            np.array(pad, ndmin=1))


def crop_params(fn):
    """(axis, offset) of a Crop layer."""
    params = fn.params.get('crop_param', fn.params)
    return params.get('axis', 2), np.array(params.get('offset', 0), ndmin=1)


def coord_map(fn):
    """The map of one layer, from its top to its bottom; UndefinedMapException if it has none."""
    kind = fn.type_name
    if kind in ('Convolution', 'Pooling', 'Im2col'):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if kind == 'Deconvolution':
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if kind in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if kind == 'Crop':
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # -1: Crop's axis is the first to be cut
    raise UndefinedMapException


def compose(base_map, next_map):
    """`next_map` behind `base_map`; AxisMismatchException if they are about different axes."""
    axis1, a1, b1 = base_map
    axis2, a2, b2 = next_map
    if axis1 is None:
        axis = axis2
    elif axis2 is None or axis1 == axis2:
        axis = axis1
    else:
        raise AxisMismatchException
    return axis, a1 * a2, a1 * b2 + b1


def inverse(mapping):
    """The map the other way."""
    axis, a, b = mapping
    return axis, 1 / a, -b / a


def _ancestors(top):
    """(ancestor, map from `top` to it), nearest first, as far as layers have maps."""
    reached = deque([(top, (None, 1, 0))])
    while reached:
        current, mapping = reached.popleft()
        yield current, mapping
        inputs = current.fn.inputs
        if current.fn.type_name == 'Crop':
            inputs = inputs[:1]  # the second only says how large
        try:
            reached.extend((bottom, compose(mapping, coord_map(current.fn))) for bottom in inputs)
        except UndefinedMapException:
            pass


def coord_map_from_to(top_from, top_to):
    """The map from one top to another that shares an ancestor with it; RuntimeError if they have none."""
    maps = dict(_ancestors(top_from))
    for ancestor, mapping in _ancestors(top_to):
        if ancestor in maps:
            return compose(mapping, inverse(maps[ancestor]))
    raise RuntimeError('Could not compute map between tops; are they connected by spatial layers?')


def crop(top_from, top_to):
    """A Crop layer that cuts top_from to the place and size of top_to."""
    axis, a, b = coord_map_from_to(top_from, top_to)
    assert (a == 1).all(), 'scale mismatch on crop (a = {})'.format(a)
    assert (b <= 0).all(), 'cannot crop negative offset (b = {})'.format(b)
    assert (np.round(b) == b).all(), 'cannot crop noninteger offset (b = {})'.format(b)
    return L.Crop(top_from, top_to, crop_param=dict(axis=axis + 1, offset=list(-np.round(b).astype(int))))
