"""Cut picture 0 out of MoveNet's parity files: ``python -m tests.models.make_movenet FOLDER``.

The picture is of hpnet's own packaged clip; the numbers are what TensorFlow.js gave. Every third cell of a map is
kept.
"""

import sys
from pathlib import Path

import numpy as np

NAMES = ("thunder", "lightning", "multipose")
STEP = 3
WHOLE = ("crops_u8", "images_u8", "keypoints_yxs", "output_6x56")


def make(parity: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of one network."""
    with np.load(parity / f"movenet_{name}.npz") as file:
        arrays = {key: file[key][0] for key in file.files if file[key].ndim > 1 and key != "box_xyxy"}
    return {
        key: value if key in WHOLE else value[:, ::STEP, ::STEP].astype(np.float16 if "block" in key else value.dtype)
        for key, value in arrays.items()
    }


if __name__ == "__main__":
    for name in NAMES:
        np.savez_compressed(Path(__file__).parent / f"movenet_{name}.npz", **make(Path(sys.argv[1]), name))
