"""YAML with bounds: params.yaml, dvc.yaml, dvc.lock.

A few lines of aliases (``*name``) or merges (``<<``) stand for more values than any project has. Such a file is quick
to read, but checking or printing it never ends. So values are counted as if aliases were written out, while they are
read.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import yaml

from ..core.reading import Damaged, decoding, read_text, require_at_most, short

MOST_YAML_BYTES = 16 << 20
MOST_VALUES = 10_000
"""Maximum number of values in a parameter file after aliases are expanded; a whole project has a hundred."""
MOST_DVC_VALUES = 400_000
"""The same of dvc.yaml and dvc.lock."""
DEEPEST_YAML = 32
LONGEST_VALUE = 200
"""Maximum characters of a number or date."""
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
"""Numbers of YAML 1.2, which DVC reads and writes, that are text in YAML 1.1, which PyYAML reads: 1e-08."""
LONGEST_KEY = 20
"""Maximum characters of a key that is no text, because longer numbers can be chosen so that a dict of them is slow."""


def read_yaml(path: Path, most_values: int = MOST_VALUES, remedy: str = "") -> dict[str, Any]:
    """The names and values of a YAML file; empty of an empty one.

    Raises:
        OSError: the file cannot be opened.
        Damaged: it is not YAML, gives a key twice, is over a bound, or holds something else.
    """
    return yaml_object(read_text(path, MOST_YAML_BYTES, remedy), str(path), most_values, remedy)


def yaml_object(text: str, source: str, most_values: int = MOST_VALUES, remedy: str = "") -> dict[str, Any]:
    """The same of a text from ``source``."""
    found = parse_yaml(text, source, most_values, remedy)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Damaged(f"{source} must hold names and values, not a {type(found).__name__}")
    return found


def parse_yaml(text: str, source: str, most_values: int = MOST_VALUES, remedy: str = "") -> Any:
    """The value of a YAML text.

    Args:
        source: what it is, for errors.

    Raises:
        Damaged: it is not YAML, gives a key twice, or is over a bound.
    """
    require_at_most(len(text), MOST_YAML_BYTES, "characters", source, remedy)
    with decoding(source, remedy, "is not valid YAML", (yaml.YAMLError,)):
        loader = _Loader(text)
        loader.most = most_values
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()


def require_lock(lock: dict[str, Any], source: str) -> dict[str, Any]:
    """A dvc.lock as it is, after its stages, deps and outs were found where they belong.

    Raises:
        Damaged: names ``source`` and what is out of place.
    """
    stages = lock.get("stages", {})
    for name, stage in stages.items() if isinstance(stages, dict) else [("stages", None)]:
        parts = [stage.get(part, []) for part in ("deps", "outs")] if isinstance(stage, dict) else [None]
        for part in parts:
            if not isinstance(part, list) or not all(
                isinstance(o, dict) and isinstance(o.get("path"), str) for o in part
            ):
                raise Damaged(f"{source}: {short(name, 80)} is not what DVC writes: restore it, or run `dvc repro`")
    return lock


class _Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice in a section; PyYAML would use the last without a message.

    Reads 1e-08 as a number, as DVC does.
    """

    most = MOST_VALUES

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.depth = 0
        self.composed = 0
        self.weights: dict[yaml.Node, int] = {}  # values in a finished node after aliases are expanded

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            anchor = self.peek_event().anchor  # type: ignore[no-untyped-call]
            if anchor in self.anchors and self.anchors[anchor] not in self.weights:
                raise yaml.YAMLError(f"*{short(anchor, 50)} contains itself")
        self.depth += 1
        self.composed += 1
        if self.depth > DEEPEST_YAML:
            raise yaml.YAMLError(f"it is nested deeper than {DEEPEST_YAML} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node not in self.weights:
            self.weights[node] = self._weight(node)
        if self.composed > self.most or (node is not None and self.weights[node] > self.most):
            raise yaml.YAMLError(f"after aliases are expanded it has more than {self.most} values")
        return node

    def _weight(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            if node.tag != "tag:yaml.org,2002:str" and len(node.value) > LONGEST_VALUE:
                raise yaml.YAMLError(f"it holds a number or date of {len(node.value)} characters")
            return 1 + len(node.value) // LONGEST_VALUE
        parts = itertools.chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        return 1 + sum(self.weights[part] for part in parts)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.tag != "tag:yaml.org,2002:str" and len(key.value) > LONGEST_KEY:
                    raise yaml.YAMLError(f"line {line} has a key of {len(key.value)} characters that is no text")
                if key.value in lines:
                    raise yaml.YAMLError(
                        f"line {line} gives {short(repr(key.value), 80)} again, after line {lines[key.value]}: leave "
                        "one of them out"
                    )
                lines[key.value] = line
        return node


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))  # type: ignore[no-untyped-call]
