"""A trained project for prediction: parameters, networks, classes and fusion, checked for consistency."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from ..artifacts.clips import Clips
from ..artifacts.features import KINDS, FeatureMeta
from ..artifacts.files import load_meta, read_object, typed
from ..artifacts.labelling import LABELLING, check_trained
from ..artifacts.missing import missing
from ..artifacts.parquet import read_table
from ..artifacts.poses import PoseMeta
from ..artifacts.taught import Taught
from ..artifacts.unknown import Unknown
from ..core.device import resolve_device
from ..core.reading import decoding
from ..core.sampling import sample_frames
from ..core.streams import refuse_former_name
from ..fuse.ensembles import subset_weights
from ..fuse.fusion import fuse_as_fitted
from ..fuse.unknown import probability_of_unknown
from ..models.linear import Linear
from ..params import Params
from ..pool.step import feature_meta
from ..project.folder import Project
from ..train.topology import TopologyModel, load_topology
from ..work.shards import file_digest
from .head import Head

if TYPE_CHECKING:
    from ..models.multimodal import HPNet

FALLBACK_WINDOW_S = 2.0
LONGEST_TIMES = 4.0
IMPORTED_KINDS = ("pose2d", "pose3d")
"""Kinds of features that `hpnet import` gives."""
VIDEO_KINDS = ("pooled", "pose2d", "xy", "simcc", "both")
BATCH = 16
MUTUAL_SHARE = 0.5
"""Actions of which this share of the training clips has several people are done together."""

_Card: Any = tuple[list[str], FeatureMeta, int, dict[str, Any]]
"""Class names, features, frames and parameters of a card."""
_Rule: Any = tuple[str, dict[str, float], list[float], list[str]]
"""Name, temperatures, adjustment and softmaxed streams of a rule of fusion."""


@dataclass(frozen=True)
class Sample:
    """Network inputs of some people in a window.

    Attributes:
        features: (m, T, V, C) float16, one row per person.
        valid: (m,) bool.
        jpegs: person frames for the RGB stream, in order; empty if no stream reads them.
    """

    features: NDArray[np.float16]
    valid: NDArray[np.bool_]
    jpegs: Sequence[bytes]


class TrainedProject:
    """The trained streams of a project folder and how they are fused.

    Args:
        folder: the project; its params.yaml, ``artifacts/train/*``, and weights.json and unknown.json of
            ``artifacts/fuse`` are read.
        streams: use only these; None: all streams with a weight above 0 in the fusion.
        with_taught: also answer with the actions of ``taught/``.

    Raises:
        FileNotFoundError: a file is missing; names the command that makes it.
        ValueError: a file is broken, or the streams do not belong together.

    Attributes:
        classes: the K classes of the networks.
        background: number of a class called background, which is no answer; None where there is none.
    """

    def __init__(
        self, folder: Path, streams: Sequence[str] | None = None, device: str = "auto", *, with_taught: bool = True
    ) -> None:
        self.project = Project(folder)
        self.device = resolve_device(device)
        self.params: Params = self.project.read_params()
        self.fusion = _fusion(self.project, streams)
        used = [stream for stream, weight in self.fusion["weights"].items() if weight]
        for stream in used:
            refuse_former_name(stream, str(self.project.fuse / "weights.json"))
        self.cards: dict[str, dict[str, Any]] = {s: self._card(s) for s in used}
        self._check_labellings(used)
        self.models: dict[str, TopologyModel | HPNet] = {s: self._model(s) for s in used}
        first = self.cards[used[0]]
        self.classes: list[str] = [str(name) for name in first["classes"]]
        self.features = FeatureMeta.from_json(first["features"])
        self.frames = int(first["frames"])
        for stream, card in self.cards.items():
            if (card["classes"], card["features"], card["frames"]) != (
                first["classes"], first["features"], first["frames"],
            ):  # fmt: skip
                raise ValueError(f"streams {used[0]} and {stream} were trained on different features: run `dvc repro`")
        if len(self.fusion["adjustment"]) != len(self.classes):
            raise ValueError(
                f"{self.project.fusion_file} is for {len(self.fusion['adjustment'])} classes, the "
                f"networks have {len(self.classes)}: run `hpnet fuse` again"
            )
        self.people = min(self._slots(stream) for stream in used)
        self.taught: Taught | None = self._taught() if with_taught else None
        stored = self._unknown()
        self._refusal = None if stored is None else stored.of(self.fusion["weights"])
        self.background = None if stored is None or self._refusal is None else stored.background

    @property
    def names(self) -> tuple[str, ...]:
        """What can be answered: the trained actions, without one called background, whose share is that of unknown;
        then the taught ones."""
        named = [name for label, name in enumerate(self.classes) if label != self.background]
        return (*named, *(() if self.taught is None else self.taught.names))

    @property
    def readers(self) -> tuple[str, ...]:
        """The streams that give a vector; ``multimodal`` does not."""
        return tuple(stream for stream, model in self.models.items() if isinstance(model, TopologyModel))

    @property
    def without_unknown(self) -> str:
        """Why answers have no probability of unknown, though params.yaml asks for it; empty: they have one, or it does
        not."""
        if self._refusal is not None or self.params.fuse.unknown == "none":
            return ""
        file = self.project.unknown_file
        return f"{file} has none for these streams" if file.is_file() else f"{file} is missing: run `hpnet fuse` for it"

    @property
    def needs_frames(self) -> bool:
        """Whether a stream reads person frames."""
        return "multimodal" in self.models

    @property
    def frames_wanted(self) -> int:
        """Person frames that a sample of the multimodal stream has."""
        return int(self.cards["multimodal"]["params"]["frames"])

    @property
    def imported(self) -> bool:
        """Whether the networks read imported poses or features."""
        kept = (self.project.estimate / "meta.json").is_file()
        return self.features.kind not in VIDEO_KINDS or (self.features.kind in IMPORTED_KINDS and not kept)

    def require_videos(self) -> None:
        """Refuse networks that do not read videos.

        Raises:
            ValueError: they read imported features; says what can be given.
        """
        if self.features.kind not in VIDEO_KINDS:
            raise ValueError(
                f"this project's networks read imported {self.features.kind} features: hpnet predict needs "
                "networks that were trained on videos, or poses (`hpnet predict --poses FILE`)"
            )

    def check_poses(self, poses: PoseMeta) -> None:
        """Refuse another pose network than the one whose features the streams were trained on.

        Raises:
            ValueError: they were trained on imported features, or params.yaml has changed since; names the parameter.
        """
        self.require_videos()
        wanted = feature_meta(self.params.pool, poses)
        for name in ("kind", "tap", "region", "operator"):
            now, then = getattr(wanted, name), getattr(self.features, name)
            if now != then:
                raise ValueError(f"pool.{name} is {now!r}, the networks were trained with {then!r}: run `dvc repro`")
        if self.params.pool.frames != self.frames:
            raise ValueError(
                f"pool.frames is {self.params.pool.frames}, the networks were trained with {self.frames}: "
                "run `dvc repro`"
            )
        if poses.skeleton.joints != self.features.skeleton.joints:
            raise ValueError(
                f"estimate.model finds the joints of {poses.skeleton.name!r}, the networks were trained on "
                f"{self.features.skeleton.name!r}: run `dvc repro`"
            )
        made = self.project.estimate / "meta.json"
        if made.is_file():
            stored = load_meta(made, PoseMeta.from_json)
            for name in ("model", "weights_digest", "parity"):
                if getattr(stored, name) != getattr(poses, name):
                    raise ValueError(
                        f"the pose network's {name} is {str(getattr(poses, name))[:20]!r}, the features were made with "
                        f"{str(getattr(stored, name))[:20]!r}: run `dvc repro`"
                    )

    def training_seconds(self) -> tuple[float, float]:
        """Median and longest duration of the training clips in seconds, or the fallback if the table is missing.

        Clips longer than ``LONGEST_TIMES`` the median are ignored: otherwise one long recording among short clips would
            make every video a single window.
        """
        table = self.training_clips()
        if table.empty:
            return FALLBACK_WINDOW_S, FALLBACK_WINDOW_S
        seconds = table.frames / table.fps
        median_s = float(seconds.median())
        return median_s, float(seconds[seconds <= LONGEST_TIMES * median_s].max())

    def training_fps(self) -> float:
        """Median rate of the training clips in frames per second; 0 if the table is missing."""
        table = self.training_clips()
        return 0.0 if table.empty else float(table.fps.median())

    def training_clips(self) -> pd.DataFrame:
        """The rows of clips.csv and videos.csv of the training clips with a length; empty if the table is missing."""
        data = self.project.data
        if not (data / "clips.csv").is_file():
            return pd.DataFrame()
        table = Clips.load(data).usable()
        found: pd.DataFrame = table[(table.split == "train") & (table.fps > 0) & (table.frames > 0)]
        return found

    @functools.cached_property
    def mutual(self) -> NDArray[np.bool_]:
        """(K,) the actions that people do with each other: half of their training clips or more have several people.

        None of them where the pooled features are missing.
        """
        data, index = self.project.data, self.project.pool / "index.parquet"
        found = np.zeros(len(self.classes), bool)
        if not ((data / "clips.csv").is_file() and index.is_file()):
            return found
        rows = read_table(index, KINDS, "run `hpnet pool` again")
        people = rows[rows.valid].groupby("clip_id").size()
        clips = Clips.load(data).usable()
        clips = clips[(clips.split == "train") & (clips.label >= 0)]
        several = (clips.clip_id.map(people).fillna(0) > 1).groupby(clips.label).mean()
        found[several.index[several >= MUTUAL_SHARE].to_numpy(dtype=np.int64)] = True
        return found

    @torch.inference_mode()
    def logits(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """Stream -> (N, K) logits of each sample, as the train stage scores clips."""
        return {stream: self._stream_logits(stream, samples) for stream in self.models}

    @torch.inference_mode()
    def embeddings(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """Stream -> (N, D), :func:`embedded`; without ``multimodal``."""
        found: dict[str, list[NDArray[np.float32]]] = {stream: [] for stream in self.readers}
        for start in range(0, len(samples), BATCH):
            for stream in self.readers:
                people, valid = self._people(stream, samples[start : start + BATCH])
                found[stream].append(embedded(self.reader(stream), people, valid))
        return {stream: np.concatenate(parts) for stream, parts in found.items()}

    @torch.inference_mode()
    def read(self, people: Tensor, valid: Tensor) -> dict[str, NDArray[np.float32]]:
        """:meth:`embeddings` of features (N, C, T, V, M) and their people (N, M)."""
        return {stream: embedded(self.reader(stream), people, valid) for stream in self.readers}

    def reader(self, stream: str) -> TopologyModel:
        """The model of a stream that gives a vector."""
        model = self.models[stream]
        assert isinstance(model, TopologyModel)
        return model

    def digests(self) -> dict[str, str]:
        """Stream -> digest of its weights, of the streams that give a vector."""
        return {stream: file_digest(self.project.train(stream) / "model.safetensors") for stream in self.readers}

    def with_taught(self, probabilities: NDArray[np.float64], samples: Sequence[Sample]) -> NDArray[np.float64]:
        """(N, K) -> (N, K + J), with the J taught actions; the sum is 1."""
        if self.taught is None or not samples:
            return probabilities
        actions = self.taught.actions
        thresholds = np.array([action.threshold for action in actions])
        temperatures = np.array([action.temperature for action in actions])
        head = Head(self.taught.weights, self.taught.biases, thresholds, temperatures)
        return head.answered(probabilities, self.embeddings(samples))

    @torch.inference_mode()
    def classifier_inputs(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """Stream -> (N, D), what its linear classifier reads of each sample; without ``multimodal``, which has none."""
        found: dict[str, NDArray[np.float32]] = {}
        for stream, model in self.models.items():
            if isinstance(model, TopologyModel):
                parts = []
                for start in range(0, len(samples), BATCH):
                    people, valid = self._people(stream, samples[start : start + BATCH])
                    read = model.network.forward_features(model.prepare(people, valid), valid)  # type: ignore[operator]
                    parts.append(read.float().cpu().numpy())
                found[stream] = np.concatenate(parts)
        return found

    def probabilities(self, logits: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """(N, K): the softmax of the fused scores of :attr:`classes`."""
        fused = fuse_as_fitted(self.fusion, logits)
        shifted = np.exp(fused - fused.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True))

    def of_names(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K + J) -> those of :attr:`names`, without background, with the sum 1."""
        if self.background is None or not len(probabilities):
            return probabilities
        kept = np.delete(probabilities, self.background, axis=1)
        return np.asarray(kept / kept.sum(1, keepdims=True).clip(1e-300))

    def unknown(
        self, logits: Mapping[str, NDArray[np.float32]], probabilities: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """(N,): the probability that it is none of :attr:`names`; None where the fusion has fitted none.

        Args:
            probabilities: (N, K + J) of :meth:`with_taught`: what is a taught action is not unknown, though the trained
                networks do not know it.
        """
        if self._refusal is None:
            return None
        chance = probability_of_unknown(self._refusal, fuse_as_fitted(self.fusion, logits), self.background)
        return np.asarray(chance * (1 - probabilities[:, len(self.classes) :].sum(1)))

    def _stream_logits(self, stream: str, samples: Sequence[Sample]) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            people, valid = self._people(stream, part)
            model = self.models[stream]
            if isinstance(model, TopologyModel):
                logits = model(people, valid)
            else:
                logits = model(people, valid, self._person_frames(model, part))["logits"]
            found.append(logits.float().cpu().numpy())
        return np.concatenate(found)

    def _people(self, stream: str, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """(N, C, T, V, M) float32, zeros where there is no person, and (N, M) bool, on the host."""
        slots = self._slots(stream)
        _, frames, joints, channels = samples[0].features.shape
        people = np.zeros((len(samples), slots, frames, joints, channels), np.float32)
        valid = np.zeros((len(samples), slots), bool)
        for n, sample in enumerate(samples):
            count = min(slots, len(sample.features))
            valid[n, :count] = sample.valid[:count]
            people[n, :count] = sample.features[:count] * sample.valid[:count, None, None, None]
        # (N, M, T, V, C) -> (N, C, T, V, M)
        moved = torch.from_numpy(people).permute(0, 4, 2, 3, 1).to(self.device)
        return moved, torch.from_numpy(valid)

    def _person_frames(self, model: HPNet, samples: Sequence[Sample]) -> Tensor:
        """(N, F, 3, S, S) uint8."""
        from ..train.multimodal import decode_jpeg

        size = model.video.image_size
        clips = []
        for sample in samples:
            images = [decode_jpeg(jpeg, size, "window") for jpeg in sample.jpegs]
            stacked = np.stack(images) if images else np.zeros((1, size, size, 3), np.uint8)
            clips.append(stacked[sample_frames(len(stacked), self.frames_wanted)])
        # (N, F, S, S, 3) -> (N, F, 3, S, S)
        return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3).to(self.device)

    def _slots(self, stream: str) -> int:
        card = self.cards[stream]
        return int(card["network" if stream == "multimodal" else "sizes"]["num_persons"])

    def _taught(self) -> Taught | None:
        """The taught actions, if they belong to these networks.

        Raises:
            ValueError: they do not; says how they are taught again.
        """
        found, where = Taught.load(self.project.taught), self.project.taught
        if found is None:
            return None
        lacking = sorted(set(found.belongs) - set(self.models))
        if lacking:
            raise ValueError(
                f"the taught actions of {where} need the stream {lacking[0]!r}: use all of {', '.join(found.belongs)}"
            )
        now = self.digests()
        if any(now[stream] != digest for stream, digest in found.belongs.items()):
            raise ValueError(
                f"{where} was taught to other networks than these, which were trained since: run `hpnet teach --again` "
                f"(the clips are not needed), or `hpnet teach --forget NAME` ({', '.join(map(repr, found.names))})"
            )
        return found

    def _check_labellings(self, streams: Sequence[str]) -> None:
        """Refuse streams made from other labels than the project's tables, or than the fusion was fitted on."""
        data = self.project.data
        now = Clips.load(data).labelling() if (data / "clips.csv").is_file() else None
        for stream in streams:
            check_trained(self.project.train(stream), now, f"hpnet train {stream}")
            fitted_on, made_from = self.fusion["labellings"].get(stream), self.cards[stream].get(LABELLING)
            if fitted_on != made_from:
                raise ValueError(
                    f"{self.project.fusion_file} was fitted to scores of {stream} from labels "
                    f"{fitted_on}, the network is from {made_from}: run `hpnet fuse` or `dvc repro`"
                )

    def _unknown(self) -> Unknown | None:
        """What the project's fusion knows of unknown clips.

        Raises:
            ValueError: it was fitted to other scores than the weights.
        """
        stored = Unknown.load(self.project.unknown_file)
        if stored is not None and stored.labellings != self.fusion["labellings"]:
            raise ValueError(f"{self.project.unknown_file} is not of the weights beside it: run `hpnet fuse` again")
        return stored

    def _card(self, stream: str) -> dict[str, Any]:
        file = self.project.train(stream) / "config.json"
        if not file.is_file():
            raise missing(file, f"run `dvc repro`, or `hpnet train {stream}`, in {self.project.root}")
        card = read_object(file)
        lacking = [k for k in ("classes", "features", "frames", "params") if k not in card]
        if lacking:
            raise ValueError(f"{file} lacks {lacking[0]!r}: run `hpnet train {stream}` again")
        with decoding(file, f"run `hpnet train {stream}` again", "is not what the stage writes"):
            typed([card["classes"], card["features"], card["frames"], card["params"]], _Card)
        return card

    def _model(self, stream: str) -> TopologyModel | HPNet:
        folder = self.project.train(stream)
        load: Callable[[Path], TopologyModel | HPNet] = load_topology
        if stream == "multimodal":  # it imports transformers, which takes seconds
            from ..train.multimodal import load_multimodal as load
        try:
            model = load(folder)
        except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(f"{folder} is broken ({why}): run `hpnet train {stream}` again") from None
        return model.to(self.device).eval()


@torch.inference_mode()
def embedded(model: TopologyModel, people: Tensor, valid: Tensor) -> NDArray[np.float32]:
    """What a trained network makes of clips, (N, D): its standardised statistics, where it is linear, else the inputs
    of its classifier.

    Args:
        people: (N, C, T, V, M) float32, zeros where there is no person.
        valid: (N, M) bool, on the host.
    """
    network: Any = model.network
    x = model.prepare(people, valid)
    linear = isinstance(network, Linear)
    values = network.standardised(*network.statistics(x, valid)) if linear else network.forward_features(x, valid)
    return np.asarray(values.float().cpu().numpy())


def _fusion(project: Project, streams: Sequence[str] | None) -> dict[str, Any]:
    """The project's own fusion rule with its weights, limited to ``streams`` if they are given."""
    file = project.fusion_file
    if not file.is_file():
        raise missing(file, f"run `dvc repro`, or `hpnet fuse`, in {project.root.resolve()}")
    stored = read_object(file)
    try:
        rule = stored[stored["chosen"]]
        typed([rule[key] for key in ("rule", "temperatures", "adjustment", "softmaxed")], _Rule)
        weights = typed(rule["weights"], dict[str, float])
        fusion = {key: rule[key] for key in ("rule", "temperatures", "adjustment", "softmaxed")}
        json.dumps(fusion, allow_nan=False)
        labellings = typed(stored.get("labellings", {}), dict[str, str | None])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{file} is not what `hpnet fuse` writes: run `hpnet fuse` again") from None
    if streams:
        unknown = sorted(set(streams) - set(weights))
        if unknown:
            raise ValueError(f"stream {unknown[0]!r} is not one of the fused streams: {', '.join(weights)}")
        weights = subset_weights(weights, tuple(weights), tuple(streams))
    if not any(weights.values()):
        raise ValueError(f"{file}: no stream has a weight above 0; run `hpnet fuse` again")
    return {**fusion, "weights": weights, "labellings": labellings}
