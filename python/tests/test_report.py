"""Reports in Python: what notebooks show, names that are out to break it, bars where there is matplotlib."""
import html
import json
import re

import pytest

import qaffe
import qaffe.examples


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    model, weights = qaffe.examples.digits(str(folder))
    result = qaffe.retrain(model, weights, iterations=20, base_lr=0.001, save_path=str(folder / "qat"))
    report = qaffe.report(model, weights, result.save_path, retrained=result.retrained,
                          log=result.log, batches=1)
    return folder, model, weights, result, report


def test_figures_are_those_of_the_result(made):
    _folder, _model, _weights, result, report = made
    rows = {row.name: row for row in result.layers}
    assert {row["name"] for row in report.layers} == set(rows)
    for row in report.layers:
        assert row["weight_sqnr"] == pytest.approx(rows[row["name"]].weight_sqnr, abs=0.2)
        assert len(row["learned_ranges"]) > 10
    scores = {score["name"]: score for score in report.figures["summary"]["scores"]}
    assert scores["accuracy"]["deploy"] == pytest.approx(result.deploy_score)
    assert [curve["name"] for curve in report.figures["curves"]][0] == "loss"
    assert str(report).startswith(report.figures["name"])


def test_notebooks_show_the_page(made, tmp_path):
    report = made[4]
    shown = re.fullmatch(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>', report._repr_html_())
    assert html.unescape(shown.group(1)) == report.html
    report.save(str(tmp_path / "r.html"))
    report.save(str(tmp_path / "r.json"))
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == report.html
    assert json.loads((tmp_path / "r.json").read_text()) == report.figures


def test_results_are_tables_with_names_escaped(made):
    result = made[3]
    result.layers[0].name, name = "<script>alert(1)</script>", result.layers[0].name
    try:
        shown = result._repr_html_()
        assert "<script>" not in shown and "&lt;script&gt;" in shown and shown.count("<table>") == 3
    finally:
        result.layers[0].name = name


def test_sensitivity_names_layers_to_skip(made):
    _folder, model, weights, result, _report = made
    costs = qaffe.sensitivity(model, weights, result.save_path, batches=2, max_loss=1e9)
    assert costs.skip_layers == [] and costs.batches == 2
    assert costs.layers[0].alone_loss >= costs.layers[1].alone_loss
    assert "quantised alone" in str(costs) and "<table>" in costs._repr_html_()


def test_bars(made):
    pytest.importorskip("matplotlib").use("Agg")
    assert len(made[4].plot().patches) == 2 * len(made[4].layers)


def test_what_cannot_be_reported(made):
    _folder, model, weights, result, _report = made
    with pytest.raises(OSError, match="nowhere"):
        qaffe.report(model, weights, "nowhere/m")
    with pytest.raises(ValueError, match="batches must be positive"):
        qaffe.sensitivity(model, weights, result.save_path, batches=0)
