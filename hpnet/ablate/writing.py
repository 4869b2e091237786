"""Scores of experiments -> the table, with the paper's numbers beside ours, and what became of its claims."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from ..artifacts.scores import Scores
from ..core.statistics import bootstrap_interval, mcnemar, paired_bootstrap, per_class_changes
from ..fuse import fusion
from ..report.figures import FIGURE_STYLE, PALETTE, signed_points
from ..report.tables import Column, Measured, Table
from .paper import ROMAN, Overrides, PaperTable, Row
from .tables import in_ntu120

Lookup = Callable[[Overrides, int], Mapping[str, Scores]]
"""(setting, seed) -> stream -> scores; empty where that experiment has not been run."""
Bools = NDArray[np.bool_]
FISHER_TABLES = (7, 8)
SIGNIFICANCE = 0.05
"""A claim is judged by its bootstrap interval over clips and by a second test: McNemar's with one seed, Welch's t of
the seeds' accuracies with several; rows of which one has a single seed are compared on that one. Both must agree."""


@dataclass(frozen=True)
class Outcome:
    """A row's test clips.

    Attributes:
        clip_ids: N, with the number of the setting before it where a row has several.
        labels: (N,).
        right: (S, N) whether each seed's best class is the clip's own.
        seeds: S of them.
    """

    clip_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    right: Bools
    seeds: tuple[int, ...]

    @property
    def share(self) -> NDArray[np.float64]:
        """(N,) share of the seeds that are right."""
        return np.asarray(self.right.mean(0), dtype=np.float64)

    def of_seeds(self, seeds: Collection[int]) -> Outcome:
        """Of some of the seeds alone."""
        kept = [at for at, seed in enumerate(self.seeds) if seed in seeds]
        return replace(self, right=self.right[kept], seeds=tuple(self.seeds[at] for at in kept))


@dataclass(frozen=True)
class Written:
    """A table as it was written: its rows with our numbers, and the verdicts on its claims."""

    table: Table
    verdicts: tuple[tuple[str, str, str], ...]
    done: int
    wanted: int


def outcome(row: Row, scores_of: Lookup, seeds: Sequence[int], protocol: str = "") -> Outcome | None:
    """What a row's streams, fused where there are several, make of the test clips; None unless all settings ran.

    Seeds that did not run in every setting are left out.
    """
    whole = [seed for seed in seeds if all(set(row.streams) <= set(scores_of(s, seed)) for s in row.settings)]
    if not whole or row.unavailable:
        return None
    ids: list[str] = []
    labels: list[NDArray[np.int64]] = []
    columns: list[Bools] = []
    for number, setting in enumerate(row.settings):
        rights = []
        for seed in whole:
            named = str(setting.get("data.protocol", protocol))
            scores = _joined({name: scores_of(setting, seed)[name] for name in row.streams}, named)
            rights.append(np.asarray(scores.logits.argmax(1) == scores.labels, dtype=bool))
        prefix = f"{number}:" if len(row.settings) > 1 else ""
        ids += [prefix + clip for clip in scores.clip_ids]
        labels.append(scores.labels)
        columns.append(np.stack(rights))
    return Outcome(tuple(ids), np.concatenate(labels), np.concatenate(columns, axis=1), tuple(whole))


def _joined(streams: Mapping[str, Scores], protocol: str) -> Scores:
    """The labelled test clips by clip_id, of one stream or of several fused with weights from validation.

    Args:
        protocol: of the clips; without validation clips it names the released weights.
    """
    scores = fusion.fuse(streams, protocol=protocol).scores if len(streams) > 1 else next(iter(streams.values()))
    test = scores.split("test")
    rows = [row for row in np.argsort(np.array(test.clip_ids)) if test.labels[row] >= 0]
    return Scores(
        tuple(test.clip_ids[row] for row in rows), ("test",) * len(rows), test.labels[rows], test.logits[rows]
    )


def measured(row: Row, found: Outcome, resamples: int, seed: int) -> Measured:
    """Our number with its interval, resampling clips; the mean over seeds."""
    labels = found.labels if row.measure == "mean_class" else None
    interval = bootstrap_interval(found.share, labels, resamples=resamples, seed=seed)
    return Measured(interval.value, interval.low, interval.high, len(found.clip_ids))


def accuracy_table(
    paper: PaperTable,
    scores_of: Lookup,
    seeds: Sequence[int],
    resamples: int,
    seed: int,
    everything: bool,
    fisher_of: Callable[[Overrides, int], float | None] = lambda setting, seed: None,
) -> Written:
    """A row per row of the paper, with its number, ours, the number of seeds and what differs.

    Args:
        fisher_of: Fisher score of a setting's features; a column of Tables VII and VIII (Fig. 7).
    """
    found = [outcome(row, scores_of, seeds, paper.protocol) for row in paper.rows]
    rows: list[dict[str, Any]] = []
    for row, ours in zip(paper.rows, found, strict=True):
        spread = ours.right.mean(1).std(ddof=1) if ours is not None and len(ours.seeds) > 1 else None
        rows.append(
            {
                **{f"label{at}": text for at, text in enumerate(row.labels)},
                "paper": None if row.paper is None else row.paper / 100,
                "ours": None if ours is None else measured(row, ours, resamples, seed),
                "n": None if ours is None else len(ours.clip_ids),
                "seeds": None if ours is None else len(ours.seeds),
                "fisher": fisher_of(row.settings[0], seeds[0]) if paper.number in FISHER_TABLES else None,
                "spread": None if spread is None else float(spread),
                "differs": row.differs if ours is not None else row.unavailable or _why_not(row, everything),
            }
        )
    columns = (
        *(Column(f"label{at}", text) for at, text in enumerate(paper.columns)),
        Column("paper", "Paper, %", "percent"),
        Column("ours", "Ours, %", "interval", "95 % bootstrap interval, resampling clips"),
        Column("spread", "± seeds", "percent", "standard deviation between seeds, points"),
        Column("fisher", "Fisher score", "number", "of the features, on training clips, no network involved"),
        Column("n", "Clips", "count", "test clips"),
        Column("seeds", "Seeds", "count"),
        Column("differs", "What differs", "prose"),
    )
    columns = tuple(
        column
        for column in columns
        if column.key not in ("spread", "fisher") or any(row[column.key] is not None for row in rows)
    )
    verdicts = [
        (claim.text, *_verdict(found[claim.worse], found[claim.better], resamples, seed)) for claim in paper.claims
    ]
    wanted = sum(not row.unavailable for row in paper.rows)
    table = Table(paper.name, _caption(paper), columns, rows)
    return Written(table, tuple(verdicts), sum(one is not None for one in found), wanted)


def _why_not(row: Row, everything: bool) -> str:
    return "not run: asked for with --full only" if row.extra and not everything else "not run yet"


def _verdict(worse: Outcome | None, better: Outcome | None, resamples: int, seed: int) -> tuple[str, str]:
    if worse is None or better is None:
        return "not run", ""
    if set(worse.clip_ids) != set(better.clip_ids):
        return "not comparable", "the two rows were scored on different clips"
    place = {clip: at for at, clip in enumerate(better.clip_ids)}
    order = [place[clip] for clip in worse.clip_ids]
    if min(len(worse.seeds), len(better.seeds)) == 1:  # one training says nothing of the spread between trainings
        common = set(worse.seeds) & set(better.seeds)
        if not common:
            return "not comparable", "the two rows have no seed in common"
        alone = f" of seed {min(common)} alone" if len(worse.seeds) != len(better.seeds) else ""
        worse, better = worse.of_seeds(common), better.of_seeds(common)
    else:
        alone = ""
    found = paired_bootstrap(worse.share, better.share[order], resamples=resamples, seed=seed)
    numbers = f"{signed_points(found.value)} points ({signed_points(found.low)} to {signed_points(found.high)}){alone}"
    sure = True
    if len(worse.seeds) == 1:
        test = mcnemar(worse.right[0], better.right[0][order])
        numbers += f", McNemar {_p(test.p_value)}"
        sure = test.p_value < SIGNIFICANCE
    else:  # clips alone do not know that trainings differ
        p_value = float(ttest_ind(better.right.mean(1), worse.right.mean(1), equal_var=False).pvalue)
        p_value = 1.0 if np.isnan(p_value) else p_value  # all seeds alike, both ways
        numbers += f", Welch's t between seeds {_p(p_value)}"
        sure = p_value < SIGNIFICANCE
    if sure and found.low > 0:
        return "held", numbers
    if sure and found.high < 0:
        return "the opposite", numbers
    return "cannot be told from chance", numbers


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"  # as the tables of the report write it


def _caption(paper: PaperTable) -> str:
    differs = f" {paper.differs[:1].upper()}{paper.differs[1:]}." if paper.differs else ""
    return (
        f"Table {paper.roman}: {paper.title}. Paper: top-1 on NTU RGB+D 120 X-Sub unless a row says otherwise; ours: "
        f"{paper.ours}.{differs}"
    )


def classes_table(
    paper: PaperTable, scores_of: Lookup, seeds: Sequence[int], class_names: Sequence[str]
) -> Written | None:
    """Table V: per action, 2-D pose and pooled features, with tests corrected for the number of actions; one seed."""
    pair = [outcome(row, scores_of, seeds[:1], paper.protocol) for row in paper.rows]
    if pair[0] is None or pair[1] is None:
        return None
    changes = per_class_changes(pair[0].right[0], pair[1].right[0], pair[0].labels, class_names)
    rows = []
    for change in changes.to_dict("records"):
        printed = in_ntu120(str(change["name"]))
        rows.append(
            {
                **{str(key): value for key, value in change.items()},
                "same": None if printed is None else printed[0],
                "paper_first": None if printed is None else printed[1] / 100,
                "paper_second": None if printed is None else printed[2] / 100,
            }
        )
    columns = (
        Column("name", "Action"),
        Column("first", "2-D pose, %", "percent"),
        Column("second", "Pooled, %", "percent"),
        Column("change", "Gain", "points"),
        Column("p_value", "p", "p", "exact McNemar test"),
        Column("q_value", "q", "p", "Benjamini-Hochberg over the actions"),
        Column("clips", "Clips", "count"),
        Column("same", "In NTU 120"),
        Column("paper_first", "Paper: 2-D pose, %", "percent"),
        Column("paper_second", "Paper: pooled, %", "percent"),
    )
    better = sum(row["change"] > 0 for row in rows)
    sure = sum(row["change"] > 0 and row["q_value"] < 0.05 for row in rows)
    verdict = ("most actions gain from pooling", "held" if better > len(rows) / 2 else "did not hold",
               f"{better} of {len(rows)} gain, {sure} of them with q < 0.05")  # fmt: skip
    return Written(Table(paper.name, _caption(paper), columns, rows), (verdict,), 2, 2)


def extremes_table(
    paper: PaperTable, scores_of: Lookup, seeds: Sequence[int], class_names: Sequence[str], count: int = 10
) -> Written | None:
    """Table XVI: the ``count`` most accurate and most confused actions of one stream, and what fusing makes of them."""
    pair = [outcome(row, scores_of, seeds[:1], paper.protocol) for row in paper.rows]
    if pair[0] is None or pair[1] is None:
        return None
    changes = per_class_changes(pair[0].right[0], pair[1].right[0], pair[0].labels, class_names)
    ranked = changes.sort_values(["first", "label"], ascending=[False, True], ignore_index=True)
    count = min(count, len(ranked) // 2)
    parts = {"accurate": ranked[:count], "confused": ranked[::-1][:count]}
    rows = [
        {"part": part, **{str(key): value for key, value in row.items()}}
        for part, chosen in parts.items()
        for row in chosen.to_dict("records")
    ]
    columns = (
        Column("part", "Most"),
        Column("name", "Action"),
        Column("first", "HP-Net (1s), %", "percent"),
        Column("second", "HP-Net (ms), %", "percent"),
        Column("change", "Gain", "points"),
        Column("clips", "Clips", "count"),
    )
    gain = float(parts["confused"].change.mean()) if count else 0.0
    word = "held" if gain > 0 else "did not hold"
    verdict = ("fusing helps the confused actions", word, f"{signed_points(gain)} points on average")
    return Written(Table(paper.name, _caption(paper), columns, rows), (verdict,), 2, 2)


def cost_table(paper: PaperTable) -> Written:
    """Table X: parameters and operations, counted on our networks at the paper's sizes."""
    import torch

    from ..core.skeleton import COCO17
    from ..models.build import build
    from ..models.counting import count
    from .tables import TABLE10

    rows: list[dict[str, Any]] = []
    for row, (network, classes, parameters, flops) in zip(paper.rows, TABLE10, strict=True):
        channels, frames = (96, 64) if network == "ctrgcn" else (3, 48)
        with torch.device("cpu" if network == "ctrgcn" else "meta"):  # the CNNs are counted without being allocated
            model = build(
                network, in_channels=channels, num_classes=classes, num_joints=17, num_persons=2, skeleton=COCO17
            )
            cost = count(model, torch.empty(1, channels, frames, 17, 2))
        rows.append(
            {
                "method": row.labels[0],
                "backbone": row.labels[1],
                "paper_parameters": parameters,
                "parameters": cost.parameters / 1e6,
                "paper_flops": flops,
                "macs": cost.macs / 1e9,
                "flops": cost.flops / 1e9,
            }
        )
    columns = (
        Column("method", "Method"),
        Column("backbone", "Backbone"),
        Column("paper_parameters", "Paper: parameters, M", "number"),
        Column("parameters", "Ours, M", "number"),
        Column("paper_flops", "Paper: FLOPs, G", "number"),
        Column("macs", "Ours: multiply-accumulates, G", "number"),
        Column("flops", "Ours: FLOPs, G", "number"),
    )
    cheap = rows[2]["flops"] < min(rows[0]["flops"], rows[1]["flops"]) / 5
    verdict = (
        "modelling pooled features is cheaper than heatmaps",
        "held" if cheap else "did not hold",
        f"{rows[2]['flops']:.2f} GFLOPs against {rows[0]['flops']:.1f} and {rows[1]['flops']:.1f}",
    )
    return Written(Table(paper.name, _caption(paper), columns, rows), (verdict,), 3, 3)


def write_table(written: Written, folder: Path) -> list[Path]:
    """``folder``/tableN.csv, .md and .html."""
    folder.mkdir(parents=True, exist_ok=True)
    table = written.table
    texts = {
        "csv": table.to_csv(),
        "md": markdown(written),
        "html": page(written),
    }
    files = []
    for ending, text in texts.items():
        files.append(folder / f"{table.name}.{ending}")
        files[-1].write_text(text, encoding="utf-8")
    return files


def markdown(written: Written) -> str:
    """The table for a README, with its claims below."""
    table = written.table

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"

    rows = [line([column.title for column in table.columns])]
    rows.append(line(["---:" if column.numeric else "---" for column in table.columns]))
    for row in table.rows:
        rows.append(line([f"{c.text} ({c.minor})" if c.minor else c.text for c in table.cells(row)]))
    text = f"**{table.caption}**\n\n" + "\n".join(rows) + "\n"
    if written.verdicts:
        text += "\n| Claim | Here | |\n| --- | --- | --- |\n"
        text += "\n".join(line(verdict) for verdict in written.verdicts) + "\n"
    return text


def page(written: Written) -> str:
    """The table as a small page of its own."""
    table = written.table
    heads = "".join(f"<th{_class(column)}>{escape(column.title)}</th>" for column in table.columns)
    rows = []
    for row in table.rows:
        cells = [
            f"<td{_class(column)}>{escape(cell.text)}{f' <small>{escape(cell.minor)}</small>' if cell.minor else ''}"
            "</td>"
            for column, cell in zip(table.columns, table.cells(row), strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    claims = "".join(
        f"<li>{escape(text)}: <b>{escape(word)}</b>{f', {escape(numbers)}' if numbers else ''}</li>"
        for text, word, numbers in written.verdicts
    )
    style = (
        "body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:2rem auto;"
        "max-width:70rem;padding:0 1rem}div{overflow-x:auto}table{border-collapse:collapse}caption{text-align:left;"
        "padding-bottom:.6rem;max-width:44rem}th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid "
        "var(--rule);vertical-align:baseline}.num{text-align:right}small,caption{color:var(--muted)}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(table.name)}</title><style>{PALETTE}{FIGURE_STYLE}{style}</style></head><body>"
        f'<div tabindex="0"><table><caption>{escape(table.caption)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>{f'<ul>{claims}</ul>' if claims else ''}</body></html>\n"
    )


def _class(column: Column) -> str:
    return ' class="num"' if column.numeric else ""


def write_claims(verdicts: Mapping[str, Sequence[tuple[str, str, str]]], folder: Path) -> None:
    """``folder``/claims.csv and claims.md: the verdicts (roman number -> them), and those of earlier tables."""
    file = folder / "claims.csv"
    rows: list[tuple[str, ...]] = []
    if file.is_file():
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [tuple(row) for row in list(csv.reader(stream))[1:] if row[0] not in verdicts]
    rows += [(roman, *verdict) for roman, found in verdicts.items() for verdict in found]
    order = list(ROMAN.values())
    rows.sort(key=lambda row: order.index(row[0]))  # a stable sort: claims keep their order within a table
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([("table", "claim", "here", "numbers"), *rows])
    lines = ["| Table | Claim | Here | |", "| --- | --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    (folder / "claims.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
