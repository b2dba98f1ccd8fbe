#!/usr/bin/env python3
"""PyTorch's quantisation-aware training, FX and PT2E, of a net that `scripts/accuracy.py nets` laid out: its accuracy in W8A8.

    pytorch_qat.py --net FOLDER --method fx|pt2e [--seed S] [--seen N] [--rate R] [--marks FILE]

As PyTorch's tutorials do: ranges from the first batches on by moving averages, SGD from the float weights, a hundredth of the
float solver's rate, a tenth of that after two thirds; from then on ranges and BatchNorm's statistics stay. Where that
diverges, it begins anew at a tenth of the rate, and gives up at the third. The converted model is tested. Prints a line of
JSON, whose accuracy is null where nothing was trained.
"""
import argparse
import sys
import time
import warnings

import numpy

import net
import pixels
import pytorch

try:
    import torch
except ImportError as error:
    sys.exit("pytorch_qat.py: PyTorch is missing (%s); bench/peers/README.md says how to install it" % error)

warnings.filterwarnings("ignore")  # torch.ao.quantization is deprecated, and still what FX QAT is


class FX:
    def __init__(self, model, example):
        from torch.ao.quantization import get_default_qat_qconfig_mapping
        from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
        from torch.ao.quantization.quantize_fx import prepare_qat_fx
        torch.backends.quantized.engine = "x86" if "x86" in torch.backends.quantized.supported_engines else "fbgemm"
        whole = PrepareCustomConfig().set_non_traceable_module_classes([pytorch.LocalResponse])  # stays float, as everywhere
        self.model = prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping(torch.backends.quantized.engine), (example,),
                                    whole)

    def train(self, on):
        self.model.train(on)

    def settle(self):
        self.model.apply(torch.ao.quantization.disable_observer)
        self.model.apply(torch.ao.nn.intrinsic.qat.freeze_bn_stats)

    def converted(self):
        from torch.ao.quantization.quantize_fx import convert_fx
        return convert_fx(self.model.eval())


class PT2E:
    def __init__(self, model, example):
        from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train
        from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
        self.to_train, self.to_eval = move_exported_model_to_train, move_exported_model_to_eval
        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config(is_qat=True))
        batch = torch.export.Dim("batch", min=2, max=4096)
        exported = torch.export.export(model.train(), (example,), dynamic_shapes=({0: batch},)).module()
        self.model = prepare_qat_pt2e(exported, quantizer)

    def train(self, on):
        (self.to_train if on else self.to_eval)(self.model)

    def settle(self):
        from torchao.quantization.pt2e import disable_observer
        self.model.apply(disable_observer)
        for node in self.model.graph.nodes:  # as move_exported_model_to_eval does, but for dropout
            if "batch_norm" in str(node.target) and len(node.args) > 5:
                node.args = node.args[:5] + (False,) + node.args[6:]
        self.model.recompile()

    def converted(self):
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e
        self.to_eval(self.model)
        made = convert_pt2e(self.model)
        self.to_eval(made)
        return made


def scores_of(model):
    def scores(batch):
        with torch.no_grad():
            return model(torch.from_numpy(numpy.ascontiguousarray(batch))).numpy()
    return scores


def train(options, images, seen, rate):
    """The net with its fake quantisation, trained; None where that diverged."""
    settings = images.settings
    torch.manual_seed(options.seed)
    with open(options.net + "/net.prototxt") as file:
        nodes = net.nodes_of(file.read())
    model = pytorch.load(pytorch.build(nodes), nodes, numpy.load(options.net + "/weights.npz"))
    pixels.check_scores(scores_of(model.eval()), options.net, "pytorch_qat.py")
    qat = (FX if options.method == "fx" else PT2E)(model, torch.from_numpy(images.batch(range(2))))
    optimizer = torch.optim.SGD(qat.model.parameters(), lr=rate, momentum=settings["momentum"],
                                weight_decay=settings["weight_decay"])
    loss_of, steps = torch.nn.CrossEntropyLoss(), -(-seen // settings["batch"])
    qat.train(True)
    for step, (batch, labels) in enumerate(pixels.training(images, settings["batch"], seen, options.seed)):
        if step == steps * 2 // 3 and step > 0:
            qat.settle()
            for group in optimizer.param_groups:
                group["lr"] /= 10
        optimizer.zero_grad()
        try:
            loss = loss_of(qat.model(torch.from_numpy(numpy.ascontiguousarray(batch))), torch.from_numpy(labels))
        except RuntimeError as error:
            if "zero_point" not in str(error):  # what ranges that are not finite are answered with
                raise
            return None
        if not torch.isfinite(loss):
            return None
        loss.backward()
        optimizer.step()
    return qat


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True, help="the folder of a net")
    parser.add_argument("--method", choices=("fx", "pt2e"), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seen", type=int, default=0, help="training images to show; 0: as many as the case says")
    parser.add_argument("--rate", type=float, default=0, help="0: a hundredth of the float solver's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--marks", help="a file for what each test image counts")
    options = parser.parse_args()
    begin = time.monotonic()
    torch.set_num_threads(options.threads)
    images, tests = pixels.Images(options.net, "train"), pixels.Images(options.net, "test")
    settings = images.settings
    seen, rate = options.seen or settings["seen"], options.rate or settings["rate"]
    for divisor in (1, 10, 100):
        qat = train(options, images, seen, rate / divisor)
        if qat:
            break
    judged = pixels.judged(pixels.all_scores(scores_of(qat.converted()), tests), tests.labels, options.marks) if qat \
        else {"accuracy": None}
    pixels.report("PyTorch QAT, " + options.method.upper(), "torch " + torch.__version__, tests, begin, seed=options.seed,
                  float=settings["float"], seen=-(-seen // settings["batch"]) * settings["batch"], rate=rate / divisor, **judged)


if __name__ == "__main__":
    main()
