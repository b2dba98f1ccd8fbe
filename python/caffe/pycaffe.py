"""The methods that make nets pleasant in Python: names for blobs, keyword inputs, whole data sets."""
import os
from collections import OrderedDict

import numpy as np

from qaffe._library import call, library

from ._caffe import (NCCL, AdaDeltaSolver, AdaGradSolver, AdamSolver, NesterovSolver, RMSPropSolver, SGDSolver,
                     Solver, Timer, _Net)  # some scripts take the solvers from here


class Net(_Net):
    """A net of a .prototxt.

    Net(network_file, phase, level=0, stages=None, weights=None), or as old scripts have it
    Net(network_file, weights_file, phase). OSError if a file cannot be read; ValueError, naming the line or
    the layer, if it makes no sense.

    >>> import caffe, qaffe.examples
    >>> net = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    >>> net.inputs, net.outputs
    (['data'], ['prob'])
    >>> {name: array.shape for name, array in net.forward().items()}
    {'prob': (2, 3)}
    """

    def __init__(self, network_file, *arguments, phase=None, level=0, stages=None, weights=None):
        arguments = list(arguments)
        if arguments and isinstance(arguments[0], (str, bytes, os.PathLike)):
            weights = arguments.pop(0)  # the old order
            if len(arguments) != 1 and phase is None:
                raise TypeError("Net(network_file, weights_file, phase) needs a phase")
        names = ["phase", "level", "stages", "weights"]
        given = dict(zip(names, arguments))
        phase = given.get("phase", phase)
        if phase is None:
            raise TypeError("Net needs a phase: caffe.TRAIN or caffe.TEST")
        self._create(network_file, int(phase), given.get("level", level), given.get("stages", stages),
                     given.get("weights", weights))

    def _attach(self, value, keep):
        super()._attach(value, keep)
        self.blobs = OrderedDict((name, self._blobs[i]) for name, i in self._named_blobs.items())
        self.blob_loss_weights = OrderedDict(
            (name, self._blob_loss_weights[i]) for name, i in self._named_blobs.items())
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers))
        self.params = OrderedDict((name, blobs) for name, blobs in zip(self._layer_names, self._layer_params) if blobs)
        self.inputs = [self._blob_names[i] for i in self._inputs]
        self.outputs = [self._blob_names[i] for i in self._outputs]
        names = self._blob_names
        self.bottom_names = OrderedDict(
            (name, [names[b] for b in self._bottom_ids(i)]) for i, name in enumerate(self._layer_names))
        self.top_names = OrderedDict(
            (name, [names[b] for b in self._top_ids(i)]) for i, name in enumerate(self._layer_names))
        self._hooks = {"before_forward": [], "after_forward": [], "before_backward": [], "after_backward": []}

    def _layer_index(self, name):
        try:
            return self._layer_names.index(name)
        except ValueError:
            raise ValueError("the net has no layer '%s'" % name) from None

    def _pass(self, name, indices, run):
        before, after = self._hooks["before_" + name], self._hooks["after_" + name]
        if not before and not after:
            return run(indices[0], indices[-1]) if indices else 0
        total = 0
        for index in indices:  # whoever watches sees each layer
            for function in before:
                function(index)
            total += run(index, index) or 0
            for function in after:
                function(index)
        return total

    def before_forward(self, function):
        """Call function(index of the layer) before each layer's forward pass."""
        self._hooks["before_forward"].append(function)

    def after_forward(self, function):
        """Call function(index of the layer) after each layer's forward pass."""
        self._hooks["after_forward"].append(function)

    def before_backward(self, function):
        """Call function(index of the layer) before each layer's backward pass."""
        self._hooks["before_backward"].append(function)

    def after_backward(self, function):
        """Call function(index of the layer) after each layer's backward pass."""
        self._hooks["after_backward"].append(function)

    def forward(self, blobs=None, start=None, end=None, **inputs):
        """Run the layers from `start` to `end` (names; all without them).

        Keyword arguments are arrays for the net's inputs, of the blobs' shapes. Returns a dict of the
        outputs (or the tops of `end`), and of the further `blobs` asked for, as arrays on the net's memory:
        copy what must survive the next call.
        """
        first = self._layer_index(start) if start is not None else 0
        last = self._layer_index(end) if end is not None else len(self.layers) - 1
        wanted = list(self.top_names[end]) if end is not None else list(self.outputs)
        wanted += [name for name in blobs or [] if name not in wanted]
        if inputs:
            if set(inputs) != set(self.inputs):
                raise Exception("Input blob arguments do not match net inputs.")
            for name, values in inputs.items():
                values = np.asarray(values)
                if values.shape and values.shape[0] != self.blobs[name].shape[0]:
                    raise Exception("Input is not batch sized")
                self.blobs[name].data[...] = values
        self._pass("forward", range(first, last + 1), self._forward)
        return {name: self.blobs[name].data for name in wanted}

    def backward(self, diffs=None, start=None, end=None, **outputs):
        """Run the gradients back from layer `start` to `end` (names; all without them).

        Keyword arguments are gradients of the net's outputs. Returns a dict of the gradients of the inputs
        (or the bottoms of `end`) and of the further `diffs` asked for.
        """
        first = self._layer_index(start) if start is not None else len(self.layers) - 1
        last = self._layer_index(end) if end is not None else 0
        wanted = list(self.bottom_names[end]) if end is not None else list(self.inputs)
        wanted += [name for name in diffs or [] if name not in wanted]
        if outputs:
            if set(outputs) != set(self.outputs):
                raise Exception("Top diff arguments do not match net outputs.")
            for name, values in outputs.items():
                values = np.asarray(values)
                if values.shape and values.shape[0] != self.blobs[name].shape[0]:
                    raise Exception("Diff is not batch sized")
                self.blobs[name].diff[...] = values
        self._pass("backward", range(first, last - 1, -1), self._backward)
        return {name: self.blobs[name].diff for name in wanted}

    def _batch(self, arrays):
        """Cut arrays by name into batches of the net's size; the last is filled up with zeros."""
        size = next(iter(self.blobs.values())).num
        for start in range(0, len(next(iter(arrays.values()))), size):
            batch = {}
            for name, values in arrays.items():
                part = np.asarray(values[start:start + size])
                missing = size - len(part)
                batch[name] = np.concatenate([part, np.zeros((missing,) + part.shape[1:], part.dtype)]) \
                    if missing else part
            yield batch

    def forward_all(self, blobs=None, **inputs):
        """forward() over more items than a batch holds; outputs as arrays over all items."""
        collected = {}
        for batch in self._batch(inputs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                collected.setdefault(name, []).append(values.copy())
        count = len(next(iter(inputs.values())))
        return {name: np.concatenate([np.atleast_1d(part) for part in parts])[:count]
                for name, parts in collected.items()}

    def forward_backward_all(self, blobs=None, diffs=None, **arrays):
        """forward() and backward() over more items than a batch holds: (outputs, gradients)."""
        outputs, gradients = {}, {}
        forward_batches = self._batch({name: arrays[name] for name in self.inputs if name in arrays})
        backward_names = [name for name in self.outputs if name in arrays]
        backward_batches = self._batch({name: arrays[name] for name in backward_names}) if backward_names else None
        for batch in forward_batches:
            for name, values in self.forward(blobs=blobs, **batch).items():
                outputs.setdefault(name, []).append(values.copy())
            given = next(backward_batches) if backward_batches else {}
            for name, values in self.backward(diffs=diffs, **given).items():
                gradients.setdefault(name, []).append(values.copy())
        count = len(arrays[self.inputs[0]])
        return tuple({name: np.concatenate([np.atleast_1d(part) for part in parts])[:count]
                      for name, parts in found.items()} for found in (outputs, gradients))

    def set_input_arrays(self, data, labels):
        """For a net whose first layer is MemoryData: the arrays it serves.

        `data`: (items, channels, height, width), `labels`: (items,) or (items, 1, 1, 1); as many items as fill
        whole batches. Both are copied. ValueError if they do not fit the layer.
        """
        data, labels = (np.ascontiguousarray(array, dtype=np.float32) for array in (data, labels))
        expected = self._blobs[0].shape[1:]
        if data.ndim != 4 or data.shape[1:] != expected or labels.size != len(data):
            raise ValueError("data of shape (items,) + %s and as many labels are needed, not %s and %s" %
                             (expected, data.shape, labels.shape))
        call(library.qf_net_set_memory_data, self._value, data.ctypes.data, labels.ctypes.data, len(data))


Solver._net_class = Net
