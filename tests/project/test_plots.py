"""The page of `dvc plots` draws without the network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from hpnet.core.streams import TOPOLOGY_STREAMS
from hpnet.project.dvc_yaml import render
from hpnet.project.graph import Kind
from hpnet.project.render import DVC_CONFIG, PLOTS_PAGE
from tests.browser import Watched, browser

REVISIONS = ("workspace", "HEAD")
CURVES: dict[str, Any] = {
    "title": {"text": "validation accuracy"},
    "data": {
        "values": [
            {"step": str(step), "accuracy": str(0.1 * step), "rev": rev, "filename": f"{stream}/history/accuracy.tsv"}
            for rev in REVISIONS for stream in ("hpj", "hpb") for step in range(4)
        ]
    },
    "encoding": {"x": {"field": "step", "title": "epoch"}, "color": {"field": "rev"}},
    "layer": [{"mark": "line", "encoding": {"y": {"field": "accuracy", "title": "accuracy"}}}],
}  # fmt: skip
CONFUSION: dict[str, Any] = {
    "title": {"text": "confusion"},
    "data": {
        "values": [
            {"actual": actual, "predicted": predicted, "rev": rev}
            for rev in REVISIONS for actual, predicted in (("a", "a"), ("a", "a"), ("a", "<b>"), ("<b>", "<b>"))
        ]
    },
    "spec": {"encoding": {"x": {"field": "actual"}, "y": {"field": "predicted"}}, "layer": [{"mark": "rect"}]},
}  # fmt: skip
OTHER: dict[str, Any] = {"title": "bars", "data": {"values": [{"k": "x", "v": 3}]}, "mark": "bar"}


def test_the_page_has_dvcs_places_and_asks_for_nothing() -> None:
    text = PLOTS_PAGE.read_text(encoding="utf-8")
    assert text.count("{plot_divs}") == 1
    assert "{scripts}" not in text  # which load a drawing library from the network
    assert re.findall(r"https?://[^\"' ]*", text) == ["http://www.w3.org/2000/svg"]
    assert f"html_template = {PLOTS_PAGE.name}" in DVC_CONFIG


def test_lines_a_confusion_matrix_and_anything_else_are_drawn(tmp_path: Path) -> None:
    plots = "".join(
        f'<div id="p{number}"><script>vegaEmbed("#p{number}", {json.dumps(spec)});</script></div>'
        for number, spec in enumerate((CURVES, CONFUSION, OTHER))
    )
    file = tmp_path / "index.html"
    page = PLOTS_PAGE.read_text(encoding="utf-8").replace("{plot_divs}", plots).replace("{refresh_tag}", "")
    file.write_text(page, encoding="utf-8")
    with browser() as running:
        watched = Watched(running, file)
        assert watched.troubles == []
        shown = watched.page
        assert shown.locator("h2").all_text_contents() == ["validation accuracy", "confusion", "bars"]
        assert shown.locator("#p0 polyline").count() == 4
        assert shown.locator("#p0 .key").all_text_contents() == [
            f"{rev}, {s}" for rev in REVISIONS for s in ("hpj", "hpb")
        ]
        assert shown.locator("#p1 svg").count() == 2
        assert shown.locator("#p1 rect > title").first.text_content() == "predicted a, actual a: 2"
        assert shown.locator("#p2 td").all_text_contents() == ["x", "3"]


def test_every_kind_of_project_has_curves_and_those_with_a_report_a_confusion_matrix() -> None:
    folder = Kind(videos=True, streams=TOPOLOGY_STREAMS)
    poses = Kind(poses="hpnet import nw-ucla x.npz", poses_from="x.npz", streams=TOPOLOGY_STREAMS)
    for kind, confusion in ((folder, True), (poses, False)):
        plots = yaml.safe_load(render(kind))["plots"]
        assert ("report/plots/confusion.csv" in plots[0]) is confusion
        curves = plots[-1]["validation accuracy"]["y"]
        assert [path.split("/")[2] for path in curves] == list(TOPOLOGY_STREAMS)
