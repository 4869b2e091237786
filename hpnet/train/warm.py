"""``hpnet train --start-from``: a graph network goes on from an earlier one, after clips were added.

The result then depends on what was trained before, so this is an option of one command and no parameter: no stage of
DVC does it. What the earlier network learnt must still be training clips, or validation and test would be of clips that
were seen.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..artifacts.files import read_object
from ..artifacts.scores import Scores
from ..core.streams import MULTIMODAL
from ..weights.checkpoint import load_into, load_tensors
from ..work.shards import file_digest
from . import FITTERS
from .params import TrainParams
from .run import Inputs

WEIGHTS = "model.safetensors"


def require_start(folder: Path, stream: str, params: TrainParams, inputs: Inputs) -> str:
    """Refuse a start that is impossible or would be measured on what it learnt; the digest of its weights.

    Args:
        folder: of an earlier training: model.safetensors, config.json and scores.parquet.

    Raises:
        FileNotFoundError: there is no such training.
        ValueError: the stream, its network or ``train.refit`` has no such start, the earlier training was of other
            features, classes or another stream, or it learnt a clip that is none of training now.
    """
    model = params.of(stream).graph.model
    if stream == MULTIMODAL:
        raise ValueError(f"--start-from: the stream {MULTIMODAL} starts from X-CLIP's weights: leave the option out")
    if model in FITTERS:
        raise ValueError(f"--start-from: {model!r} is chosen and fitted as a whole, in seconds: leave the option out")
    if params.refit:
        raise ValueError("--start-from: train.refit scores clips by weights that did not see them: set it to false")
    for name in (WEIGHTS, "config.json", "scores.parquet"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"--start-from: {folder / name} is missing; expected the folder of a trained stream"
            )
    card = read_object(folder / "config.json")
    if card.get("stream") != stream:
        raise ValueError(f"--start-from: {folder} is of the stream {card.get('stream')!r}, not {stream!r}")
    if card.get("features") != inputs.features.meta.to_json():
        raise ValueError(f"--start-from: {folder} was trained on other features: train from new weights")
    made, now = Scores.load(folder / "scores.parquet").labelling, inputs.clips.labelling()
    if made is None or (renamed := made.renamed(now)):
        why = "does not record its labels" if made is None else f"has other classes ({renamed})"
        raise ValueError(f"--start-from: {folder} {why}: train from new weights")
    sides = ("train", "val") if "folds" in card else ("train",)
    learnt = [clip for clip, (_, split) in made.clips.items() if split in sides]
    moved = sorted(clip for clip in learnt if now.clips.get(clip, (0, "train"))[1] in ("val", "test"))
    if moved:
        raise ValueError(
            f"--start-from: {folder} learnt {len(moved)} clips that validate or test now, such as {moved[0]!r}: train "
            "from new weights, or keep the splits in a table"
        )
    return file_digest(folder / WEIGHTS)


def start(model: nn.Module, folder: Path) -> None:
    """Put the weights and the scaling of the features of an earlier training into a network.

    Raises:
        ValueError: they are of another network.
    """
    load_into(model, load_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
