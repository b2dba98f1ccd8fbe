"""Every exported function and class has a docstring with an example; the examples run and print what they say."""
import doctest
import importlib
import inspect
import pathlib
import re

import pytest

MODULES = ["caffe", "caffe._blob", "caffe._layer", "caffe._caffe", "caffe.pycaffe", "caffe.io", "caffe.net_spec",
           "caffe.coord_map", "caffe.classifier", "caffe.detector", "caffe.draw", "amct_caffe",
           "amct_caffe._post_training", "amct_caffe.auto_nuq", "amct_caffe.common.cmd_line_utils.arguments_handler",
           "amct_caffe.common.cmd_line_utils.data_handler", "amct_caffe.common.cmd_line_utils.evaluator",
           "amct_caffe.tensor_decompose", "qaffe",
           "qaffe._checks", "qaffe._detection", "qaffe._devices", "qaffe._equalise", "qaffe._import_onnx", "qaffe._limits", "qaffe._onnx",
           "qaffe._quantise", "qaffe._report", "qaffe._retrain", "qaffe.examples"]
EXPORTING = ["caffe", "caffe.io", "amct_caffe", "amct_caffe.common.cmd_line_utils.arguments_handler",
             "amct_caffe.common.cmd_line_utils.data_handler", "amct_caffe.auto_nuq", "amct_caffe.tensor_decompose", "qaffe"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.failed == 0


def exported(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    for thing_name in names:
        thing = getattr(module, thing_name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield thing_name, thing


@pytest.mark.parametrize("name", EXPORTING)
def test_all_have_an_example(name):
    missing = [n for n, thing in exported(name) if ">>>" not in (inspect.getdoc(thing) or "")]
    # What functions return is shown there.
    assert not set(missing) - {"Result", "LayerResult", "Check", "OddBlob", "Device", "OnnxExport", "OnnxImport", "Report",
                                "Sensitivity", "SensitiveLayer", "Equalised", "Bits", "BitsLayer", "BitsStep"}


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_examples_of_solvers_run(kind):
    import caffe
    solver = getattr(caffe, kind + "Solver")
    for test in doctest.DocTestFinder(recurse=False).find(solver, kind, module=False):
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", EXPORTING)
def test_all_methods_have_a_docstring(name):
    missing = ["%s.%s" % (class_name, member_name) for class_name, thing in exported(name) if inspect.isclass(thing)
               for member_name, member in inspect.getmembers(thing)
               if not member_name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
               and not inspect.getdoc(member)]
    assert not missing


def test_the_tour_of_the_readme_runs(capsys):
    path = pathlib.Path(__file__).parents[2] / "README.md"
    code = re.search("## In Python.*?```python\n(.*?)```", path.read_text(), re.DOTALL).group(1)
    exec(compile(code, str(path), "exec"), {})
    floats, fake, deploy = capsys.readouterr().out.splitlines()
    assert fake.split()[1] == deploy.split()[1] and float(deploy.split()[1]) > 0.8
    assert int(deploy.split()[2]) * 3 < int(floats.split()[2])
