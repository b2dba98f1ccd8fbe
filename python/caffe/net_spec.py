"""Nets written as Python: layers are functions of tops, a NetSpec gives the tops their names.

>>> from caffe import layers as L, params as P, NetSpec
>>> n = NetSpec()
>>> n.data = L.Input(shape=[dict(dim=[1, 1, 8, 8])])
>>> n.pool = L.Pooling(n.data, kernel_size=2, stride=2, pool=P.Pooling.MAX)
>>> n.to_proto().layer[1].pooling_param.kernel_size
2
"""
from collections import Counter, OrderedDict

from .proto import caffe_pb2


def _parameter_names():
    """Layer type → name of its parameter message: 'Convolution' → 'convolution'."""
    names = {}
    for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields:
        if field.message_type is not None and field.name.endswith("_param") \
                and field.message_type.name.endswith("Parameter"):
            kind = field.message_type.name[:-len("Parameter")]
            names.setdefault(kind, field.name[:-len("_param")])
    return names


_PARAMETERS = _parameter_names()


def param_name_dict():
    """Layer type → beginning of the name of its parameter message."""
    return dict(_PARAMETERS)


def _function_of(thing):
    """The function behind a top; a function without tops stands for itself."""
    return thing if isinstance(thing, Function) else thing.fn


class _Builder:
    """Turns functions into layers, each after those it needs, and names what has no name."""

    def __init__(self, names=()):
        self._names = dict(names)  # of tops, and of functions without tops
        self._counts = Counter()  # of names made up, by type
        self._layers = OrderedDict()  # Function → LayerParameter

    def _name(self, thing, type_name):
        if thing not in self._names:
            self._counts[type_name] += 1
            self._names[thing] = "%s%d" % (type_name, self._counts[type_name])
        return self._names[thing]

    def add(self, function):
        """The layer of a function, whose bottoms' layers come first."""
        if function in self._layers:
            return self._layers[function]
        bottoms = [self.add(bottom.fn).top[bottom.n] for bottom in function.inputs]
        layer = caffe_pb2.LayerParameter(type=function.type_name, bottom=bottoms)
        layer.top.extend(bottoms if function.in_place
                         else [self._name(top, function.type_name) for top in function.tops])
        layer.name = self._name(function.tops[0] if function.tops else function, function.type_name)
        for name, value in function.params.items():
            assign_proto(*_place(layer, name), value)
        self._layers[function] = layer
        return layer

    def net(self):
        return caffe_pb2.NetParameter(layer=self._layers.values())


def _place(layer, name):
    """Where a parameter goes: (message, field)."""
    if name.endswith("param") or name in caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name:
        return layer, name
    if layer.type not in _PARAMETERS:
        raise AttributeError("layers of type %s have no parameters of their own, so no '%s'" % (layer.type, name))
    return getattr(layer, _PARAMETERS[layer.type] + "_param"), name


def to_proto(*tops):
    """A NetParameter of all layers that the given tops need.

    >>> from caffe import layers as L, to_proto
    >>> [layer.name for layer in to_proto(L.ReLU(L.Input())).layer]
    ['Input1', 'ReLU1']
    """
    builder = _Builder()
    for top in tops:
        builder.add(_function_of(top))
    return builder.net()


def assign_proto(proto, name, value):
    """Set a field of a message: dicts fill messages, lists fill repeated fields."""
    field = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError("%s has no field '%s'" % (proto.DESCRIPTOR.name, name))
    repeated = hasattr(getattr(proto, name), "extend")
    if repeated and not isinstance(value, (list, tuple)):
        value = [value]
    if isinstance(value, (list, tuple)):
        target = getattr(proto, name)
        for item in value:
            if isinstance(item, dict):
                _fill(target.add(), item)
            elif field.message_type is not None:
                target.add().CopyFrom(item)
            else:
                target.append(item)
    elif isinstance(value, dict):
        _fill(getattr(proto, name), value)
    elif field.message_type is not None:
        getattr(proto, name).CopyFrom(value)
    else:
        setattr(proto, name, value)


def _fill(message, values):
    message.SetInParent()
    for name, value in values.items():
        assign_proto(message, name, value)


class Top:
    """One output of a layer; what other layers take as bottom."""

    def __init__(self, fn, n):
        self.fn, self.n = fn, n

    def to_proto(self):
        """A NetParameter of all layers that this top needs."""
        return to_proto(self)


class Function:
    """A layer that is to be: type, bottoms, parameters; its tops are in `tops`."""

    def __init__(self, type_name, inputs, params):
        self.type_name, self.inputs, self.params = type_name, inputs, dict(params)
        for index, bottom in enumerate(inputs):
            if not isinstance(bottom, Top):
                raise TypeError("%s input %d is not a Top (type is %s)" % (type_name, index, type(bottom)))
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))


class NetSpec:
    """Tops by name; assigning one names its blob and layer.

    >>> from caffe import layers as L, NetSpec
    >>> n = NetSpec()
    >>> n.image = L.Input()
    >>> n['up'] = L.ReLU(n.image)
    >>> [layer.name for layer in n.to_proto().layer]
    ['image', 'up']
    """

    def __init__(self):
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name, value):
        self.tops[name] = value

    def __getattr__(self, name):
        try:
            return self.tops[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setitem__(self, name, value):
        self.tops[name] = value

    def __getitem__(self, name):
        return self.tops[name]

    def __delattr__(self, name):
        del self.tops[name]

    def __delitem__(self, name):
        del self.tops[name]

    def keys(self):
        """The names, in the order of assignment."""
        return list(self.tops)

    def vals(self):
        """The tops, in the order of assignment."""
        return list(self.tops.values())

    def update(self, name, params):
        """Change parameters of the layer of a top."""
        _function_of(self.tops[name]).params.update(params)

    def to_proto(self):
        """The NetParameter of all layers."""
        builder = _Builder((top, name) for name, top in self.tops.items())
        for top in self.tops.values():
            builder.add(_function_of(top))
        return builder.net()


class Layers:
    """`layers.Convolution(bottom, …)`: any layer type as a function. `ntop` tops (one without it, none gives
    the Function itself), `in_place`, `name`, and the fields of its parameters as keywords."""

    def __getattr__(self, name):
        def layer_function(*inputs, **params):
            function = Function(name, inputs, params)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        return layer_function


class Parameters:
    """`params.Pooling.MAX`: the enumerations of a parameter message."""

    def __getattr__(self, name):
        class Enumerations:
            def __getattr__(self, value):
                return getattr(getattr(caffe_pb2, name + "Parameter"), value)

        return Enumerations()


layers = Layers()
params = Parameters()
