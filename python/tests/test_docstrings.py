"""Every exported function and class has a docstring with an example; the examples run and print what they say."""
import doctest
import importlib
import inspect

import pytest

MODULES = ["caffe", "caffe._caffe", "caffe.pycaffe", "caffe.io", "caffe.net_spec", "caffe.coord_map",
           "caffe.classifier", "caffe.detector", "caffe.draw", "amct_caffe", "qaffe", "qaffe._retrain",
           "qaffe.examples"]
EXPORTING = ["caffe", "caffe.io", "amct_caffe", "qaffe"]


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
    # What a call of retrain() returns is shown there.
    assert not set(missing) - {"Result", "LayerResult"}


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_examples_of_solvers_run(kind):
    import caffe
    solver = getattr(caffe, kind + "Solver")
    for test in doctest.DocTestFinder(recurse=False).find(solver, kind, module=False):
        assert doctest.DocTestRunner().run(test).failed == 0
