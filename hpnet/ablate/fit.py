"""A table of the paper in a project: which parameters its rows have there, or why a row cannot be run.

A row sets a few parameters; all others are those of the project. This module adds what else a row needs, such as cached
maps of the pose network. Protocols are only those of the project's own data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.streams import MULTIMODAL
from ..data import protocols
from ..estimate.families import NetworkSpec
from ..estimate.specs import SPECS, network_spec
from ..estimate.taps import RGB
from ..models import FITTED_NETWORKS
from ..project.dvc_yaml import lookup
from ..project.graph import Stage
from ..project.weights import lookup as weights_of
from ..weights.files import by_hand, missing
from .paper import Claim, Overrides, PaperTable, Row, measure_of

MANNEQUIN = "mannequin-"
IMPORTED_3D = ("kinect", "nw-ucla", "utd-mhad", "sbu")
"""Formats of `hpnet import` with 3-D poses."""
STAGES = ("data", "detect", "estimate", "pool")
"""Sections of params.yaml with a stage of the same name."""
PAPERS_MAP = re.compile(r"h[1-3]s[1-3]")
"""The paper's names of maps: scale and stage."""
ALL_TAPS = ("h1s3", "h2s3", "h3s3", "h2s1", "h2s2", RGB)
NETWORK = "train.topology.graph.model"
BACKBONE, BACKBONES_NAME = "ctrgcn", "CTR-GCN"
"""The paper's network for the joints, in params.yaml and in its tables."""
WINDOW = 5
"""The largest region of Table IX: one run of the pose network serves all of them."""


class NotHere(Exception):
    """A row cannot run in a project; the message says why."""


@dataclass(frozen=True)
class Setup:
    """The properties of a project that the tables depend on.

    Attributes:
        params: nested, with every default filled in.
        stages: of its dvc.yaml.
    """

    params: Mapping[str, Any]
    stages: Mapping[str, Stage]

    def value(self, name: str) -> Any:
        """A parameter by its dotted name; None if no stage of the project reads it."""
        section = name.split(".")[0]
        return None if section in STAGES and section not in self.stages else lookup(self.params, name)

    @property
    def imports(self) -> str:
        """The format of `hpnet import` for the features; empty in a project of videos."""
        words = self.stages["import"].cmd.split() if "import" in self.stages else []
        return words[words.index("import") + 1] if "import" in words[:-1] else ""

    @property
    def protocol(self) -> str:
        """data.protocol; empty where there is no stage data."""
        return self.value("data.protocol") or ""

    @property
    def siblings(self) -> tuple[str, ...]:
        """The protocols of the same data set, the project's own among them."""
        return protocols.siblings(self.protocol) if self.protocol else ("",)

    @property
    def mannequins(self) -> bool:
        """Whether the data set is the built-in one."""
        return self.protocol.startswith(MANNEQUIN)

    @property
    def fitted(self) -> str:
        """The project's classifier of joints where it is no graph network but fitted as a whole, for few clips."""
        model = str(lookup(self.params, NETWORK))
        return model if model in FITTED_NETWORKS else ""

    @property
    def name(self) -> str:
        """Name of the data of our numbers."""
        return "the built-in benchmark" if self.mannequins else f"this project ({self.protocol or self.imports})"


def fit(table: PaperTable, setup: Setup) -> PaperTable:
    """The table for a project: every row has its parameters, or the reason why it cannot run.

    A table of several benchmarks gets rows for the project's own protocol if the paper has none, and, with real data,
    for the other protocols of the data set. The claims are then those of the project's own rows.
    """
    rows = (*table.rows, *_rows_of_its_own(table, setup))
    fitted = tuple(_fit_row(row, setup) for row in rows)
    notes = [note.text for note in table.notes if str(setup.value(note.parameter)).startswith(note.value)]
    claims = _claims(table, rows, setup)
    if setup.fitted:
        claims = tuple(replace(claim, text=claim.text.replace(BACKBONES_NAME, setup.fitted)) for claim in claims)
    return replace(
        table,
        rows=fitted,
        claims=claims,
        differs="; ".join([*notes, *([table.differs] if table.differs else [])]),
        notes=(),
        ours=setup.name,
        protocol=setup.protocol,
    )


def _rows_of_its_own(table: PaperTable, setup: Setup) -> list[Row]:
    first = table.rows[0].benchmark
    if not first:
        return []
    printed = {_protocol(row, setup) for row in table.rows}
    names = [name for name in (setup.protocol, *setup.siblings) if name not in printed]
    if setup.mannequins:  # the paper's benchmarks stand for their other protocols
        names = [name for name in names if name == setup.protocol]
    at = table.columns.index("Benchmark")
    rows = []
    for name in dict.fromkeys(names):
        own = name == setup.protocol
        for row in table.rows:
            if row.benchmark == first:
                labels = list(row.labels)
                labels[at] = f"this project ({setup.protocol or setup.imports})" if own else name
                bound = "" if own else name
                rows.append(replace(row, labels=tuple(labels), paper=None, benchmark=bound, measure=measure_of(name)))
    return rows


def _claims(table: PaperTable, rows: tuple[Row, ...], setup: Setup) -> tuple[Claim, ...]:
    """The table's claims without other data sets; also for the project's own rows, if these are additional rows."""
    first = table.rows[0].benchmark
    if not first:
        return table.claims
    found = [_protocol(row, setup) for row in rows]
    kept = [claim for claim in table.claims if found[claim.better] is not None]
    start = found.index(setup.protocol)
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


def _protocol(row: Row, setup: Setup) -> str | None:
    """The protocol of a row in this project; None if its data set has no such protocol."""
    if not row.benchmark:
        return setup.protocol
    name = row.mannequins if setup.mannequins else row.benchmark
    return name if name in setup.siblings else None


def _fit_row(row: Row, setup: Setup) -> Row:
    try:
        settings = tuple(_setting(row, setting, setup) for setting in row.settings)
    except NotHere as reason:
        return replace(row, unavailable=str(reason))
    protocols = {setting.get("data.protocol", setup.protocol) for setting in settings}
    ours = [name for name in protocols if name != setup.protocol and setup.mannequins]
    ours += [str(setting["estimate.model"]) for setting in settings[:1] if row.head and not setup.mannequins]
    differs = f"ours: {ours[0]}" if ours else ""
    if setup.fitted and any(setting.get(NETWORK) == BACKBONE for setting in row.settings):
        differs = f"ours: {setup.fitted}, the project's classifier, in place of {BACKBONES_NAME}"
    if setup.imports and row.streams and not row.poses:
        differs = f"the features that `hpnet import {setup.imports}` brings in instead of pooled ones"
    return replace(
        row, settings=settings, extra=row.extra or protocols != {setup.protocol}, differs=row.differs or differs
    )


def _setting(row: Row, setting: Overrides, setup: Setup) -> dict[str, Any]:
    """A setting of a row with everything it needs in this project.

    Raises:
        NotHere: the project cannot run it.
    """
    found = dict(setting)
    protocol = _protocol(row, setup)
    if protocol is None:
        data_set, preset = protocols.get(row.benchmark).data_set, protocols.siblings(row.benchmark)[0]
        raise NotHere(f"needs the videos of {data_set} (`hpnet init DIR --preset {preset}`)")
    if protocol != setup.protocol:
        found["data.protocol"] = protocol
    if row.poses and setup.imports not in IMPORTED_3D:
        subject = "the built-in benchmark" if setup.mannequins else "this project"
        raise NotHere(f"{subject} has no depth camera; `hpnet import kinect` imports real 3-D poses")
    _require_stages(row, found, setup)
    if setup.fitted and found.pop(NETWORK, BACKBONE) != BACKBONE:
        raise NotHere(
            f"this project's classifier is {setup.fitted}, for few clips, and the row compares graph networks: set "
            f"{NETWORK} to {BACKBONE}"
        )
    if "data.corruption" in found and setup.value("data.source") != "mannequin":
        raise NotHere("only rendered clips can be dark, over-exposed or occluded")
    if row.head:
        found |= _network(row.head, setup)
    if found.get("pool.kind") == "pooled" and setup.value("pool.tap") == RGB:
        found.setdefault("pool.tap", "h2s3")
    if "pool.kind" in found and "estimate" in setup.stages:
        found |= _estimate(found, setup)
    return found


def _require_stages(row: Row, setting: Overrides, setup: Setup) -> None:
    sections = [name.split(".")[0] for name in setting] + (["estimate"] if row.head else [])
    wanted = [section for section in sections if section in STAGES] + [f"train@{stream}" for stream in row.streams]
    lacking = next((name for name in wanted if name not in setup.stages), None)
    if lacking is not None:
        imports = f"this project imports its features (`hpnet import {setup.imports}`)"
        if lacking == f"train@{MULTIMODAL}" and not setup.imports:
            raise NotHere(f"this project trains no {MULTIMODAL} stream, which needs an X-CLIP of real people")
        why = f"{imports} and has" if setup.imports else "dvc.yaml has"
        raise NotHere(f"{why} no stage {lacking}")


def _network(head: str, setup: Setup) -> dict[str, Any]:
    """Overrides for the project's own network, or the same network with the other head."""
    own = network_spec(setup.value("estimate.model"))
    if own.head == head:
        return {"estimate.model": own.name}
    if own.name.startswith(MANNEQUIN):
        other = f"{MANNEQUIN}{head}"
        if not setup.mannequins:
            raise NotHere(
                f"{other} is for mannequins; with estimate.model: hrnet-w48-simcc the heads of a real network are "
                "compared (`hpnet weights list`)"
            )
    else:
        other = own.name.removesuffix("-simcc") if head == "heatmap" else f"{own.name}-simcc"
    if other not in SPECS:
        raise NotHere(f"{own.name} has no {'SimCC' if head == 'simcc' else 'heatmap'} head")
    entry = weights_of(other)
    lacking = missing(entry)
    if lacking:
        how = f"`hpnet weights fetch {other}`, or " if lacking[0].url else ""
        raise NotHere(f"weights of {other} are missing: {how}{by_hand(entry, lacking[0])}")
    return {"estimate.model": other, "estimate.weights": None}


def _estimate(setting: Overrides, setup: Setup) -> dict[str, Any]:
    """What the pose network must cache for a row, in addition to the project's caches.

    Raises:
        NotHere: it has no such map or vectors.
    """

    def wanted(name: str) -> Any:
        return setting.get(name, setup.value(name))

    spec, kind, tap = network_spec(wanted("estimate.model")), wanted("pool.kind"), wanted("pool.tap")
    if kind in ("pose2d", "xy"):
        return {}
    if kind == "simcc":
        if spec.head != "simcc":
            raise NotHere(f"{spec.name} gives heatmaps and no coordinate vectors")
        return {} if setup.value("estimate.vectors") else _every_map(spec, setup)
    lacking = next((part for part in tap.split("+") if not _has(spec, part)), None)
    if lacking is not None:
        papers = [alias for alias in spec.aliases if PAPERS_MAP.fullmatch(alias)]
        raise NotHere(f"{spec.name} has no map {lacking}; it has {', '.join(papers or spec.aliases)}")
    if not set(tap.split("+")) <= set(setup.value("estimate.taps")):
        return _every_map(spec, setup)
    region = wanted("pool.region")
    return {"estimate.window": max(region, WINDOW)} if region > setup.value("estimate.window") else {}


def _has(spec: NetworkSpec, tap: str) -> bool:
    """Whether a network may have a map, in a crop of any width; a module path is believed."""
    name = tap.partition("@")[0]
    return "." in name or name == RGB or name in spec.aliases


def _every_map(spec: NetworkSpec, setup: Setup) -> dict[str, Any]:
    """One run of the pose network for all tables that need another map, with windows of the project's region."""
    taps = [tap for tap in ALL_TAPS if tap == RGB or tap in spec.aliases]
    taps += [tap for tap in setup.value("pool.tap").split("+") if tap not in taps and _has(spec, tap)]
    window = setup.value("pool.region")
    return {"estimate.taps": taps, "estimate.window": window, "estimate.vectors": spec.head == "simcc"}
