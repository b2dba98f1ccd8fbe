"""The recorded cases of `amct_caffe calibration`'s arguments: those of QAFFE_GOLDEN, else of ../shared, else the few
in tests/golden."""
import json
import os
import pathlib
import warnings

import pytest

from amct_caffe.common.cmd_line_utils.arguments_handler import CalibrationArguments
from qaffe import _library

SOURCES = pathlib.Path(__file__).parents[2]
WHOLE = pathlib.Path(os.environ.get("QAFFE_GOLDEN") or SOURCES.parent / "shared" / "golden") / "amct"
GOLDEN = WHOLE if WHOLE.exists() else SOURCES / "tests" / "golden" / "amct"


def cases():
    if GOLDEN != WHOLE:
        warnings.warn("skipped: most recorded cases: only the few in tests/golden are walked; QAFFE_GOLDEN names the "
                      "whole set")
    with open(GOLDEN / "cases.json") as file:
        return [case for case in json.load(file)["cases"] if case["kernel"] == "cli_arguments"]


CASES = cases()


def test_there_are_cases():
    assert len(CASES) >= 11


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case, monkeypatch, capsys):
    said = []
    monkeypatch.setattr(_library, "say", lambda level, module, text: said.append("%s %s" % (level, text)))
    monkeypatch.chdir(case["params"]["working_directory"])
    if case["status"] == "error":
        with pytest.raises({"ValueError": ValueError, "SystemExit": SystemExit}[case["error"]["published_name"]]) as raised:
            CalibrationArguments(case["params"]["argv"])
        if raised.type is SystemExit:
            assert raised.value.code == 2 and case["error"]["published_text"] in capsys.readouterr().err
        else:
            assert str(raised.value) == case["error"]["published_text"]
        return
    given = CalibrationArguments(case["params"]["argv"])
    expected = {name: (GOLDEN / entry["file"]).read_text() for name, entry in case["expect"].items()}
    assert vars(given) == json.loads(expected["arguments_json"])
    assert "\n".join(said) + "\n" == expected["log"]
