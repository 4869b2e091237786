"""Dicts from a name to the module that holds it: ``{"ctrgcn": "hpnet.models.ctrgcn:CTRGCN"}``, loaded on demand.

A new implementation is a file and an entry in such a dict. An implementation that is not chosen is not imported, and is
not part of any stage's code (:mod:`hpnet.work.identity`).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def entry(choices: Mapping[str, str], name: str, what: str) -> str:
    """The module (and, after a colon, the attribute) for ``name``.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    require(choices, name, what)
    return choices[name]


def require(choices: Mapping[str, Any], name: str, what: str) -> None:
    """Refuse a name that is not in ``choices``.

    Raises:
        ValueError: lists the choices, and names the nearest.
    """
    if name not in choices:
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown {what} {name!r}{hint}: choose from {', '.join(choices)}")


def load(choices: Mapping[str, str], name: str, what: str) -> Any:
    """The module, or its attribute, for ``name``.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    module, _, attribute = entry(choices, name, what).partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


@dataclass(frozen=True)
class OneOf:
    """Annotation of a parameter whose values are the names in a dict: ``Annotated[str, OneOf("hpnet.fuse:RULES")]``.

    The dict is read when a value is checked or the choices are shown, so it is the only list of them.

    Attributes:
        where: the module of the dict and, after a colon, its name.
    """

    where: str

    @property
    def names(self) -> tuple[str, ...]:
        """The choices."""
        module, _, attribute = self.where.partition(":")
        return tuple(getattr(importlib.import_module(module), attribute))

    def check(self, value: Any) -> Any:
        """The value, unchanged.

        Raises:
            ValueError: it is not one of the choices; lists them, and names the nearest.
        """
        names = self.names
        if value not in names:
            listed = [repr(name) for name in names]
            near = difflib.get_close_matches(str(value), names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"expected {', '.join(listed[:-1])} or {listed[-1]}{hint}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Runs before pydantic's check of the type, so that the error for a number lists the choices too."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.check, handler(source))
