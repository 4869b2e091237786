"""Figures of benchmarks/nw-ucla.md and its log of trials that no command prints.

    python benchmarks/nw_ucla.py scores all/repeats.csv fused-1 fused-2 fused-3
    python benchmarks/nw_ucla.py walking nw_ucla.npz
    python benchmarks/nw_ucla.py swapped nw_ucla.npz benchmarks/nw-ucla-relabel.csv

``scores``: top-1 on the test clips and on those that are no training clip, mean and sd over the folders (one per seed);
top-1 of their summed scores, and the errors of all folders by action and what it is taken for, the most frequent first.
``walking``: in which share of the clips of "walk around" people walk backwards once they are turned square by their
shoulders, per view; frames with impossible bones are left out. ``swapped``: what shows, without a network, that the
clips of the CSV are under the wrong name: how the head moves, and how many takes there are of each action.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import UCLA20
from hpnet.data import pose3d, protocols
from hpnet.data.ucla import AXES

WALK, SIT_STAND = "a04", ("a05", "a06")
LONGEST, SHORTEST = 3.0, 0.2
"""A bone is impossible beyond so many times its median length (and 10 cm), or below."""


def scores(repeats: Path, folders: list[Path]) -> None:
    """Print top-1 in percent, all test clips and new ones."""
    known = set(pd.read_csv(repeats).clip_id)
    found, logits, errors = [], [], Counter[tuple[str, str]]()
    names = list(protocols.class_table("nw-ucla").name)
    for folder in folders:
        test = Scores.load(folder / "scores.parquet").split("test")
        hit = test.logits.argmax(1) == test.labels
        new = np.array([clip not in known for clip in test.clip_ids])
        found.append((100 * hit.mean(), 100 * hit[new].mean()))
        print(f"{folder}: {found[-1][0]:.1f} % of {len(hit)}, {found[-1][1]:.1f} % of the {new.sum()} new ones")
        logits.append(pd.DataFrame(test.logits, test.clip_ids))
        pairs = zip(test.labels[~hit], test.logits[~hit].argmax(1), strict=True)
        errors.update((names[truth], names[guess]) for truth, guess in pairs)
    if len(found) > 1:
        mean, sd = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
        print(f"mean: {mean[0]:.1f} ± {sd[0]:.1f}, new {mean[1]:.1f} ± {sd[1]:.1f}")
        together = sum(logits[1:], logits[0]).loc[list(test.clip_ids)].to_numpy().argmax(1)
        print(f"together: {100 * (together == test.labels).mean():.1f} %")
    print(f"{errors.total()} errors: " + "; ".join(f"{n} {a} -> {b}" for (a, b), n in errors.most_common(4)))


def possible(joints_m: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(T,), frames (T, V, 3) without an impossible bone."""
    lengths = np.linalg.norm(joints_m - joints_m[:, list(UCLA20.parents)], axis=2)  # (T, V)
    median = np.median(lengths, axis=0)
    short = (lengths < SHORTEST * median) & (median > 0.05)
    return ~((lengths > LONGEST * median + 0.1) | short).any(1)


def forward_m(joints_m: NDArray[np.floating], whole: NDArray[np.bool_]) -> float:
    """How far the root of a body (T, V, 3) walks the way its shoulders say it faces."""
    steps = [k for k in range(len(joints_m) - 1) if whole[k] and whole[k + 1]]
    moved = (pose3d.body_rotation(joints_m[k], AXES) @ (joints_m[k + 1, 0] - joints_m[k, 0]) for k in steps)
    return float(sum(step[2] for step in moved))


def walking(source: Path) -> None:
    """Print the share of "walk around" that goes backwards, by view."""
    arrays = np.load(source)
    joints, offsets = arrays["joints"].astype(np.float64), arrays["offsets"]
    whole = possible(joints)
    print(f"{(~whole).sum()} of {len(whole)} frames have an impossible bone")
    for view in "123":
        ways = []
        for name, start, stop in zip(arrays["names"], offsets[:-1], offsets[1:], strict=True):
            good = start + np.flatnonzero(whole[start:stop])
            if not (str(name).startswith(WALK) and str(name).endswith(view) and len(good)):
                continue
            if np.linalg.norm(joints[good[-1], 0] - joints[good[0], 0]) > 0.5:
                ways.append(forward_m(joints[start:stop], whole[start:stop]))
        print(f"view {view}: {100 * np.mean(np.array(ways) < 0):.0f} % of {len(ways)} clips that go 0.5 m or further")


def swapped(source: Path, relabel: Path) -> None:
    """Print how far the head rises from the first to the last three frames of clips of "sit down" and "stand up", by
    subject and view where the CSV names some; and the takes of the CSV's actions in every view."""
    arrays = np.load(source)
    offsets, clips = arrays["offsets"], [str(name) for name in arrays["names"]]
    head_m = arrays["joints"][:, UCLA20.joints.index("head"), 1]
    wrong = sorted({(clip[:3], clip[4:7]) for clip in pd.read_csv(relabel).clip_id})
    for action, subject in wrong:
        for view in "123":
            takes = [
                n for n, clip in enumerate(clips) if clip.startswith(f"{action}_{subject}") and clip.endswith(view)
            ]
            line = f"{action}_{subject}, view {view}: {len(takes)} takes"
            if action in SIT_STAND and takes:
                ends = [
                    (head_m[offsets[n] : offsets[n] + 3], head_m[offsets[n + 1] - 3 : offsets[n + 1]]) for n in takes
                ]
                rises = [float(last.mean() - first.mean()) for first, last in ends]
                line += f", the head rises by {min(rises):.2f} to {max(rises):.2f} m"
            print(line)


if __name__ == "__main__":
    if sys.argv[1] == "scores":
        scores(Path(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]])
    elif sys.argv[1] == "swapped":
        swapped(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        walking(Path(sys.argv[2]))
