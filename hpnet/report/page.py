"""The page: one self-contained HTML file, and its figures, tables, plots and headline numbers as files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from ..artifacts.files import write_json
from ..artifacts.scores import Scores
from .accuracy import accuracy_section
from .against import Other, against_section
from .calibration import calibration_section
from .collect import Project
from .comparison import claims_section, compare_section, fisher_section, gains_section
from .confusions import confusion_section
from .costs import cost_section
from .curves import training_section
from .drawn import examples_section
from .embedding import embedding_section
from .examples import FullMaps
from .failures import failures_section
from .figures import (
    FIGURE_STYLE,
    PALETTE,
)
from .output import Files
from .overview import (
    answer_section,
    facts_section,
    flow_section,
    footer_section,
    keys_section,
    method_section,
    missing_section,
)
from .previews import browser_section
from .results import (
    Group,
    Judge,
    Variant,
    compare_variants,
    correct,
    evaluated,
)

CONTENTS = (
    ("run", "What was run"),
    ("accuracy", "Accuracy"),
    ("features", "Features against pose"),
    ("classes", "Per action"),
    ("confusion", "Confusions"),
    ("clips", "Clips"),
    ("examples", "Examples"),
    ("training", "Training"),
    ("cost", "Sizes and speeds"),
    ("failures", "Failures"),
    ("method", "Method"),
)


def write_report(
    project: Project,
    out: Path,
    full_maps: FullMaps | None = None,
    why_no_maps: str = "",
    other: Other | None = None,
) -> dict[str, Any]:
    """Write ``out``/index.html, figures/, tables/ and plots/; return the headline numbers for metrics/report.json.

    Args:
        project: see :func:`hpnet.report.collect.collect`. Whatever it lacks is said on the page.
        out: folder of the report.
        full_maps: gives the pose network's maps of a crop, for the examples; None where it cannot run here.
        why_no_maps: the reason, for the page.
        other: a run to show side by side with this one.
    """
    kept = Files()
    judge = Judge(project.params, project.clips)
    test = evaluated(project.fused)
    compared = compare_variants(project, judge)
    context: dict[str, Any] = {
        "title": project.params.report.title,
        "protocol": project.params.data.protocol,
        "revision": project.revision,
        "contents": CONTENTS if other is None else (CONTENTS[0], ("against", "Against another run"), *CONTENTS[1:]),
        "against": None if other is None else against_section(project, judge, other, kept),
        "answer": answer_section(project, judge, test),
        "keys": keys_section(project, judge, test, compared),
        "flow": flow_section(project),
        "facts": facts_section(project),
        "missing": missing_section(project),
        "params_yaml": yaml.safe_dump(project.params.model_dump(mode="json"), sort_keys=False),
        "accuracy": accuracy_section(project, judge, test, kept),
        "compare": compare_section(project, compared, kept),
        "gains": gains_section(project, kept),
        "fisher": fisher_section(project, kept),
        "calibration": calibration_section(project, test, kept),
        "embedding": embedding_section(project, kept),
        "claims": claims_section(project),
        "confusion": confusion_section(project, test, kept),
        "browser": browser_section(project, test),
        "examples": examples_section(project, test, kept, full_maps, why_no_maps),
        "training": training_section(project, kept),
        "cost": cost_section(project, kept),
        "failures": failures_section(project, test, kept),
        "method": method_section(project),
        "footer": footer_section(project),
        "style": PALETTE + FIGURE_STYLE + _asset("style.css"),
        "script": _asset("script.js"),
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_keep_percent)
    environment.filters["prose"] = _prose
    html = environment.from_string(_asset("template.html")).render(context)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(html, encoding="utf-8")
    kept.write(out)
    _write_plots(project, test, out / "plots")
    return headline(project, judge, test, compared)


def headline(
    project: Project, judge: Judge, test: Scores | None, compared: Mapping[str, tuple[Group, list[Variant]]]
) -> dict[str, Any]:
    """The numbers of metrics/report.json: fused accuracy with both intervals, and every feature kind on every group."""
    found: dict[str, Any] = {}
    if test is not None:
        right = correct(test)
        found["fused"] = judge.accuracy(right).to_json() | {"chance": 1 / test.logits.shape[1]}
        found["fused_class_mean"] = judge.class_mean(test).to_json()
        by_subject = judge.accuracy_by_subject(right, test.clip_ids)
        if by_subject is not None:
            found["fused_by_subject"] = by_subject.to_json()
    for key, (_, rows) in compared.items():
        for row in rows:
            entry: dict[str, Any] = {"accuracy": row.accuracy.to_json()}
            if row.two_way is not None:
                entry["two_way"] = row.two_way.to_json()
            if row.against is not None:
                entry["gain"] = row.against.difference.to_json() | {"p_value": row.against.p_value}
            found.setdefault("features", {}).setdefault(key, {})[row.name] = entry
    return found


def _write_plots(project: Project, test: Scores | None, out: Path) -> None:
    """confusion.csv (actual, predicted) and per_class.json, for `dvc plots`; empty without a scored test split."""
    out.mkdir(parents=True, exist_ok=True)
    names = project.clips.class_names if project.clips is not None else []
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
    """Keeps a number and its percent sign on one line; markup stays as it is."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


def _prose(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_keep_percent(text)))))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
