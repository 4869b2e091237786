"""Clip names -> labels and splits, by the protocols of the data sets (:mod:`hpnet.data.sets`), loaded on demand.

A data set has a grammar of clip names with action, subject, camera, set-up and repetition. A protocol defines the
training and test clips. Validation clips are taken from the training clips, by subject, unless the data set defines its
own. The test split is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ..core.choices import load
from .grammar import Labels, Splitting
from .sets import SETS


def get(protocol: str) -> Labels:
    """The protocol of that name, usually a :class:`~hpnet.data.grammar.Protocol`.

    Raises:
        ValueError: no such protocol; lists them.
    """
    found: Labels = load(SETS, protocol, "protocol").PROTOCOLS[protocol]
    return found


def siblings(protocol: str) -> tuple[str, ...]:
    """The protocols of the same data set, including the given one; all use the same videos.

    Raises:
        ValueError: no such protocol; lists them.
    """
    own = get(protocol)
    together = [name for name, module in SETS.items() if module == SETS[protocol]]
    return tuple(name for name in together if name == protocol or get(name).data_set == own.data_set != "")


def class_table(protocol: str, clips: pd.DataFrame | Iterable[str] | None = None) -> pd.DataFrame:
    """Classes of a protocol: columns label (0..K-1), name, prompt (the text that a language model reads).

    Args:
        protocol: one of :data:`~hpnet.data.sets.SETS`.
        clips: for ``folder`` only: the table of :func:`label_and_split`, or the clip names that it was made from.

    Raises:
        ValueError: unknown protocol, or ``folder`` without clips.
    """
    return get(protocol).class_table(clips)


def label_and_split(
    protocol: str,
    clip_names: Sequence[str],
    val_fraction: float = 0.15,
    seed: int = 7,
    test_fraction: float = 0.2,
    keep_missing: bool = False,
) -> pd.DataFrame:
    """Label and split clips by their names.

    Args:
        protocol: one of :data:`~hpnet.data.sets.SETS`.
        clip_names: file names, with or without folders, extension or ``_rgb``; for ``folder``, paths relative to the
            data folder. The result has one row per name, in the same order.
        val_fraction: share of the training clips held out for validation, in whole subjects, if the data set has no
            validation clips of its own: at least one subject when there are three or more, none when it is 0. For
            ``folder`` the share of each class's videos. If folders named train, val and test give the splits, this
            share is taken from train if there is no val.
        seed: of the choice of held-out subjects. The order is a hash of seed and subject (or name), so a new clip does
            not move others.
        test_fraction: ``folder`` only: share of each class's videos in the test split, if no folder gives it.
        keep_missing: NTU: also split the clips without Kinect skeletons, which the published lists leave out.

    Returns:
        Columns :data:`~hpnet.data.grammar.COLUMNS`. ``clip_id`` is the bare name (for ``folder`` the path without its
        extension); ``split`` is train, val, test, or empty for a clip that the protocol leaves out; ``label`` is -1 and
        ``class_name`` empty for an action outside the protocol; ``subject`` and ``source`` are text, empty if unknown;
        numbers are 0 if unknown.

    Raises:
        ValueError: a name does not match (gives the expected pattern) or cannot name a clip, or two names are one clip.
    """
    if not 0 <= val_fraction < 1 or not 0 <= test_fraction < 1 or val_fraction + test_fraction >= 1:
        raise ValueError(f"val_fraction {val_fraction} and test_fraction {test_fraction} must leave clips to train on")
    how = Splitting(val_fraction, seed, test_fraction, keep_missing)
    return get(protocol).label_and_split([str(name) for name in clip_names], how)


def clip_id(protocol: str, name: str) -> str:
    """The clip_id that :func:`label_and_split` gives to a name."""
    return get(protocol).clip_id(name)
