"""Pooled features as batches for networks: people in slots, missing people masked, statistics from training clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..artifacts.features import FeatureMeta, Features
from ..models.streams import joints_at, transform
from .clips import Indices, LabelledClips

GPU_RESIDENT_SHARE = 0.5
POSES = frozenset({"pose2d", "pose3d"})
"""Kinds of features with a mirror image; that of frame pixels (``xy``) depends on the width of the frame."""
SWAPPED = frozenset({"pooled", "both"})
"""Kinds whose left and right joints can be swapped, although their channels have no mirror image: what a channel says
of the left of a joint, another may say of the right."""
POSE_CHANNELS = {"pose2d": 3, "pose3d": 3, "both": 3, "xy": 2}
"""Kind -> how many of the last channels are a pose, x first."""


def person_rows(features: Features, clips: LabelledClips, known: set[str]) -> NDArray[np.int64]:
    """Row of every clip's people in the feature array: (N, M), -1 where there is no person.

    Args:
        known: clip ids of the whole clip table, also of clips that could not be used.

    Raises:
        ValueError: a clip without features, features of an unknown clip, or two rows for one person; names the clip.
    """
    index = features.index
    strange = sorted(set(index.clip_id) - known)
    if strange:
        raise ValueError(
            f"features have clip {strange[0]!r}, clips.csv does not ({len(strange)} such clips): run `hpnet pool` again"
        )
    missing = sorted(set(clips.clip_ids) - set(index.clip_id))
    if missing:
        raise ValueError(
            f"clip {missing[0]!r} of clips.csv has no features ({len(missing)} such): run detect, estimate, pool again"
        )
    twice = index[index.duplicated(["clip_id", "person"])]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(f"features index: clip {row.clip_id!r} has two rows for person {row.person}")
    position = {clip_id: n for n, clip_id in enumerate(clips.clip_ids)}
    rows = np.full((len(clips.clip_ids), int(index.person.max()) + 1), -1, dtype=np.int64)
    for clip_id, person, row, valid in zip(index.clip_id, index.person, index.row, index.valid, strict=True):
        if valid and clip_id in position:
            rows[position[clip_id], person] = row
    return rows


@dataclass(frozen=True)
class PersonBatch:
    """A batch for a topology network; all but the mask is on the device.

    Attributes:
        features: (N, C, T, V, M) float32, zeros where there is no person.
        valid: (N, M) bool, on the host, so that the number of people is known without waiting for a GPU.
        labels: (N,) int64, -1 where unknown.
        targets: (N, K) class probabilities of mixed training clips; None: the labels.
    """

    features: Tensor
    valid: Tensor
    labels: Tensor
    targets: Tensor | None = None


class PersonFeatures:
    """Pooled features (P, T, V, C) as (N, C, T, V, M) batches of clips.

    They are copied to a GPU as float16 when they fit into half of its free memory. Otherwise, and on a CPU, they are
    read through the memory map batch by batch, so that several processes share one copy.

    Args:
        array: (P, T, V, C) float16.
        rows: (N, M), see :func:`person_rows`.
        labels: (N,) int64.
    """

    def __init__(
        self, array: NDArray[np.float16], rows: NDArray[np.int64], labels: Indices, device: torch.device
    ) -> None:
        self.device = device
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels)
        self._mapped = array
        self._resident: Tensor | None = None
        if array.nbytes <= resident_bytes(device):
            self._resident = torch.from_numpy(np.array(array)).to(device)

    @property
    def frames(self) -> int:
        """T."""
        return int(self._mapped.shape[1])

    def batch(self, clips: Indices) -> PersonBatch:
        """The clips at ``clips`` (n,), not augmented."""
        chosen = torch.from_numpy(clips)
        rows = self.rows[chosen]  # (N, M)
        valid = rows >= 0
        if self._resident is not None:
            people = self._resident[self._sent(rows.clamp(min=0))].float()
        else:
            people = self._sent(torch.from_numpy(self._mapped[rows.clamp(min=0).numpy()])).float()
        people = people * self._sent(valid)[:, :, None, None, None]
        # (N, M, T, V, C) -> (N, C, T, V, M)
        return PersonBatch(people.permute(0, 4, 2, 3, 1), valid, self._sent(self.labels[chosen]))

    def _sent(self, array: Tensor) -> Tensor:
        """``array`` on the device; does not wait for the copy."""
        return array.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation (C,) float32 of a stream's channels over people, frames and joints.

    ``components``: (B, C), the first principal components of the standardised channels; None: the channels as they are.
    """

    mean: Tensor
    sd: Tensor
    components: Tensor | None = None

    def unscaled(self) -> ChannelStatistics:
        """The same components, of channels that are not standardised: mean 0, sd 1."""
        return ChannelStatistics(torch.zeros_like(self.mean), torch.ones_like(self.sd), self.components)


def measure(
    array: NDArray[np.float16],
    rows: NDArray[np.int64],
    clips: LabelledClips,
    *,
    stream: str,
    parents: tuple[int, ...],
    components: int = 0,
) -> ChannelStatistics:
    """Statistics of the input of ``stream``, over the valid people of the *training* clips only; checks every clip.

    A constant channel gets sd 1, so that it is zero after the mean is subtracted.

    Args:
        components: principal components to measure, at most one for each channel; 0: none.

    Raises:
        ValueError: a feature is NaN or infinite (names the clip), or no training clip has a person.
    """
    channels = array.shape[3]
    total, square, count = np.zeros(channels), np.zeros(channels), 0
    products = np.zeros((channels, channels)) if components else None
    for number, split in enumerate(clips.splits):
        people = _finite_people(array, rows, clips, number)
        if split == "train" and clips.labels[number] >= 0 and len(people):
            # (m, T, V, C) -> (1, C, T, V, m)
            seen = transform(stream, people.transpose(3, 1, 2, 0)[None], parents).astype(np.float64)
            total += seen.sum((0, 2, 3, 4))
            square += (seen**2).sum((0, 2, 3, 4))
            count += seen.size // channels
            if products is not None:
                flat = seen.reshape(channels, -1)  # (1, C, T, V, m) -> (C, T V m)
                products += flat @ flat.T
    if not count:
        raise ValueError("no training clip has a person in it: check detect.confidence and the videos")
    mean = total / count
    sd = np.sqrt(np.maximum(square / count - mean**2, 0))
    sd[sd < 1e-6] = 1.0
    found = None
    if products is not None:
        _, vectors = np.linalg.eigh((products / count - np.outer(mean, mean)) / np.outer(sd, sd))
        vectors = vectors[:, ::-1][:, :components]  # (C, B)
        # the signs of eigenvectors are free: the largest entry is positive
        vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
        found = torch.tensor(vectors.T.copy(), dtype=torch.float32)
    return ChannelStatistics(torch.tensor(mean, dtype=torch.float32), torch.tensor(sd, dtype=torch.float32), found)


def require_finite(array: NDArray[np.float16], rows: NDArray[np.int64], clips: LabelledClips) -> None:
    """Check the features of every clip.

    Raises:
        ValueError: a feature is NaN or infinite; names the clip.
    """
    for number in range(len(clips.clip_ids)):
        _finite_people(array, rows, clips, number)


def _finite_people(
    array: NDArray[np.float16], rows: NDArray[np.int64], clips: LabelledClips, number: int
) -> NDArray[np.float32]:
    """The people (m, T, V, C) of the clip at ``number``."""
    people = array[rows[number][rows[number] >= 0]].astype(np.float32)
    if not np.isfinite(people).all():
        raise ValueError(
            f"features of clip {clips.clip_ids[number]!r} are not finite: run estimate and pool again for this clip"
        )
    return people


def mirrored_labels(labels: Tensor, chosen: Tensor, partners: Indices) -> tuple[Tensor, Tensor]:
    """Choose the clips of a batch that are mirrored, and give their new labels.

    Args:
        labels: (N,), -1 where unknown.
        chosen: (N,) bool, random; a clip whose class has no mirror image is not mirrored.
        partners: (K,), of :meth:`hpnet.train.clips.LabelledClips.mirror_partners`.

    Returns:
        (N,) bool and (N,) labels.
    """
    table = torch.from_numpy(partners).to(labels.device, non_blocking=True)
    other = torch.where(labels >= 0, table[labels.clamp(min=0)], labels)
    chosen = chosen & ((other >= 0) | (labels < 0))
    return chosen, torch.where(chosen, other, labels)


def are_mirrored(meta: FeatureMeta, mirror_pooled: bool) -> bool:
    """Whether features are mirrored: poses are, and maps that were read in the mirrored crop too; other pooled channels
    only if asked for, others never."""
    return meta.kind in POSES or bool(meta.mirrored) or (mirror_pooled and meta.kind in SWAPPED)


def mirror(features: Tensor, chosen: Tensor, meta: FeatureMeta) -> Tensor:
    """Swap left and right of the clips where ``chosen`` (N,) is true: (N, C, T, V, M) -> the same shape.

    Left and right joints are swapped. Maps that were read in the mirrored crop too change places with that reading.
    For 2-D and 3-D poses, which have their origin at the person, the sign of x changes too.

    Raises:
        ValueError: features of this kind are of no joints that could be swapped.
    """
    if meta.kind not in POSES | SWAPPED:
        kinds = ", ".join(sorted(POSES | SWAPPED))
        raise ValueError(f"features of kind {meta.kind!r} cannot be mirrored; expected {kinds}")
    mirrored = features[:, :, :, joints_at(meta.skeleton.mirror, features)]
    if meta.mirrored:  # two readings, which change places; each has the joints' names of its own picture
        mirrored[:, : meta.twice] = features[:, meta.twice : 2 * meta.twice]
        mirrored[:, meta.twice : 2 * meta.twice] = features[:, : meta.twice]
    if meta.kind in POSE_CHANNELS:
        x = features.shape[1] - POSE_CHANNELS[meta.kind]
        mirrored[:, x] = -mirrored[:, x]
    return torch.where(chosen[:, None, None, None, None], mirrored, features)


def resident_bytes(device: torch.device) -> int:
    """Maximum bytes of features that may be copied to a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * GPU_RESIDENT_SHARE)
    return 0
