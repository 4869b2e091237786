"""A table of the paper in a project: which parameters its rows have there, or why a row cannot be run.

A row says what it is about; everything else is the project's own. What a row needs besides, such as the pose network's
maps to be cached, is added here, and protocols are those of the project's own data set alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..estimate.families import NetworkSpec
from ..estimate.specs import SPECS, network_spec
from ..estimate.taps import RGB
from ..project.weights import lookup as weights_of
from ..weights.files import by_hand, missing
from .paper import Claim, Overrides, PaperTable, Row, measure_of
from .plan import GraphStage, lookup

DATA_SETS: dict[str, tuple[str, ...]] = {
    "NTU RGB+D 60": ("ntu60-xsub", "ntu60-xview"),
    "NTU RGB+D 120": ("ntu120-xsub", "ntu120-xset"),
    "Toyota-Smarthome": ("smarthome-cs", "smarthome-cv1", "smarthome-cv2"),
    "UAV-Human": ("uav-human-v1", "uav-human-v2"),
    "the mannequins": ("mannequin-xsub", "mannequin-xview", "mannequin-xset"),
}
"""Data sets with several protocols, which one set of videos serves."""
MANNEQUIN = "mannequin-"
IMPORTED_3D = ("kinect", "nw-ucla")
"""What `hpnet import` brings 3-D poses in from."""
STAGES = ("data", "detect", "estimate", "pool")
"""Sections of params.yaml that are a stage of the same name."""
ALL_TAPS = ("h1s3", "h2s3", "h3s3", "h2s1", "h2s2", RGB)
WINDOW = 5
"""The largest region of Table IX: one run of the pose network serves all of them."""


class NotHere(Exception):
    """A row cannot be run in a project; the message says why."""


@dataclass(frozen=True)
class Project:
    """What decides how the tables look in a project.

    Attributes:
        params: nested, with every default filled in.
        stages: of its dvc.yaml.
    """

    params: Mapping[str, Any]
    stages: Mapping[str, GraphStage]

    def value(self, name: str) -> Any:
        """A parameter by its dotted name; None where the project has no stage that reads it."""
        section = name.split(".")[0]
        return None if section in STAGES and section not in self.stages else lookup(self.params, name)

    @property
    def imports(self) -> str:
        """The format that `hpnet import` brings the features in from; empty in a project of videos."""
        words = self.stages["import"].cmd.split() if "import" in self.stages else []
        return words[words.index("import") + 1] if "import" in words[:-1] else ""

    @property
    def protocol(self) -> str:
        """data.protocol; empty where there is no stage data."""
        return self.value("data.protocol") or ""

    @property
    def siblings(self) -> tuple[str, ...]:
        """The protocols of the same data set, the project's own among them."""
        return next((names for names in DATA_SETS.values() if self.protocol in names), (self.protocol,))

    @property
    def mannequins(self) -> bool:
        """Whether the data set is the built-in one."""
        return self.protocol.startswith(MANNEQUIN)

    @property
    def name(self) -> str:
        """What our numbers are of."""
        return "the built-in benchmark" if self.mannequins else f"this project ({self.protocol or self.imports})"


def fit(table: PaperTable, project: Project) -> PaperTable:
    """The table as it is in a project: every row has its parameters there, or says why it is unavailable.

    A table of several benchmarks gets rows for the project's own protocol where the paper has none of it, and, with
    real data, for the other protocols of the data set. The claims are then those of the project's own rows.
    """
    rows = (*table.rows, *_rows_of_its_own(table, project))
    fitted = tuple(_fit_row(row, project) for row in rows)
    notes = [note.text for note in table.notes if str(project.value(note.parameter)).startswith(note.value)]
    return replace(
        table,
        rows=fitted,
        claims=_claims(table, rows, project),
        differs="; ".join([*notes, *([table.differs] if table.differs else [])]),
        notes=(),
        ours=project.name,
        protocol=project.protocol,
    )


def _rows_of_its_own(table: PaperTable, project: Project) -> list[Row]:
    first = table.rows[0].benchmark
    if not first:
        return []
    printed = {_protocol(row, project) for row in table.rows}
    names = [name for name in (project.protocol, *project.siblings) if name not in printed]
    if project.mannequins:  # the paper's benchmarks stand for their other protocols
        names = [name for name in names if name == project.protocol]
    at = table.columns.index("Benchmark")
    rows = []
    for name in dict.fromkeys(names):
        own = name == project.protocol
        for row in table.rows:
            if row.benchmark == first:
                labels = list(row.labels)
                labels[at] = f"this project ({project.protocol or project.imports})" if own else name
                bound = "" if own else name
                rows.append(replace(row, labels=tuple(labels), paper=None, benchmark=bound, measure=measure_of(name)))
    return rows


def _claims(table: PaperTable, rows: tuple[Row, ...], project: Project) -> tuple[Claim, ...]:
    """The table's claims, without those on other data sets; on the project's own rows too where those are others."""
    first = table.rows[0].benchmark
    if not first:
        return table.claims
    found = [_protocol(row, project) for row in rows]
    kept = [claim for claim in table.claims if found[claim.better] is not None]
    start = found.index(project.protocol)
    if start:
        at = table.columns.index("Benchmark")
        end = next(n for n, row in enumerate(table.rows) if row.benchmark != first)
        for claim in table.claims:
            if max(claim.worse, claim.better) < end:
                text = f"{claim.text.split(' (')[0]}, {rows[start].labels[at]}"
                own = Claim(text, start + claim.worse, start + claim.better)
                known = {(one.worse, one.better) for one in kept}
                kept += [] if (own.worse, own.better) in known else [own]
    return tuple(kept)


def _protocol(row: Row, project: Project) -> str | None:
    """The protocol of a row here; None where the project's data set has none like it."""
    if not row.benchmark:
        return project.protocol
    name = row.mannequins if project.mannequins else row.benchmark
    return name if name in project.siblings else None


def _fit_row(row: Row, project: Project) -> Row:
    try:
        settings = tuple(_setting(row, setting, project) for setting in row.settings)
    except NotHere as reason:
        return replace(row, unavailable=str(reason))
    protocols = {setting.get("data.protocol", project.protocol) for setting in settings}
    ours = [name for name in protocols if name != project.protocol and project.mannequins]
    ours += [str(setting["estimate.model"]) for setting in settings[:1] if row.head and not project.mannequins]
    differs = f"ours: {ours[0]}" if ours else ""
    if project.imports and row.streams and not row.poses:
        differs = f"the features that `hpnet import {project.imports}` brings in instead of pooled ones"
    return replace(
        row, settings=settings, extra=row.extra or protocols != {project.protocol}, differs=row.differs or differs
    )


def _setting(row: Row, setting: Overrides, project: Project) -> dict[str, Any]:
    """A setting of a row with all that it needs in this project.

    Raises:
        NotHere: the project cannot run it.
    """
    found = dict(setting)
    protocol = _protocol(row, project)
    if protocol is None:
        data_set, presets = next(item for item in DATA_SETS.items() if row.benchmark in item[1])
        raise NotHere(f"needs the videos of {data_set} (`hpnet init DIR --preset {presets[0]}`)")
    if protocol != project.protocol:
        found["data.protocol"] = protocol
    if row.poses and project.imports not in IMPORTED_3D:
        subject = "the built-in benchmark" if project.mannequins else "this project"
        raise NotHere(f"{subject} has no depth camera; `hpnet import kinect` brings real 3-D poses in")
    _require_stages(row, found, project)
    if "data.corruption" in found and project.value("data.source") != "mannequin":
        raise NotHere("only clips that hpnet renders itself can be rendered dark, over-exposed or occluded")
    if row.head:
        found |= _network(row.head, project)
    if found.get("pool.kind") == "pooled" and project.value("pool.tap") == RGB:
        found.setdefault("pool.tap", "h2s3")
    if "pool.kind" in found and "estimate" in project.stages:
        found |= _estimate(found, project)
    return found


def _require_stages(row: Row, setting: Overrides, project: Project) -> None:
    sections = [name.split(".")[0] for name in setting] + (["estimate"] if row.head else [])
    wanted = [section for section in sections if section in STAGES] + [f"train@{stream}" for stream in row.streams]
    lacking = next((name for name in wanted if name not in project.stages), None)
    if lacking is not None:
        imports = f"this project imports its features (`hpnet import {project.imports}`)"
        why = f"{imports} and has" if project.imports else "dvc.yaml has"
        raise NotHere(f"{why} no stage {lacking}")


def _network(head: str, project: Project) -> dict[str, Any]:
    """Overrides for the project's own network, or the same one with the other head."""
    own = network_spec(project.value("estimate.model"))
    if own.head == head:
        return {"estimate.model": own.name}
    if own.name.startswith(MANNEQUIN):
        other = f"{MANNEQUIN}{head}"
        if not project.mannequins:
            raise NotHere(
                f"{other} is for mannequins; with estimate.model: hrnet-w48-simcc the heads of a real network are "
                "compared (`hpnet weights list`)"
            )
    else:
        other = own.name.removesuffix("-simcc") if head == "heatmap" else f"{own.name}-simcc"
    if other not in SPECS:
        raise NotHere(f"{own.name} comes with no {'SimCC' if head == 'simcc' else 'heatmap'} head")
    entry = weights_of(other)
    lacking = missing(entry)
    if lacking:
        how = f"`hpnet weights fetch {other}`, or " if lacking[0].url else ""
        raise NotHere(f"weights of {other} are missing: {how}{by_hand(entry, lacking[0])}")
    return {"estimate.model": other, "estimate.weights": None}


def _estimate(setting: Overrides, project: Project) -> dict[str, Any]:
    """What the pose network has to cache for a row beside what it caches anyway.

    Raises:
        NotHere: it has no such map or vectors.
    """

    def wanted(name: str) -> Any:
        return setting.get(name, project.value(name))

    spec, kind, tap = network_spec(wanted("estimate.model")), wanted("pool.kind"), wanted("pool.tap")
    if kind == "pose2d":
        return {}
    if kind == "simcc":
        if spec.head != "simcc":
            raise NotHere(f"{spec.name} gives heatmaps, no coordinate vectors")
        return {} if project.value("estimate.vectors") else _every_map(spec, project)
    if "." not in tap and tap != RGB and tap not in spec.aliases:
        raise NotHere(f"{spec.name} has no map {tap}; it has {', '.join(spec.aliases)}")
    if tap not in project.value("estimate.taps"):
        return _every_map(spec, project)
    region = wanted("pool.region")
    return {"estimate.window": max(region, WINDOW)} if region > project.value("estimate.window") else {}


def _every_map(spec: NetworkSpec, project: Project) -> dict[str, Any]:
    """One run of the pose network for every table that needs another map: all of them at the joints alone."""
    taps = [tap for tap in ALL_TAPS if tap == RGB or tap in spec.aliases]
    own = project.value("pool.tap")
    taps += [] if own in taps or ("." not in own and own not in spec.aliases) else [own]
    window = project.value("pool.region")
    return {"estimate.taps": taps, "estimate.window": window, "estimate.vectors": spec.head == "simcc"}
