"""Every exported function and class has a docstring; the examples in them run and print what they say."""
import doctest
import importlib
import inspect

import pytest

MODULES = ["caffe", "caffe._caffe", "caffe.pycaffe", "caffe.io", "caffe.net_spec", "caffe.coord_map", "caffe.classifier",
           "caffe.detector", "caffe.draw", "amct_caffe", "qaffe", "qaffe._retrain", "qaffe.examples"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.failed == 0


@pytest.mark.parametrize("name", ["amct_caffe", "qaffe"])
def test_all_is_documented(name):
    module = importlib.import_module(name)
    for exported in module.__all__:
        thing = getattr(module, exported)
        assert exported == "__version__" or inspect.getdoc(thing), exported
