"""Tensor decomposition: large convolutions become two thin ones each.

    from amct_caffe.tensor_decompose import auto_decomposition
    auto_decomposition(model, weights, new_model, new_weights)
    ...fine-tune new_model with caffe, then quantise it...
"""
from ctypes import POINTER, byref

from qaffe._library import ActionFunction, Decomposition, Interruptible, ProgressFunction, call, context, library

from ._arguments import checked, input_file, output_file

__all__ = ["auto_decomposition"]


@checked(model_file=str, weights_file=str, new_model_file=str, new_weights_file=str)
def auto_decomposition(model_file, weights_file, new_model_file, new_weights_file):
    """Decompose the Convolution layers that are worth it, and write the new model and its weights.

    A layer L becomes L_0 and L_1, one along each axis of its kernel; the log names each, or says that no tensor
    meets the conditions. The outputs change a little, so the new model is to be fine-tuned. TypeError for arguments
    that are not str, OSError for files that are not there, ValueError for weights that are NaN or infinite.

    >>> from amct_caffe.tensor_decompose import auto_decomposition
    >>> import caffe, qaffe.examples
    >>> model, weights = qaffe.examples.decomposable_model()
    >>> auto_decomposition(model, weights, 'thin.prototxt', 'thin.caffemodel')
    >>> net = caffe.Net('thin.prototxt', 'thin.caffemodel', caffe.TEST)
    >>> [(name, blobs[0].data.shape) for name, blobs in net.params.items()]
    [('conv_0', (16, 2, 8, 1)), ('conv_1', (6, 16, 1, 8))]
    """
    made = POINTER(Decomposition)()
    try:
        with Interruptible() as interrupt:
            stop = ActionFunction(lambda _user: 2 if interrupt.wanted else 0)
            call(library.qf_auto_decomposition, context, input_file(model_file), input_file(weights_file),
                 output_file("new_model_file", new_model_file), output_file("new_weights_file", new_weights_file),
                 stop, ProgressFunction(), None, byref(made))
    finally:
        library.qf_decomposition_destroy(made)
