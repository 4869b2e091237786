"""Scores of experiments -> the table, with the paper's numbers beside ours, and verdicts on its claims."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from ..artifacts.scores import Scores
from ..core.statistics import benjamini_hochberg, bootstrap_interval, paired_difference, per_class_changes
from ..core.units import UNKNOWN, Units
from ..fuse import fusion
from ..report.figures import FIGURE_STYLE, PALETTE, signed_points
from ..report.results import SIGNIFICANCE
from ..report.tables import Column, Measured, Table
from ..work.console import note
from .paper import ROMAN, Overrides, PaperTable, Row
from .tables import in_ntu120

Lookup = Callable[[Overrides, int], Mapping[str, Scores]]
"""(setting, seed) -> stream -> scores; empty where that experiment has not been run."""
UnitsLookup = Callable[[Overrides, int], Units]
"""(setting, seed) -> what its intervals resample."""
Bools = NDArray[np.bool_]
FISHER_TABLES = (7, 8)
TOGETHER = "Which differences are significant is decided for the claims of all tables together:"
CLAIM_COLUMNS = ("table", "claim", "here", "numbers", "difference", "p", "q", "over")


@dataclass(frozen=True)
class Outcome:
    """A row's test clips.

    Attributes:
        clip_ids: N, with the number of the setting before it where a row has several.
        labels: (N,).
        right: (S, N) whether each seed's best class is the clip's own.
        seeds: S of them.
        groups: (N,) the independent unit of each clip; a clip has the same one in every setting.
        units: what these are.
    """

    clip_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    right: Bools
    seeds: tuple[int, ...]
    groups: NDArray[np.int64]
    units: Units

    @property
    def share(self) -> NDArray[np.float64]:
        """(N,) share of the seeds that are right."""
        return np.asarray(self.right.mean(0), dtype=np.float64)

    def of_seeds(self, seeds: Collection[int]) -> Outcome:
        """Of some of the seeds alone."""
        kept = [at for at, seed in enumerate(self.seeds) if seed in seeds]
        return replace(self, right=self.right[kept], seeds=tuple(self.seeds[at] for at in kept))


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        claim: of the paper.
        numbers: ours.
        word: 'held', 'not run' and so on, of a claim that no test decides; empty of one that is judged with all others
            together (:func:`write_claims`).
        difference: second row minus first.
        p_value: of the test over the units. With several seeds the larger of that and of Welch's t between the seeds'
            accuracies, since both must agree: clips do not know that trainings differ.
        over: what the interval and the test resample: '108 performances'; empty without a test.
    """

    claim: str
    numbers: str
    word: str = ""
    difference: float = 0.0
    p_value: float | None = None
    over: str = ""

    @property
    def text(self) -> str:
        """What a table says of it by itself."""
        return ": ".join(part for part in (self.word, self.numbers) if part)


@dataclass(frozen=True)
class Written:
    """A table as it was written: its rows with our numbers, and what is known of its claims."""

    table: Table
    verdicts: tuple[Verdict, ...]
    done: int
    wanted: int


def outcome(
    row: Row,
    scores_of: Lookup,
    seeds: Sequence[int],
    protocol: str = "",
    units_of: UnitsLookup = lambda setting, seed: UNKNOWN,
) -> Outcome | None:
    """Predictions of a row's streams (fused, if several) on the test clips; None unless all settings ran.

    Seeds that did not run in every setting are left out.
    """
    whole = [seed for seed in seeds if all(set(row.streams) <= set(scores_of(s, seed)) for s in row.settings)]
    if not whole or row.unavailable:
        return None
    units = units_of(row.settings[0], whole[0])
    ids: list[str] = []
    bare: list[str] = []
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
        bare += scores.clip_ids
        labels.append(scores.labels)
        columns.append(np.stack(rights))
    known = {clip: at for at, clip in enumerate(dict.fromkeys(bare))}
    groups = units.numbers(tuple(known))[[known[clip] for clip in bare]]
    return Outcome(tuple(ids), np.concatenate(labels), np.concatenate(columns, axis=1), tuple(whole), groups, units)


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
    """Our number with its interval, resampling units; the mean over seeds."""
    labels = found.labels if row.measure == "mean_class" else None
    interval = bootstrap_interval(found.share, labels, found.groups, resamples, seed)
    over = found.units.counted(interval.units)
    return Measured(interval.value, interval.low, interval.high, len(found.clip_ids), over)


def accuracy_table(
    paper: PaperTable,
    scores_of: Lookup,
    seeds: Sequence[int],
    resamples: int,
    seed: int,
    everything: bool,
    fisher_of: Callable[[Overrides, int], float | None] = lambda setting, seed: None,
    units_of: UnitsLookup = lambda setting, seed: UNKNOWN,
) -> Written:
    """A row per row of the paper, with its number, ours, the number of seeds and what differs.

    Args:
        fisher_of: Fisher score of a setting's features; a column of Tables VII and VIII (Fig. 7).
        units_of: what a setting's intervals resample.
    """
    found = [outcome(row, scores_of, seeds, paper.protocol, units_of) for row in paper.rows]
    rows: list[dict[str, Any]] = []
    for row, ours in zip(paper.rows, found, strict=True):
        spread = ours.right.mean(1).std(ddof=1) if ours is not None and len(ours.seeds) > 1 else None
        number = None if ours is None else measured(row, ours, resamples, seed)
        rows.append(
            {
                **{f"label{at}": text for at, text in enumerate(row.labels)},
                "paper": None if row.paper is None else row.paper / 100,
                "ours": number,
                "over": None if number is None else number.over,
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
        Column("ours", "Ours, % (95 % interval)", "interval", "bootstrap"),
        Column("over", "Interval over", "text", "what is resampled as one"),
        Column("spread", "± seeds", "percent", "standard deviation between seeds, points"),
        Column("fisher", "Fisher score", "number", "of the features, on training clips, without a network"),
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
        _verdict(claim.text, found[claim.worse], found[claim.better], resamples, seed) for claim in paper.claims
    ]
    wanted = sum(not row.unavailable for row in paper.rows)
    table = Table(paper.name, _caption(paper), columns, rows)
    return Written(table, tuple(verdicts), sum(one is not None for one in found), wanted)


def _why_not(row: Row, everything: bool) -> str:
    return "not run: needs --full" if row.extra and not everything else "not run yet"


def _verdict(claim: str, worse: Outcome | None, better: Outcome | None, resamples: int, seed: int) -> Verdict:
    if worse is None or better is None:
        return Verdict(claim, "", "not run")
    if set(worse.clip_ids) != set(better.clip_ids):
        return Verdict(claim, "the two rows were scored on different clips", "not comparable")
    place = {clip: at for at, clip in enumerate(better.clip_ids)}
    order = [place[clip] for clip in worse.clip_ids]
    alone = ""
    if min(len(worse.seeds), len(better.seeds)) == 1:  # one training run says nothing about the spread between runs
        common = set(worse.seeds) & set(better.seeds)
        if not common:
            return Verdict(claim, "the two rows have no seed in common", "not comparable")
        alone = f" of seed {min(common)} only" if len(worse.seeds) != len(better.seeds) else ""
        worse, better = worse.of_seeds(common), better.of_seeds(common)
    scale = math.lcm(len(worse.seeds), len(better.seeds))
    found = paired_difference(worse.share, better.share[order], None, worse.groups, resamples, seed, scale)
    change, over = found.difference, worse.units.counted(found.difference.units)
    measure = Measured(change.value, change.low, change.high, len(order), over)
    numbers = f"{signed_points(change.value)} points ({measure.named_range}){alone}, {_p(found.p_value)}"
    if len(worse.seeds) == 1:
        return Verdict(claim, numbers, "", change.value, found.p_value, over)
    between = float(ttest_ind(better.right.mean(1), worse.right.mean(1), equal_var=False).pvalue)
    between = 1.0 if np.isnan(between) else between  # all seeds are equal in both rows
    numbers += f", Welch's t between seeds {_p(between)}"
    return Verdict(claim, numbers, "", change.value, max(found.p_value, between), over)


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"  # as the tables of the report write it


def _caption(paper: PaperTable) -> str:
    differs = f" {paper.differs[:1].upper()}{paper.differs[1:]}." if paper.differs else ""
    return (
        f"Table {paper.roman}: {paper.title}. Paper: top-1 on NTU RGB+D 120 X-Sub unless a row says otherwise; ours: "
        f"{paper.ours}.{differs}"
    )


def classes_table(
    paper: PaperTable,
    scores_of: Lookup,
    seeds: Sequence[int],
    class_names: Sequence[str],
    units_of: UnitsLookup = lambda setting, seed: UNKNOWN,
) -> Written | None:
    """Table V: per action, both forms of 2-D pose and pooled features, with tests corrected for the number of actions;
    one seed."""
    found = [outcome(row, scores_of, seeds[:1], paper.protocol, units_of) for row in paper.rows]
    raw, scored, pooled = found
    if raw is None or scored is None or pooled is None:
        return None
    units = pooled.units.plural
    changes = per_class_changes(raw.right[0], pooled.right[0], raw.labels, class_names, raw.groups)
    ours = per_class_changes(scored.right[0], pooled.right[0], scored.labels, class_names, scored.groups)
    with_score = dict(zip(ours["label"], ours["first"], strict=True))
    rows = []
    for change in changes.to_dict("records"):
        printed = in_ntu120(str(change["name"]))
        rows.append(
            {
                **{str(key): value for key, value in change.items()},
                "with_score": with_score[change["label"]],
                "same": None if printed is None else printed[0],
                "paper_first": None if printed is None else printed[1] / 100,
                "paper_second": None if printed is None else printed[2] / 100,
            }
        )
    columns = (
        Column("name", "Action"),
        Column("first", "2-D pose, %", "percent"),
        Column("with_score", "2-D pose with score, %", "percent", "centred and scaled"),
        Column("second", "Pooled, %", "percent"),
        Column("change", "Gain", "points", "over 2-D pose, x and y alone"),
        Column("p_value", f"p, over {units}", "p", "sign-flip permutation test"),
        Column("q_value", "q", "p", "Benjamini-Hochberg over the actions"),
        Column("clips", "Clips", "count"),
        Column("same", "In NTU 120"),
        Column("paper_first", "Paper: 2-D pose, %", "percent"),
        Column("paper_second", "Paper: pooled, %", "percent"),
    )
    verdicts = (
        _most_gain("most actions gain from pooling", changes),
        _most_gain("most actions gain from pooling, over 2-D pose with score", ours),
    )
    return Written(Table(paper.name, _caption(paper), columns, rows), verdicts, len(found), len(found))


def _most_gain(text: str, changes: pd.DataFrame) -> Verdict:
    gains = changes.change > 0
    better, sure = int(gains.sum()), int((gains & (changes.q_value < SIGNIFICANCE)).sum())
    numbers = f"{better} of {len(changes)} gain, {sure} of them with q < 0.05"
    return Verdict(text, numbers, "held" if better > len(changes) / 2 else "did not hold")


def extremes_table(
    paper: PaperTable, scores_of: Lookup, seeds: Sequence[int], class_names: Sequence[str], count: int = 10
) -> Written | None:
    """Table XVI: the ``count`` most accurate and most confused actions of one stream, before and after fusion."""
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
    verdict = Verdict("fusion helps the confused actions", f"{signed_points(gain)} points on average", word)
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
    verdict = Verdict(
        "modelling pooled features is cheaper than heatmaps",
        f"{rows[2]['flops']:.2f} GFLOPs against {rows[0]['flops']:.1f} and {rows[1]['flops']:.1f}",
        "held" if cheap else "did not hold",
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
        text += "\n| Claim | Here |\n| --- | --- |\n"
        text += "\n".join(line([verdict.claim, verdict.text]) for verdict in written.verdicts) + "\n"
        text += f"\n{TOGETHER} [claims.md](claims.md).\n" if _tested(written) else ""
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
    claims = "".join(f"<li>{escape(verdict.claim)}: {escape(verdict.text)}</li>" for verdict in written.verdicts)
    claims = f"<ul>{claims}</ul>" if claims else ""
    claims += f"<p>{TOGETHER} claims.md.</p>" if _tested(written) else ""
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
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>{claims}</body></html>\n"
    )


def _class(column: Column) -> str:
    return ' class="num"' if column.numeric else ""


def _tested(written: Written) -> bool:
    return any(verdict.p_value is not None for verdict in written.verdicts)


def write_claims(verdicts: Mapping[str, Sequence[Verdict]], folder: Path) -> list[dict[str, str]]:
    """``folder``/claims.csv and claims.md: the claims of these tables (roman number -> them) and of earlier ones.

    All that have a test are corrected together (Benjamini-Hochberg): a claim *held* where q is below
    :data:`~hpnet.report.results.SIGNIFICANCE` and the difference above zero, is *the opposite* where it is below zero,
    and *not significant* otherwise.

    Returns:
        The rows of claims.csv.
    """
    file = folder / "claims.csv"
    rows = [row for row in _earlier_claims(file) if row["table"] not in verdicts]
    for roman, found in verdicts.items():
        for one in found:
            p = "" if one.p_value is None else f"{one.p_value:.6g}"
            texts = (roman, one.claim, one.word, one.numbers, f"{one.difference:.6f}" if p else "", p, "", one.over)
            rows.append(dict(zip(CLAIM_COLUMNS, texts, strict=True)))
    order = list(ROMAN.values())
    rows.sort(key=lambda row: order.index(row["table"]))  # a stable sort: claims keep their order within a table
    tested = [row for row in rows if row["p"]]
    for row, q in zip(tested, benjamini_hochberg([float(row["p"]) for row in tested]), strict=True):
        row["q"] = f"{q:.6g}"
        direction = "held" if float(row["difference"]) > 0 else "the opposite"
        row["here"] = direction if q < SIGNIFICANCE else "not significant"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, CLAIM_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "claims.md").write_text(_claims_markdown(rows, len(tested)), encoding="utf-8")
    return rows


def _earlier_claims(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) == CLAIM_COLUMNS:
            return list(reader)
    note(f"note: {file} is of an earlier hpnet, with other columns: its claims are left out; make those tables again")
    return []


def _claims_markdown(rows: Sequence[Mapping[str, str]], tested: int) -> str:
    lines = ["| Table | Claim | Here | | q |", "| --- | --- | --- | --- | ---: |"]
    for row in rows:
        q = _p(float(row["q"])).removeprefix("p ").removeprefix("= ") if row["q"] else ""
        lines.append(f"| {row['table']} | {row['claim']} | {row['here']} | {row['numbers']} | {q} |")
    resampled = Counter(row["over"] for row in rows if row["over"])
    units = "".join(f"{'; ' if at else ' Resampled: '}{over} in {n}" for at, (over, n) in enumerate(resampled.items()))
    return "\n".join(lines) + (
        f"\n\nq: p corrected for the {tested} tests of this table (Benjamini-Hochberg).{units}{'.' if units else ''}\n"
    )
