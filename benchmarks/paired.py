"""Two trainings of a stream on the same clips: accuracies, and their difference over independent units.

    python benchmarks/paired.py artifacts/data artifacts/train/multimodal,try/base-2 try/names-1,try/names-2

The first folder holds the clip table; then two lists of trained folders, one per seed. Prints the validation accuracy
of every training, then for validation and for test the mean over seeds, the difference with its 95 % interval, and p of
the permutation test; last, what the same would be if every clip were independent. The interval does not say how much
trainings differ: with one seed it is of these two alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.scores import Scores
from hpnet.core.statistics import bootstrap_interval, paired_difference
from hpnet.core.units import independent_units


def right(folder: Path, split: str) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Clips of a split in the order of their names, and whether each was right."""
    scores = Scores.load(folder / "scores.parquet").split(split)
    order = np.argsort(np.array(scores.clip_ids))
    hit = np.asarray(scores.logits.argmax(1) == scores.labels, dtype=bool)
    return tuple(scores.clip_ids[at] for at in order), hit[order]


def compare(data: Path, first: list[Path], second: list[Path]) -> list[str]:
    """The lines to print."""
    units = independent_units(Clips.load(data).usable())
    lines = []
    for split in ("val", "test"):
        found = [[right(folder, split) for folder in group] for group in (first, second)]
        clips = found[0][0][0]
        if any(ids != clips for group in found for ids, _ in group):
            raise SystemExit(f"the {split} clips of these folders differ")
        shares = [np.mean([hit for _, hit in group], axis=0) for group in found]
        groups = units.numbers(clips)
        if split == "val":
            each = ", ".join("/".join(f"{100 * hit.mean():.1f}" for _, hit in group) for group in found)
            lines.append(f"validation of each training: {each}")
        means = [bootstrap_interval(share, None, groups) for share in shares]
        scale = int(np.lcm(len(first), len(second)))
        gain = paired_difference(shares[0], shares[1], None, groups, scale=scale)
        change, narrow = gain.difference, paired_difference(shares[0], shares[1], scale=scale)
        clips_low, clips_high = 100 * narrow.difference.low, 100 * narrow.difference.high
        lines.append(
            f"{split}: {100 * means[0].value:.1f} ({100 * means[0].low:.1f} to {100 * means[0].high:.1f}) and "
            f"{100 * means[1].value:.1f} ({100 * means[1].low:.1f} to {100 * means[1].high:.1f}) %, "
            f"{100 * change.value:+.1f} points ({100 * change.low:+.1f} to {100 * change.high:+.1f}), "
            f"p = {gain.p_value:.3f}, over {units.counted(change.units)}; "
            f"over clips {clips_low:+.1f} to {clips_high:+.1f}, p = {narrow.p_value:.3f}"
        )
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    groups = ([Path(name) for name in text.split(",")] for text in sys.argv[2:])
    print("\n".join(compare(Path(sys.argv[1]), *groups)))
