"""Every test runs in a folder of its own; the library's log is quiet unless a test asks."""
import os

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("AMCT_LOG_LEVEL", "ERROR")

import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A trained net with its data: (.prototxt, .caffemodel)."""
    import qaffe.examples
    return qaffe.examples.digits(str(tmp_path_factory.mktemp("digits")))
