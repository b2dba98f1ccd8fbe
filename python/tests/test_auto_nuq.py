"""amct_caffe.auto_nuq: the class, the function, and what an evaluator may do."""
import json
import os
import re

import numpy as np
import pytest

import amct_caffe as amct
import caffe
import qaffe.examples
from amct_caffe.auto_nuq import AutoNuqEvaluatorBase

CFG = """batch_num : 2
nuq_config { mapping_file : "om.json" nuq_quantize : { num_steps : 16 num_of_iteration : 0 } }"""


class Evaluator(AutoNuqEvaluatorBase):
    """Wants no more than so many layers with few codes."""

    def __init__(self, most):
        super().__init__(self)  # as AMCT's sample does
        self.most, self.evaluate_batch_num, self.batches = most, 5, []

    def eval_model(self, model_file, weights_file, batch_num):
        self.batches.append(batch_num)
        net = caffe.Net(model_file, weights_file, caffe.TEST)
        for i in range(batch_num):
            net.blobs["data"].data[...] = np.random.RandomState(i).rand(*net.blobs["data"].data.shape)
            net.forward()
        few = 0
        for name in ("wide", "ip"):
            values = net.params[name][0].data
            rows = values if name == "wide" else values.reshape(1, -1)
            few += all(len(np.unique(row)) <= 16 for row in rows)
        return {"few": few}

    def is_satisfied(self, original_metric, new_metric):
        return original_metric["few"] == 0 and new_metric["few"] <= self.most


@pytest.fixture
def model():
    """Two layers that may have few codes; wide has fewer weights, but more than 16 in each channel."""
    with open("net.prototxt", "w") as file:
        file.write("""
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 4 dim: 8 dim: 8 } } }
layer { name: 'wide' type: 'Convolution' bottom: 'data' top: 'wide'
  convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: 'gaussian' std: 1 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'wide' top: 'ip'
  inner_product_param { num_output: 12 weight_filler { type: 'gaussian' std: 1 } } }""")
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    attributes = [{"key": "_fe_weight_compress", "value": {"b": True}},
                  {"key": "_datadump_original_op_names", "value": {"list": {"s": ["wide", "ip", "ip_dequant_layer"]}}}]
    with open("om.json", "w") as file:
        json.dump({"graph": [{"op": [{"name": "a", "attr": attributes}]}]}, file)
    with open("nuq.cfg", "w") as file:
        file.write(CFG)
    amct.create_quant_config("config.json", "net.prototxt", "net.caffemodel", config_defination="nuq.cfg")
    return "net.prototxt", "net.caffemodel"


def run(model, evaluator):
    amct.auto_nuq(model_file=model[0], weights_file=model[1], nuq_evaluator=evaluator, config_file="config.json",
                  scale_offset_record_file="record.txt", save_dir="results/nuq")


@pytest.mark.parametrize("most, layers", [(2, ["wide", "ip"]), (1, ["ip"]), (0, [])])
def test_as_many_layers_as_satisfy(model, most, layers):
    evaluator = Evaluator(most)
    run(model, evaluator)
    assert json.load(open("results/nuq_nuq_layers.json")) == {"nuq_layers": layers}
    names = ["nuq_%s" % end for end in ("deploy_model.prototxt", "deploy_weights.caffemodel", "fake_quant_model.prototxt",
                                        "fake_quant_weights.caffemodel", "nuq_layers.json", "quant.json")]
    assert sorted(os.listdir("results")) == names
    assert evaluator.batches == [5] + [2, 5] * (len(evaluator.batches) // 2)


def test_exceptions_of_evaluators_come_out(model):
    class Raises(Evaluator):
        def is_satisfied(self, original_metric, new_metric):
            raise KeyError("accuracy")

    with pytest.raises(KeyError, match="accuracy"):
        run(model, Raises(1))
    with pytest.raises(NotImplementedError):
        run(model, AutoNuqEvaluatorBase())


def test_arguments_are_checked(model):
    with pytest.raises(RuntimeError, match="is not inherited from base class AutoNuqEvaluatorBase"):
        run(model, object())
    with pytest.raises(TypeError, match=re.escape("Func auto_nuq argument save_dir must be <class 'str'>")):
        amct.auto_nuq(*model, Evaluator(1), "config.json", "record.txt", 3)
    with pytest.raises(OSError, match="nobody.json"):
        amct.auto_nuq(*model, Evaluator(1), "nobody.json", "record.txt", "results/nuq")
