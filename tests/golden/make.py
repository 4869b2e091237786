"""Write the files of this folder from the outputs of the released code: ``python -m tests.golden.make FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden import FOLDER

SAMPLE_STEP = 191  # prime, so that the sample meets every clip and class and channels everywhere
PEOPLE = {"S001C001P001R001A001": 0, "S001C001P001R001A050": 1}
CHANNELS = slice(5, 96, 16)
JOINTS_OVER_TIME = slice(0, 17, 4)


def network(parity: Path, name: str) -> dict[str, NDArray[Any]]:
    """Keys and shapes (-1 fills up to four sizes) with the outputs: CTR-GCN's all, a sample of the others'."""
    shapes = json.loads((parity / f"{name}_keys.json").read_text())
    made = {
        "keys": np.array([key.encode() for key in shapes]),
        "shapes": np.array([[*sizes, *[-1] * (4 - len(sizes))] for sizes in shapes.values()], np.int32),
    }
    with np.load(parity / f"{name}_seed1.npz") as file:
        outputs = dict(file)
    if name == "ctrgcn":
        return made | outputs
    flat = outputs["out"].reshape(-1)
    where = np.arange(0, flat.size, SAMPLE_STEP)
    return made | {"where": where.astype(np.int32), "values": flat[where]}


def pooling(parity: Path) -> dict[str, NDArray[Any]]:
    """One person of each clip in frame 0: the four map cells around each joint and what was pooled there."""
    rows = []
    for clip_id, person in PEOPLE.items():
        with np.load(parity / f"{clip_id}_seed1_trainbn.npz") as file:
            arrays = dict(file)
        points = arrays["keypoints_crop_px"][0, person]
        feature_map = arrays["frame0_h2"][person, CHANNELS]  # (C, 32, 24)
        corners = np.floor(points * [23 / 192, 31 / 256]).astype(int)  # (V, 2): x, y of the upper left cell
        cells = [feature_map[:, y : y + 2, x : x + 2].transpose(1, 2, 0) for x, y in corners]
        row = {
            "box_xyxy_px": arrays["boxes_xyxy"][person],
            "affine_frame_to_crop": arrays["affine_frame_to_crop"][person],
            "points_crop_px": points,
            "corners": corners.astype(np.int32),
            "cells": np.stack(cells),  # (V, 2, 2, C), rows vertical
            "pooled": arrays["pooled"][0, person][:, CHANNELS],
            "over_time": arrays["pooled"][:, person, JOINTS_OVER_TIME, CHANNELS.start],
        }
        rows.append(row)
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def make(parity: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """File name -> its arrays."""
    networks = {name: network(parity, name) for name in ("ctrgcn", "trmm", "film")}
    return networks | {"pooling": pooling(parity)}


if __name__ == "__main__":
    for name, arrays in make(Path(sys.argv[1])).items():
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
