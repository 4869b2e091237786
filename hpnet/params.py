"""The parameters of a project: the sections of all rooms; reading and checking params.yaml.

An unknown key is an error with its dotted name and the nearest valid name, so a typo never runs with a default. Device,
precision, workers and engine are not parameters but options of the commands, because another machine must not make
stages stale.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from .artifacts.yaml_text import MOST_YAML_BYTES, parse_yaml
from .core.reading import read_text, short
from .core.section import Section
from .core.streams import MULTIMODAL
from .data.params import DataParams
from .detect.params import DetectParams
from .estimate.params import EstimateParams
from .events.params import EventsParams
from .fuse.params import FuseParams
from .pool.params import PoolParams
from .report.params import ReportParams
from .train.params import CompareParams, TrainParams

LONGEST_VALUE = 200
"""Maximum characters of a value in a message."""
LONGEST_NAME = 100
"""The same of a name."""
MOST_PROBLEMS = 20
"""Problems of a file that are explained; the others are counted."""


class Params(Section):
    """All of params.yaml."""

    data: DataParams = DataParams()
    detect: DetectParams = DetectParams()
    estimate: EstimateParams = EstimateParams()
    pool: PoolParams = PoolParams()
    train: TrainParams = TrainParams()
    fuse: FuseParams = FuseParams()
    compare: CompareParams = CompareParams()
    events: EventsParams = EventsParams()
    report: ReportParams = ReportParams()

    def run_by(self, backend: str) -> Params:
        """These parameters with another backend of detector and pose network.

        Raises:
            ValueError: an unknown backend, or one that does not compute what they ask for.
        """
        sections = {"detect": self.detect, "estimate": self.estimate}
        updated = {name: {**section.model_dump(), "backend": backend} for name, section in sections.items()}
        try:
            return self.model_copy(
                update={name: type(sections[name]).model_validate(values) for name, values in updated.items()}
            )
        except ValidationError as error:
            raise ValueError(f"backend {backend}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None

    def variant(self, name: str) -> PoolParams:
        """Section pool of a variant of the comparison.

        Its region is its own, not pool.region. So the variants differ as their names say, and a change of pool.region
        trains no variant again.
        """
        shared = self.pool.model_dump(exclude={"region"})
        return PoolParams.model_validate({**shared, **self.compare.variants[name]})


def option_flag(name: str) -> str:
    """The option of a parameter: ``train.topology.lr`` is ``--topology-lr`` of its section's commands."""
    return "--" + "-".join(name.split(".")[1:]).replace("_", "-")


def whole_flag(name: str) -> str:
    """The same of commands that take several sections apart: ``--train-topology-lr``."""
    return f"--{name.replace('.', '-').replace('_', '-')}"


def validate(
    raw: dict[str, Any],
    source: str = "params.yaml",
    overrides: Mapping[str, Any] | None = None,
    flag: Callable[[str], str] = option_flag,
) -> Params:
    """Check a nested dict of parameters with ``overrides`` (dotted name -> value) from the command line.

    Args:
        source: name of the place of values that are not overrides, for messages.
        flag: what it names as the place of one: dotted name -> option.

    Raises:
        ValueError: one line per problem, each with its place, the dotted name, the value and, for an unknown name, the
            nearest valid one.
    """
    given = overrides or {}
    for name, value in given.items():
        raw = _assigned(raw, name.split("."), value)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
        lines = [_explain(item, source, given, flag) for item in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            lines.append(f"{source}: {len(problems) - MOST_PROBLEMS:,} more problems of this kind")
        raise ValueError("\n".join(lines)) from None


def load_params(
    path: str | Path = "params.yaml",
    overrides: Mapping[str, Any] | None = None,
    flag: Callable[[str], str] = option_flag,
) -> Params:
    """Read params.yaml and apply ``overrides``, see :func:`validate`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML, gives a key twice, holds more than
            :data:`hpnet.artifacts.yaml_text.MOST_VALUES` values, or a parameter is unknown or out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run in a project folder, or make one with `hpnet init DIR`")
    raw = parse_yaml(read_text(path, MOST_YAML_BYTES), str(path)) or {}
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold sections (data:, detect:, ...), not a {type(raw).__name__}")
    return validate(raw, str(path), overrides, flag)


def dotted_names(model: type[BaseModel] = Params, prefix: str = "") -> list[str]:
    """Every valid dotted parameter name, sections included."""
    names: list[str] = []
    for key, field in model.model_fields.items():
        names.append(prefix + key)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += dotted_names(field.annotation, f"{prefix}{key}.")
    return names


def _assigned(raw: dict[str, Any], name: list[str], value: Any) -> dict[str, Any]:
    """``raw`` with a value at a path; unchanged if a part of the path is not a section, which is refused later."""
    key, *rest = name
    if not rest:
        return {**raw, key: value}
    section = {} if raw.get(key) is None else raw[key]
    return {**raw, key: _assigned(section, rest, value)} if isinstance(section, dict) else raw


def _explain(item: Any, source: str, overrides: Collection[str], flag: Callable[[str], str]) -> str:
    name = short(".".join(str(part) for part in item["loc"]), LONGEST_NAME)
    if item["type"] == "extra_forbidden":
        if f"{name}.".startswith("train.hpnet."):
            return f"{source}: {name!r} is called {name.replace('hpnet', MULTIMODAL, 1)!r} now: rename it there"
        near = difflib.get_close_matches(name, dotted_names(), n=1, cutoff=0.5)
        return f"{source}: unknown parameter {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "model_type":
        message = "expected a section, a line `name: value` for each of its parameters"
    place = next((flag(given) for given in overrides if f"{name}.".startswith(f"{given}.")), source)
    value = repr(item["input"])
    if len(value) > LONGEST_VALUE:
        value = f"{value[:LONGEST_VALUE]}..."
    return f"{place}: {name} = {value}: {message[0].lower()}{message[1:]}"
