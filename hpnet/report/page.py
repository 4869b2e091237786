"""The page: one self-contained HTML file, and its figures, tables, plots and headline numbers as files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..artifacts.files import write_json
from ..artifacts.scores import Scores
from .against import Other
from .collect import Collected
from .examples import FullMaps
from .figures import FIGURE_STYLE, PALETTE
from .output import Files
from .results import Group, Judge, Variant, compare_variants, correct, evaluated
from .section import Given, Section
from .sections import (
    accuracy,
    advice,
    against,
    calibration,
    check,
    claims,
    classes,
    clips,
    confusion,
    cost,
    crossval,
    events,
    examples,
    failures,
    features,
    footer,
    header,
    method,
    run,
    training,
    unknown,
)

SECTIONS: tuple[Section, ...] = (
    against, advice, accuracy, confusion, events, clips, examples, check, crossval, features, classes, unknown,
    calibration, claims, training, cost, failures, run, method,
)  # fmt: skip
"""The sections of the page, from top to bottom."""
FOLDER = Path(__file__).parent


def write_report(
    collected: Collected,
    out: Path,
    full_maps: FullMaps | None = None,
    why_no_maps: str = "",
    other: Other | None = None,
    sections: Sequence[Section] = SECTIONS,
) -> dict[str, Any]:
    """Write ``out``/index.html, figures/, tables/ and plots/; return the headline numbers for metrics/report.json.

    Args:
        collected: see :func:`hpnet.report.collect.collect`. The page says what is missing.
        out: folder of the report.
        full_maps: gives the pose network's maps of a crop, for the examples; None if it cannot run here.
        why_no_maps: the reason, for the page.
        other: a run to compare with this one.
        sections: from top to bottom.
    """
    judge = Judge(collected.params.report, collected.clips)
    test = evaluated(collected.fused)
    compared = compare_variants(collected, judge)
    given = Given(collected, judge, test, compared, Files(), full_maps, why_no_maps, other, out)
    html = render(given, sections)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(html, encoding="utf-8")
    given.files.write(out)
    _write_plots(collected, test, out / "plots")
    return headline(given)


def render(given: Given, sections: Sequence[Section] = SECTIONS) -> str:
    """The page as HTML. Figures and tables for files beside it go into ``given.files``."""
    environment = Environment(
        loader=FileSystemLoader([FOLDER, FOLDER / "sections"]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_keep_percent,
    )
    environment.filters["prose"] = prose
    parts = []
    for module in sections:
        built = module.build(given)
        if built is not None:
            name = module.__name__.rpartition(".")[2]
            template = environment.from_string(Path(str(module.__file__)).with_suffix(".html").read_text("utf-8"))
            parts.append({"name": name, "title": module.TITLE, "html": Markup(template.render(section=built))})
    return environment.get_template("page.html").render(
        title=given.collected.params.report.title,
        protocol=given.collected.params.data.protocol,
        header=header.build(given),
        parts=parts,
        footer=footer.build(given),
        style=PALETTE + FIGURE_STYLE + _asset("style.css"),
        script=_asset("script.js"),
    )


def headline(given: Given) -> dict[str, Any]:
    """The numbers of metrics/report.json: fused accuracy, and every feature kind on every group, with intervals."""
    judge, test, found = given.judge, given.test, dict[str, Any]()
    if test is not None:
        right = correct(test)
        found["fused"] = judge.accuracy(right, test.clip_ids).to_json() | {"chance": 1 / test.logits.shape[1]}
        found["fused_class_mean"] = judge.class_mean(right, test.labels, test.clip_ids).to_json()
    features = _features_in_numbers(given.compared)
    return found | ({"features": features} if features else {})


def _features_in_numbers(compared: Mapping[str, tuple[Group, list[Variant]]]) -> dict[str, dict[str, Any]]:
    """Group of clips -> kind of features -> its accuracies and its gain over the 2-D pose."""
    found: dict[str, dict[str, Any]] = {}
    for key, (_, rows) in compared.items():
        for row in rows:
            entry: dict[str, Any] = {"accuracy": row.accuracy.to_json()}
            if row.two_way is not None:
                entry["two_way"] = row.two_way.to_json()
            if row.against is not None:
                entry["gain"] = row.against.difference.to_json() | {
                    "p_value": row.against.p_value,
                    "q_value": row.against.q_value,
                }
            found.setdefault(key, {})[row.name] = entry
    return found


def _write_plots(collected: Collected, test: Scores | None, out: Path) -> None:
    """confusion.csv (actual, predicted) and per_class.json, for `dvc plots`; empty without a scored test split."""
    out.mkdir(parents=True, exist_ok=True)
    names = collected.clips.class_names if collected.clips is not None else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["actual", "predicted"])
    per_class: list[dict[str, Any]] = []
    if test is not None and names:
        guesses = test.logits.argmax(1)
        writer.writerows([names[int(t)], names[int(p)]] for t, p in zip(test.labels, guesses, strict=True))
        for label in np.unique(test.labels):
            own = test.labels == label
            accuracy = float((guesses[own] == label).mean())
            per_class.append({"class": names[int(label)], "accuracy": accuracy, "clips": int(own.sum())})
    (out / "confusion.csv").write_text(buffer.getvalue(), encoding="utf-8")
    write_json(out / "per_class.json", per_class)


def _keep_percent(value: Any) -> Any:
    """Keeps a number and its percent sign on one line; markup is not changed."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


def prose(text: str) -> Markup:
    """Text with parts in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_keep_percent(text)))))


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
