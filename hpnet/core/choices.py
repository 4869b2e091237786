"""Dicts from a name to the module that holds it: ``{"ctrgcn": "hpnet.models.ctrgcn:CTRGCN"}``, loaded on demand.

Such a dict is all that a kind of thing with several implementations needs. A new one is a file and an entry; what
nobody chose is neither imported nor part of any stage's code (:mod:`hpnet.work.identity`).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any


def entry(choices: Mapping[str, str], name: str, what: str) -> str:
    """The module (and, behind a colon, the attribute) that ``name`` stands for.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    require(choices, name, what)
    return choices[name]


def require(choices: Mapping[str, Any], name: str, what: str) -> None:
    """Refuse a name that is none of ``choices``.

    Raises:
        ValueError: lists the choices, and names the nearest.
    """
    if name not in choices:
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown {what} {name!r}{hint}: choose from {', '.join(choices)}")


def load(choices: Mapping[str, str], name: str, what: str) -> Any:
    """The module, or its attribute, that ``name`` stands for.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    module, _, attribute = entry(choices, name, what).partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found
