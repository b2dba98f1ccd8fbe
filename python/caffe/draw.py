"""Drawings of nets by Graphviz; needs pydot (pip install pydot) and Graphviz for pictures."""
from .proto import caffe_pb2

LAYER_STYLE_DEFAULT = {'shape': 'record', 'fillcolor': '#6495ED', 'style': 'filled'}
NEURON_LAYER_STYLE = {'shape': 'record', 'fillcolor': '#90EE90', 'style': 'filled'}
BLOB_STYLE = {'shape': 'octagon', 'fillcolor': '#E0E0E0', 'style': 'filled'}
_COLOURS = {'Convolution': '#FF5050', 'Deconvolution': '#FF5050', 'Pooling': '#FF9900', 'InnerProduct': '#CC33FF'}


def get_pooling_types_dict():
    """Number → name of the pooling methods."""
    names = list(caffe_pb2.PoolingParameter.PoolMethod.items())
    return {number: name for name, number in reversed(names)}  # of several names the first


def get_edge_label(layer):
    """What flows: the number of outputs or the batch size."""
    if layer.type == 'Data':
        return 'Batch ' + str(layer.data_param.batch_size)
    if layer.type in ('Convolution', 'Deconvolution'):
        return str(layer.convolution_param.num_output)
    if layer.type == 'InnerProduct':
        return str(layer.inner_product_param.num_output)
    return '""'


def _first(values, default):
    return values[0] if len(values) else default


def get_layer_lr_mult(layer):
    """' [lr_mult …]' of a layer's parameters, '' if it sets none."""
    values = [spec.lr_mult for spec in layer.param]
    return '' if not values else 'lr_mult: ' + ', '.join('%g' % value for value in values)


def get_layer_label(layer, rankdir, display_lrm=False):
    """Name and type, and the window of layers that have one."""
    separator = ' ' if rankdir in ('TB', 'BT') else r'\n'
    parts = [layer.name, '(%s)' % layer.type]
    if layer.type in ('Convolution', 'Deconvolution'):
        p = layer.convolution_param
        parts += ['kernel size: %d' % (_first(p.kernel_size, p.kernel_h or 1)),
                  'stride: %d' % (_first(p.stride, p.stride_h or 1)), 'pad: %d' % (_first(p.pad, p.pad_h))]
    elif layer.type == 'Pooling':
        p = layer.pooling_param
        parts = [layer.name, '(%s %s)' % (get_pooling_types_dict()[p.pool], layer.type),
                 'kernel size: %d' % p.kernel_size, 'stride: %d' % p.stride, 'pad: %d' % p.pad]
    if display_lrm and get_layer_lr_mult(layer):
        parts.append(get_layer_lr_mult(layer))
    return '"%s"' % separator.join(parts)


def choose_color_by_layertype(layertype):
    """Fill colour of a layer's box."""
    return _COLOURS.get(layertype, LAYER_STYLE_DEFAULT['fillcolor'])


def _in_phase(layer, phase):
    """Do the layer's include and exclude rules let it into this phase?"""
    if phase is None:
        return True
    if layer.include:
        return any(not rule.HasField('phase') or rule.phase == phase for rule in layer.include)
    return not any(rule.HasField('phase') and rule.phase == phase for rule in layer.exclude)


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """A pydot graph of a NetParameter; `phase` leaves out the layers of the other."""
    import pydot
    graph = pydot.Dot(caffe_net.name or 'Net', graph_type='digraph', rankdir=rankdir)
    seen = set()

    def add_blob(name):
        if name not in seen:
            seen.add(name)
            graph.add_node(pydot.Node('%s_blob' % name, label='"%s"' % name, **BLOB_STYLE))
        return '%s_blob' % name

    for layer in caffe_net.layer:
        if not _in_phase(layer, phase):
            continue
        node = '%s_%s' % (layer.name, layer.type)
        in_place = len(layer.bottom) == 1 and list(layer.top) == list(layer.bottom)
        style = dict(NEURON_LAYER_STYLE if in_place else LAYER_STYLE_DEFAULT)
        if not in_place:
            style['fillcolor'] = choose_color_by_layertype(layer.type)
        graph.add_node(pydot.Node(node, label=get_layer_label(layer, rankdir, display_lrm), **style))
        for bottom in layer.bottom:
            graph.add_edge(pydot.Edge(add_blob(bottom), node, label='""'))
        for top in layer.top:
            label = get_edge_label(layer) if label_edges else '""'
            graph.add_edge(pydot.Edge(node, add_blob(top), label=label))
    return graph


def draw_net(caffe_net, rankdir, ext='png', phase=None, display_lrm=False):
    """The drawing of a NetParameter as the bytes of a picture (or of text, for ext='raw')."""
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(format=ext)


def draw_net_to_file(caffe_net, filename, rankdir='LR', phase=None, display_lrm=False):
    """Draw a NetParameter into a file; its ending says what kind."""
    ext = filename[filename.rfind('.') + 1:]
    with open(filename, 'wb') as file:
        file.write(draw_net(caffe_net, rankdir, ext, phase, display_lrm))
