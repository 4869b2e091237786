"""The networks of a trained project, by torch, and what its tables say of its training clips."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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
from ..artifacts.files import load_meta
from ..artifacts.parquet import read_table
from ..artifacts.poses import PoseMeta
from ..artifacts.taught import Taught
from ..artifacts.unknown import Unknown
from ..core.device import resolve_device
from ..core.streams import MULTIMODAL
from ..events.finding import Rule
from ..models.linear import Linear
from ..train.topology import TopologyModel, load_topology
from ..work.shards import file_digest
from .event_rules import learnt_rule, plain_rule
from .graphs import embedding
from .person_pictures import person_pictures
from .seeing import Eyes, open_eyes
from .stored import StoredProject
from .trained import FALLBACK_WINDOW_S, VIDEO_KINDS, WHOLE_WINDOWS, Sample, Trained, stacked

if TYPE_CHECKING:
    from ..models.multimodal import HPNet

LONGEST_TIMES = 4.0
IMPORTED_KINDS = ("pose2d", "pose3d")
"""Kinds of features that `hpnet import` gives."""
BATCH = 16
MUTUAL_SHARE = 0.5
"""Actions of which this share of the training clips has several people are done together."""


class TrainedProject(Trained):
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
        models: stream -> its network.
    """

    def __init__(
        self, folder: Path, streams: Sequence[str] | None = None, device: str = "auto", *, with_taught: bool = True
    ) -> None:
        stored = StoredProject(folder, streams)
        self.project, self.params, self.fusion = stored.project, stored.params, stored.fusion
        self.root = self.project.root
        self.cards, self.streams = stored.cards, tuple(stored.used)
        self.device = resolve_device(device)
        self.on_gpu = self.device.type == "cuda"
        self.models: dict[str, TopologyModel | HPNet] = {s: self._model(s) for s in self.streams}
        first = self.cards[self.streams[0]]
        self.classes = [str(name) for name in first["classes"]]
        self.features = FeatureMeta.from_json(first["features"])
        self.frames = int(first["frames"])
        self.people = min(self.slots(stream) for stream in self.streams)
        self.wants_frames = int(self.cards[MULTIMODAL]["params"]["frames"]) if MULTIMODAL in self.streams else 0
        self.taught = self._taught() if with_taught else None
        unknown = self._unknown()
        self.refusal = None if unknown is None else unknown.of(self.fusion["weights"])
        self.background = None if unknown is None or self.refusal is None else unknown.background

    def eyes(self, *, people: int | None, device: str, precision: str) -> Eyes:
        """See :meth:`Trained.eyes`."""
        return open_eyes(
            self.params.detect, self.params.estimate, people=people, device=device, precision=precision,
            graphs=self.project.graphs,
        )  # fmt: skip

    @property
    def readers(self) -> tuple[str, ...]:
        """The streams that give a vector; ``multimodal`` does not."""
        return tuple(stream for stream, model in self.models.items() if isinstance(model, TopologyModel))

    @property
    def without_unknown(self) -> str:
        """See :attr:`Trained.without_unknown`."""
        if self.refusal is not None or self.params.fuse.unknown == "none":
            return ""
        file = self.project.unknown_file
        return f"{file} has none for these streams" if file.is_file() else f"{file} is missing: run `hpnet fuse` for it"

    @property
    def pose_meta(self) -> PoseMeta | None:
        """See :attr:`Trained.pose_meta`."""
        made = self.project.estimate / "meta.json"
        return load_meta(made, PoseMeta.from_json) if made.is_file() else None

    def without_frames(self) -> TrainedProject:
        """See :meth:`Trained.without_frames`."""
        streams = [stream for stream in self.streams if stream != MULTIMODAL]
        if len(streams) == len(self.streams):
            return self
        if not streams:
            raise ValueError(WHOLE_WINDOWS)
        found = TrainedProject(self.root, streams, str(self.device))
        found.params = self.params
        return found

    def event_rules(self, window_s: float) -> tuple[Rule, Rule | None]:
        """See :meth:`Trained.event_rules`."""
        table = self.training_clips()
        names = [] if table.empty else [self.classes[label] if label >= 0 else "" for label in table.label]
        seconds = [] if table.empty else (table.frames / table.fps).tolist()
        scores = {stream: self.project.train(stream) / "scores.parquet" for stream in self.streams}
        plain = plain_rule(self, list(zip(names, seconds, strict=True)), scores, window_s)
        return plain, learnt_rule(self.project.events, plain)

    @property
    def imported(self) -> bool:
        """See :attr:`Trained.imported`."""
        kept = (self.project.estimate / "meta.json").is_file()
        return self.features.kind not in VIDEO_KINDS or (self.features.kind in IMPORTED_KINDS and not kept)

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
    def logits_and_inputs(
        self, samples: Sequence[Sample]
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """As :meth:`Trained.logits_and_inputs`, of one pass of the networks."""
        logits, inputs = {}, []
        for stream, model in self.models.items():
            if not isinstance(model, TopologyModel):
                logits[stream] = self._stream_logits(stream, samples)
            elif isinstance(model.network, Linear):  # its classifier reads the sums to which the biases are added
                logits[stream] = self._stream_logits(stream, samples)
                inputs.append(logits[stream] - model.network.bias.float().cpu().numpy())
            else:
                logits[stream], read = self._read_by_classifier(stream, model, samples)
                inputs.append(read)
        return logits, np.concatenate(inputs, axis=1)

    def _read_by_classifier(
        self, stream: str, model: TopologyModel, samples: Sequence[Sample]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (N, K) of a graph network, and what its classifier read for them (N, D)."""
        read: list[Tensor] = []
        classifier: Any = model.network.classifier
        hook = classifier.register_forward_pre_hook(lambda _, given: read.append(given[0].float().cpu()))
        try:
            logits = self._stream_logits(stream, samples)
        finally:
            hook.remove()
        draws = len(read) // -(-len(samples) // BATCH)  # a stream may read every batch several times
        parts = [torch.stack(read[n : n + draws]).mean(0) for n in range(0, len(read), draws)]
        return logits, torch.cat(parts).numpy()

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

    @property
    def multimodal(self) -> HPNet:
        """The network of the stream ``multimodal``, which has to be there."""
        model = self.models[MULTIMODAL]
        assert not isinstance(model, TopologyModel)
        return model

    def digests(self) -> dict[str, str]:
        """Stream -> digest of its weights, of the streams that give a vector."""
        return {stream: file_digest(self.project.train(stream) / "model.safetensors") for stream in self.readers}

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
        """(N, C, T, V, M) float32 and (N, M) bool, on the host; see :func:`hpnet.predict.trained.stacked`."""
        people, valid = stacked(samples, self.slots(stream))
        return torch.from_numpy(people).to(self.device), torch.from_numpy(valid)

    def _person_frames(self, model: HPNet, samples: Sequence[Sample]) -> Tensor:
        """(N, F, 3, S, S) uint8."""
        return torch.from_numpy(person_pictures(samples, self.wants_frames, model.video.image_size)).to(self.device)

    def slots(self, stream: str) -> int:
        """How many people the network of a stream has room for."""
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

    def _unknown(self) -> Unknown | None:
        """What the project's fusion knows of unknown clips.

        Raises:
            ValueError: it was fitted to other scores than the weights.
        """
        stored = Unknown.load(self.project.unknown_file)
        if stored is not None and stored.labellings != self.fusion["labellings"]:
            raise ValueError(f"{self.project.unknown_file} is not of the weights beside it: run `hpnet fuse` again")
        return stored

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
    values = embedding(model.network, model.prepare(people, valid), valid)
    return np.asarray(values.float().cpu().numpy())
