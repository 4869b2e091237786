"""A folder of the user's own videos: its sub-folders are the actions, and may be the splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pandas as pd

from ...core.clip_ids import EXPECTED_ID, clip_id_fault, normal_form
from ..folders import Layout, read_layout
from ..grammar import COLUMNS, Splitting, refuse_twins
from ..holdout import by_action
from ..preset import REAL, SMALL, Preset, merged

_EXTENSION = re.compile(
    r"\.(?:mp4|m4v|mov|qt|3gp|3g2|mkv|webm|avi|divx|xvid|wmv|asf|flv|f4v|ogv|ogg|ogm|gif|apng|ts|mts|m2ts|m2t|mpg|mpeg|mpe"
    r"|mp2|vob|mod|tod|trp|dav|dv|mxf|gxf|nut|nsv|wtv|amv|rm|rmvb|h264|264|avc|h265|265|hevc|h263|m1v|m2v|mjpeg|mjpg|y4m"
    r"|ivf|obu|av1|vc1|npy|npz|pkl|skeleton|txt|json)",
    re.IGNORECASE,
)
"""Suffixes that are not part of a clip name; the name itself may have dots (``wave/take.2``)."""


class Folder:
    """The protocol without a grammar of names: the action is the folder of a video."""

    data_set = ""

    def class_table(self, clips: pd.DataFrame | Iterable[str] | None = None) -> pd.DataFrame:
        """The actions of these clips, by name: label, name, prompt.

        Args:
            clips: the table of :meth:`label_and_split`, or the clip names that it was made from.

        Raises:
            ValueError: no clips are given.
        """
        if clips is None:
            raise ValueError("protocol 'folder' has no class list of its own: give the clip names")
        if isinstance(clips, pd.DataFrame):
            found = sorted(set(clips.class_name[clips.label >= 0]))
        else:
            found = sorted(set(read_layout([self.clip_id(name) for name in clips]).actions) - {""})
        prompts = [f"a person is doing {re.sub(r'[_.-]+', ' ', name)}" for name in found]
        return pd.DataFrame({"label": range(len(found)), "name": found, "prompt": prompts})

    def label_and_split(self, names: Sequence[str], how: Splitting) -> pd.DataFrame:
        """Actions by :func:`hpnet.data.folders.read_layout`; splits by folder where folders are splits, else for each
        action by a seeded order. A split without a folder is taken from train, by the same rule.

        The only video of a class is for training; of two, one is for test; from three on, each wanted split gets at
        least one.
        """
        ids = [self.clip_id(name) for name in names]
        refuse_twins(ids, names)
        layout = read_layout(ids)
        label_of = {action: label for label, action in enumerate(sorted(set(layout.actions) - {""}))}
        if layout.splits is None:
            splits = by_action(ids, layout.actions, how.val_fraction, how.test_fraction, how.seed)
        else:
            splits = _complete(ids, layout, how)
        rows = [
            (i, label_of.get(a, -1), a, split, "", "", 0, 0, 0)
            for i, a, split in zip(ids, layout.actions, splits, strict=True)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def clip_id(self, name: str) -> str:
        """The clip id of a path below the folder of videos.

        Raises:
            ValueError: it cannot be one, see :mod:`hpnet.core.clip_ids`.
        """
        path = PurePosixPath(normal_form(name.strip()).replace("\\", "/"))
        found = str(path.with_suffix("") if _EXTENSION.fullmatch(path.suffix) else path)
        wrong = clip_id_fault(found)
        if wrong:
            raise ValueError(f"clip name {name!r} {wrong}; {EXPECTED_ID}")
        return found


def _complete(ids: Sequence[str], layout: Layout, how: Splitting) -> list[str]:
    """The folders' splits; val and test are taken from train, for each action, if there is no such folder."""
    given = layout.splits or ()
    training = [n for n, split in enumerate(given) if split == "train"]
    fractions = (0.0 if "val" in given else how.val_fraction, 0.0 if "test" in given else how.test_fraction)
    found = by_action([ids[n] for n in training], [layout.actions[n] for n in training], *fractions, how.seed)
    cut = dict(zip(training, found, strict=True))
    return [cut.get(n, split) for n, split in enumerate(given)]


PROTOCOLS = {"folder": Folder()}

PRESETS: dict[str, Preset] = {
    "folder": Preset(
        "my videos",
        merged(
            {name: section for name, section in SMALL.items() if name != "compare"},
            REAL,
            {"data": {"source": "folder", "protocol": "folder", "max_failed": 0.1}, "report": {"title": "my videos"}},
        ),
        "videos, one sub-folder per action, or anywhere below a folder with a CSV that names them",
    )
}
