"""Class names that name a side, and the class that each class shows in a mirror. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

NO_MIRROR_IMAGE = "-"
"""In the column ``mirror`` of classes.csv: the mirror image of this class is none of the classes."""

_SIDE = re.compile(
    r"(?<![^\W\d_])(?:[Ll]eft|[Rr]ight)(?![a-z])|(?<![^\W\d_])(?:LEFT|RIGHT)(?![A-Za-z])|(?<=[a-z])(?:Left|Right)(?![a-z])"
)
"""A side in a class name: a separate word, also in snake_case and CamelCase; not the "right" of "upright"."""
_TURN = re.compile(r"(?P<against>(?:counter|anti)[\s_-]?)?clockwise", re.IGNORECASE)
_AGAINST = "counter-clockwise"


def other_side(text: str) -> str:
    """``text`` of the mirror image: left and right, clockwise and counter-clockwise change places.

    The sense of rotation is spelt in one way, so that texts are compared by :func:`_spelt`.
    """
    return _TURN.sub(lambda turn: "clockwise" if turn["against"] else _AGAINST, _SIDE.sub(_other, text))


def names_side(text: str) -> bool:
    """Whether a text names a side: "turn left", "draw a circle clockwise"."""
    return bool(_SIDE.search(text) or _TURN.search(text))


def mirror_partners(
    names: Sequence[str], prompts: Sequence[str] = (), declared: Sequence[str] = ()
) -> NDArray[np.int64]:
    """The class (K,) of each class's mirror image; -1 if there is no such class.

    ``declared`` decides where it says something. Otherwise a class whose name and prompt have no side is its own mirror
    image. A class with a side in its name has the class with the other side ("turn left", "turn right"); one with a
    side in its prompt alone has the class with the other side in its prompt. If there is no such class, its clips have
    no mirror image.

    Args:
        prompts: K sentences, or none.
        declared: K entries of the column ``mirror``: a class name, :data:`NO_MIRROR_IMAGE`, or empty.

    Raises:
        ValueError: an entry names no class, or two entries contradict each other; names the class.
    """
    texts, entries = list(prompts) or [""] * len(names), list(declared) or [""] * len(names)
    found = _derived(names, texts)
    label_of = {name: label for label, name in reversed(list(enumerate(names)))}
    said = {label: _declared(label_of, names[label], entry) for label, entry in enumerate(entries) if entry}
    for label, partner in list(said.items()):
        back = said.setdefault(partner, label) if partner >= 0 else label
        if back != label:
            of_partner = names[back] if back >= 0 else NO_MIRROR_IMAGE
            raise ValueError(
                f"classes.csv: column mirror says {names[partner]!r} of {names[label]!r} but {of_partner!r} of "
                f"{names[partner]!r}; expected {names[label]!r}, because mirroring twice changes nothing"
            )
    found |= said
    # what was derived holds only where it holds both ways
    kept = [found[label] if found[label] < 0 or found[found[label]] == label else -1 for label in range(len(names))]
    return np.array(kept, dtype=np.int64)


def _derived(names: Sequence[str], prompts: Sequence[str]) -> dict[int, int]:
    """Label -> the label of the mirror image by the words of names and prompts, -1 for none."""
    exact = {_spelt(name): label for label, name in enumerate(names)}
    folded = {name.casefold(): label for name, label in exact.items()}
    plain = [label for label, name in enumerate(names) if not names_side(name)]
    by_prompt = {_spelt(prompts[label]): label for label in plain}
    found = {}
    for label, (name, prompt) in enumerate(zip(names, prompts, strict=True)):
        if names_side(name):
            other = other_side(name)
            found[label] = exact.get(other, folded.get(other.casefold(), -1))
        elif names_side(prompt):
            found[label] = by_prompt.get(other_side(prompt), -1)
        else:
            found[label] = label
    return found


def _declared(label_of: Mapping[str, int], name: str, entry: str) -> int:
    if entry == NO_MIRROR_IMAGE:
        return -1
    if entry not in label_of:
        raise ValueError(
            f"classes.csv: column mirror says {entry!r} of {name!r}; expected the name of a class, "
            f"{NO_MIRROR_IMAGE!r} for none, or nothing"
        )
    return label_of[entry]


def _spelt(text: str) -> str:
    """``text`` with one spelling of the senses of rotation, as :func:`other_side` writes them."""
    return _TURN.sub(lambda turn: _AGAINST if turn["against"] else "clockwise", text)


def _other(match: re.Match[str]) -> str:
    word = match[0]
    other = {"left": "right", "right": "left"}[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
