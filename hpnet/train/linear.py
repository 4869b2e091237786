"""Fitting :class:`hpnet.models.linear.Linear`: principal components of standardised statistics, and a linear classifier
of them (:mod:`hpnet.train.classifiers`).

Which classifier, how many components and how strong the regularisation is chosen by cross-validation over folds of
whole sources (:mod:`hpnet.train.out_of_fold`); standardisation and components are measured inside every fold. Axes: n
clips, D statistics, R components, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from ..artifacts.features import FeatureMeta, Features
from ..artifacts.files import writing
from ..core.skeleton import Skeleton
from ..models.linear import Linear, Mirror, View
from ..models.skeletons import graph_skeleton
from ..work.shards import seal, sealed
from .batches import ordered_batches
from .checkpoints import Epoch
from .classifiers import CLASSIFIERS, Classifier, about_class, best_temperature, cross_entropy
from .clips import Indices, labelled_clips
from .datasets import POSE_CHANNELS, ChannelStatistics, PersonFeatures, person_rows, require_finite
from .loop import FitResult, Run, finish
from .out_of_fold import OutOfFold, learnt, make_folds
from .params import LinearParams, TopologyParams
from .run import Inputs, Machine
from .topology import TopologyModel, TopologyTask, sizes_of

Floats = NDArray[np.float64]
STREAMS_OF_PLACES = ("hpj", "hpb")
"""Streams whose channels are places, or places from one joint to the next: what moves circles there."""
POSITIONS = {"pose2d": 2, "pose3d": 3, "both": 2, "xy": 2}
"""Kind of features -> how many of its pose's channels are positions, with one origin for all people of a clip."""
LARGEST_GRAM = 20_000
"""Clips or statistics, whichever are fewer: the matrix of their products has so many rows (3 GB)."""
LARGEST_VALUES = 4_000_000_000
"""Bytes of the statistics of all clips that are learnt."""
PEOPLE = {"all": 0, "first": 1}
"""Whose statistics -> how many people are read; 0: all."""


@dataclass(frozen=True)
class Reading:
    """Whose statistics, and whether they are the mean over a clip and its mirror image."""

    people: str
    mirrored: bool = False


@dataclass(frozen=True)
class Candidate:
    """Which statistics, what is fitted to how many components, the inverse strength of regularisation, and the result
    out of fold.

    ``temperature`` is what the logits are divided by.
    """

    people: str
    mirrored: bool
    classifier: str
    components: int
    strength: float
    accuracy: float
    loss: float
    temperature: float = 1.0

    @property
    def reading(self) -> Reading:
        """Which statistics."""
        return Reading(self.people, self.mirrored)

    @property
    def rank(self) -> tuple[float, float, int, float]:
        """Higher is better: lower loss, then accuracy, then fewer components and stronger regularisation."""
        return (-self.loss, self.accuracy, -self.components, -self.strength)


@dataclass(frozen=True)
class Sample:
    """Statistics of n clips.

    Attributes:
        values: (n, D) float32.
        known: (n, 2) bool, see :meth:`hpnet.models.linear.Linear.statistics`.
        own: how many columns the first column of ``known`` is of.
        labels: (n,).
        weights: (D,) float32, by which a standardised statistic is multiplied, see :func:`even_weights`.
        kinds: (D,) of what kind each statistic is (:data:`hpnet.models.linear.KINDS`).
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    own: int
    labels: Indices
    weights: NDArray[np.float32]
    kinds: Indices

    def columns(self, classifier: Classifier) -> list[Indices]:
        """The statistics that are fitted together: those of each kind, or all."""
        kinds = self.kinds if classifier.apart else np.zeros_like(self.kinds)
        return [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]

    def scaling(self, rows: NDArray[np.bool_], within: bool = False) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and weight / standard deviation (D,) over the clips ``rows`` (n,) of which a statistic is known.

        With ``within`` the deviation is from the mean of the clip's own class. A statistic that is the same in all of
        them says nothing, and gets 0.
        """
        size = self.values.shape[1]
        mean, scale = np.zeros(size, np.float32), np.zeros(size, np.float32)
        for block, who in ((slice(0, self.own), 0), (slice(self.own, size), 1)):
            chosen = rows & self.known[:, who]
            seen = self.values[chosen, block]
            if len(seen) < 2 or not seen.shape[1]:
                continue
            middle = seen.mean(0, dtype=np.float64)
            sd = (about_class(seen, self.labels[chosen]) if within else seen).std(0, dtype=np.float64)
            varies = sd > 1e-6 * np.maximum(1e-6, np.abs(middle))
            mean[block] = middle
            scale[block] = np.where(varies, 1 / np.where(varies, sd, 1), 0)
        return mean, scale * self.weights

    def standardised(self, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, D), 0 where a statistic is not known."""
        z = (self.values - mean) * scale
        z[:, : self.own] *= self.known[:, :1]
        z[:, self.own :] *= self.known[:, 1:]
        return z


def even_weights(network: Linear, parts: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights (D,) that let every part of the features count alike: the three channels of a pose do not drown in the
    hundreds of a map.

    Of each person's statistics, and of how people differ, a part has a total weight of 1; so have the distances within
    people, and those between them. An area weighs as much as any other statistic of its channels.

    Args:
        parts: channels of each part, one after another, without second readings; empty: one part.
    """
    channels, joints = network.channels, network.sizes[1]
    view, sizes = network.view, parts or (channels,)
    if sum(sizes) != channels:
        raise ValueError(f"features have {channels} channels, but parts of {sizes}: run `hpnet pool` again")
    of_channels = np.concatenate([np.full(size, (view.per_channel * joints * size) ** -0.5) for size in sizes])
    of_planes = of_channels[[first for first, _ in network.planes]]
    # (S, C, V) -> (S C V,), then (P, Q, V) -> (P Q V,)
    each = np.tile(np.repeat(of_channels, joints), view.per_channel)
    each = np.concatenate([each, np.tile(np.repeat(of_planes, joints), view.per_plane)])
    limbs = network.own - len(each)
    each = np.concatenate([each, np.full(limbs, max(limbs, 1) ** -0.5)])
    between = network.shared - len(each) if network.shared else 0
    shared = [each, np.full(between, max(between, 1) ** -0.5)] if network.shared else []
    return np.concatenate([each, *shared]).astype(np.float32)


@dataclass(frozen=True)
class Components:
    """Principal components of n standardised clips, through the smaller of the two matrices of products.

    Attributes:
        scores: (n, R) of the clips that they were measured on, in units in which the total variance is 1.
        back: (n, R), where the matrix was n × n: the components are z.T @ back. (D, R), where it was D × D: they are
            ``back`` itself.
        dual: which of the two it was.
    """

    scores: Floats
    back: Floats
    dual: bool

    def of(self, products: NDArray[np.floating]) -> Floats:
        """Scores (m, R) of other clips from their products with z (m, n), or from themselves (m, D)."""
        return np.asarray(products @ self.back, dtype=np.float64)


def principal_components(z: NDArray[np.float32], products: NDArray[np.floating] | None, count: int) -> Components:
    """The first ``count`` components, or as many as there are, of standardised clips (n, D).

    Args:
        products: (n, n) of z with itself where that is the smaller matrix; None: (D, D) is made here.
    """
    from scipy.linalg import eigh

    dual = products is not None
    matrix = np.asarray(z.T @ z if products is None else products, dtype=np.float64)
    size = len(matrix)
    variances, vectors = eigh(matrix, subset_by_index=(max(0, size - count), size - 1))
    variances, vectors = variances[::-1], vectors[:, ::-1]
    keep = variances > 1e-9 * max(float(variances[0]), 1e-30)
    variances, vectors = variances[keep], vectors[:, keep]
    unit = 1 / np.sqrt(max(float(np.trace(matrix)) / len(z), 1e-30))  # total variance 1
    # the signs of eigenvectors are free: the largest entry is positive
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    if dual:
        return Components(vectors * np.sqrt(variances) * unit, vectors / np.sqrt(variances) * unit, dual)
    return Components(np.asarray(z @ vectors * unit, dtype=np.float64), vectors * unit, dual)


def cross_validate(
    sample: Sample, fold_of: Indices, classes: int, params: LinearParams, reading: Reading
) -> tuple[list[Candidate], NDArray[np.float32]]:
    """Every candidate, and the logits of the best one.

    Args:
        fold_of: (n,) fold of each clip; -1: in every fit.
        params: its components and strengths.
        reading: which statistics these are.

    Returns:
        Candidates in order, and (n, K) out-of-fold logits of the one with the highest rank; rows of clips in no fold
        are zeros.
    """
    grid = list(itertools.product(sorted(set(params.components)), sorted(set(params.strengths))))
    rows, names = np.flatnonzero(fold_of >= 0), tuple(dict.fromkeys(params.classifiers))
    logits = np.zeros((len(names), len(grid), len(sample.labels), classes))
    for fold in range(int(fold_of.max()) + 1):
        out = fold_of == fold
        for name, found in zip(names, logits, strict=True):
            for number, values in enumerate(_fold(sample, ~out, classes, (CLASSIFIERS[name], grid))):
                found[number, out] = values
    truth = sample.labels[rows]
    candidates = []
    every = logits.reshape(-1, len(sample.labels), classes)
    for (name, (count, strength)), found in zip(itertools.product(names, grid), every, strict=True):
        temperature = best_temperature(found[rows], truth) if CLASSIFIERS[name].tempered else 1.0
        found /= temperature
        accuracy, loss = (found[rows].argmax(1) == truth).mean(), cross_entropy(found[rows], truth)
        candidates.append(
            Candidate(reading.people, reading.mirrored, name, count, strength, float(accuracy), loss, temperature)
        )
    best = max(range(len(candidates)), key=lambda number: candidates[number].rank)
    return candidates, every[best].astype(np.float32)


def _fold(
    sample: Sample, learn: NDArray[np.bool_], classes: int, tried: tuple[Classifier, list[tuple[int, float]]]
) -> Iterator[NDArray[np.float64]]:
    """Logits (m, K) of the clips that are not learnt, for each number of components and strength."""
    classifier, grid = tried
    z = sample.standardised(*sample.scaling(learn, classifier.within))
    kinds = []
    for columns in sample.columns(classifier):
        shown, hidden = z[np.ix_(learn, columns)], z[np.ix_(~learn, columns)]
        dual = len(shown) < shown.shape[1]
        products = shown @ shown.T if dual else None
        found = principal_components(shown, products, max(count for count, _ in grid))
        kinds.append((found.scores, found.of(hidden @ shown.T if dual else hidden)))
    for count, strength in grid:
        logits = np.zeros((int((~learn).sum()), classes))
        for scores, other in kinds:
            weights, biases = classifier.fit(scores[:, :count], sample.labels[learn], classes, strength)
            logits += other[:, :count] @ weights.T + biases
        yield logits


def fit_all(network: Linear, sample: Sample, chosen: Candidate) -> float:
    """Fit ``network`` to all clips as ``chosen`` says; the mean cross-entropy on them."""
    classes, classifier = len(network.bias), CLASSIFIERS[chosen.classifier]
    mean, scale = sample.scaling(np.ones(len(sample.labels), bool), classifier.within)
    z = sample.standardised(mean, scale)
    matrix, bias = np.zeros((classes, z.shape[1]), np.float32), np.zeros(classes)
    for columns in sample.columns(classifier):
        shown = z[:, columns]
        dual = len(shown) < shown.shape[1]
        found = principal_components(shown, shown @ shown.T if dual else None, chosen.components)
        weights, biases = classifier.fit(found.scores, sample.labels, classes, chosen.strength)
        folded = weights @ found.back.T / chosen.temperature  # (K, n) or (K, D)
        matrix[:, columns] = folded.astype(np.float32) @ shown if dual else folded
        bias += biases / chosen.temperature
    for name, value in (("mean", mean), ("scale", scale), ("weight", matrix), ("bias", bias)):
        getattr(network, name).copy_(torch.from_numpy(np.asarray(value, dtype=np.float32)))
    return cross_entropy(z @ matrix.T + bias, sample.labels)


def blank(
    stream: str, params: TopologyParams, sizes: dict[str, Any], skeleton: Skeleton, statistics: ChannelStatistics
) -> TopologyModel:
    """The network of a card, to load weights into. It reads a clip once, as it is."""
    plain = {name: sizes[name] for name in ("in_channels", "num_classes", "num_joints", "num_persons")}
    network = Linear(**plain, view=View.of(sizes))
    return TopologyModel(network, stream, skeleton, statistics, params.model_copy(update={"test_draws": 1}))


def train(
    stream: str,
    inputs: Inputs,
    params: TopologyParams,
    run: Run,
    *,
    out: Path,
    card: dict[str, Any],
    machine: Machine | None = None,
) -> dict[str, Any]:
    """Fit one stream; files and metrics as of :func:`hpnet.train.topology.train`, validation scores out of fold.

    Raises:
        ValueError: as :func:`hpnet.train.topology.prepare`; too many clips and statistics; fewer than two sources;
            several processes, or another arithmetic than float32.
    """
    clips = inputs.clips
    model, task, sizes = prepare(stream, inputs, params, run)
    result, unseen = fit(model, task, params, run)
    chosen = result.chosen
    network = model.network
    assert isinstance(chosen, Candidate)
    assert isinstance(network, Linear)
    card = {
        **card,
        "classes": clips.class_names,
        "stream": stream,
        "params": params.model_dump(mode="json"),
        "seed": run.seed,
        "sizes": {**sizes, **network.view.to_json()},
        "frames": task.features.frames,
        "skeleton": graph_skeleton(params.graph.skeleton, inputs.features.meta.skeleton).to_json(),
        "features": inputs.features.meta.to_json(),
    }
    found = finish(task, model, result, out=out, accelerator=run.accelerator, card=card, unseen=unseen)
    return {
        **found,
        **asdict(chosen.reading),
        "classifier": chosen.classifier,
        "components": chosen.components,
        "strength": chosen.strength,
    }


def prepare(
    stream: str, inputs: Inputs, params: TopologyParams, run: Run
) -> tuple[TopologyModel, TopologyTask, dict[str, Any]]:
    """A stream's network with empty weights, its batches, and the sizes of the network.

    Raises:
        ValueError: as :func:`train`.
    """
    if run.accelerator.num_processes > 1 or run.accelerator.mixed_precision != "no":
        raise ValueError("graph.model 'linear' is fitted by one process in float32: start it without --precision")
    clips, features = inputs.clips, inputs.features
    table = labelled_clips(clips)
    table.require_training()
    rows = person_rows(features, table, {str(c) for c in clips.table.clip_id})
    require_finite(features.array, rows, table)
    skeleton = graph_skeleton(params.graph.skeleton, features.meta.skeleton)
    people = PersonFeatures(features.array, rows, table.labels, run.accelerator.device)
    sizes = {**sizes_of(inputs, people), **view_of(stream, features, params.linear).to_json()}
    channels = torch.zeros(features.array.shape[3])
    model = blank(stream, params, sizes, skeleton, ChannelStatistics(channels, channels + 1))
    settings = model.params.model_copy(update={"rotation": 0.0, "scale": 0.0, "behind": 0.0})
    return model, TopologyTask(table, people, settings, features.meta, seed=run.seed), sizes


def view_of(stream: str, features: Features, params: LinearParams) -> View:
    """What a stream's network reads of these features.

    Positions are those of joints alone; bones and motions have none. 3-D poses have an origin that means something, of
    a body or between two. What circles is of joints and of bones.
    """
    kind, places = features.meta.kind, []
    if kind in POSITIONS and stream in STREAMS_OF_PLACES:
        first = int(features.array.shape[3]) - POSE_CHANNELS[kind]
        places = list(range(first, first + POSITIONS[kind]))
    return View(
        positions=tuple(places) if stream == "hpj" else (),
        centred=kind != "pose3d",
        parts=tuple(sorted(set(params.parts))),
        clocks=tuple(dict.fromkeys(params.clocks)),
        planes=tuple(itertools.combinations(places, 2)) if params.areas else (),
        distances=params.distances,
        facing=features.meta.own_axes,
        mirror=Mirror(features.meta.twice),
    )


def fit(model: TopologyModel, task: TopologyTask, params: TopologyParams, run: Run) -> tuple[FitResult, OutOfFold]:
    """Choose and fit, or take what an earlier run of the same work folder did.

    Raises:
        ValueError: there are no folds to be had, nobody in the clips, or too many clips and statistics.
    """
    folds, indices = make_folds(task.clips, run.folds), np.flatnonzero(learnt(task.clips))
    run.work.mkdir(parents=True, exist_ok=True)
    done = sealed(run.work, "fitted")
    if done is None:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(torch.get_num_threads()), torch.no_grad():
            tried = []
            for reading in readings(params.linear, task):
                sample = _measure(_reading(model, reading, task.meta), task, indices)
                if not sample.known.any():
                    raise ValueError("no training clip has a person in it: check detect.confidence and the videos")
                found = cross_validate(sample, folds.of[indices], task.clips.num_classes, params.linear, reading)
                tried.append((*found, sample))
            candidates = [candidate for each, _, _ in tried for candidate in each]
            chosen = max(candidates, key=lambda candidate: candidate.rank)
            _, logits, sample = next(each for each in tried if chosen in each[0])
            network = _reading(model, chosen.reading, task.meta).network
            assert isinstance(network, Linear)
            loss = fit_all(network, sample, chosen)
        table = torch.tensor([_numbers(candidate) for candidate in candidates], dtype=torch.float64)
        state = {f"model.{name}": value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        with writing(run.work / "fitted.safetensors.part") as part:
            rest = {"candidates": table, "logits": torch.from_numpy(logits), "loss": torch.tensor([loss])}
            save_file({**state, **rest}, part)
        done = seal(part, "fitted")
    state = load_file(done)
    candidates = [_candidate(numbers) for numbers in state["candidates"].tolist()]
    chosen = max(candidates, key=lambda candidate: candidate.rank)
    weights = {name[6:]: value for name, value in state.items() if name.startswith("model.")}
    _reading(model, chosen.reading, task.meta).network.load_state_dict(weights)
    if run.on_epoch is not None:
        run.on_epoch(Epoch(0, 0.0, float(state["loss"]), chosen.loss, chosen.accuracy))
    own = folds.of[indices] >= 0
    unseen = OutOfFold(indices[own], state["logits"].numpy()[own], folds)
    return FitResult(chosen, f"cross-entropy {folds.text}", tuple(candidates), 0), unseen


def _numbers(candidate: Candidate) -> list[float]:
    """A candidate as a row of the file of fitted weights."""
    people, mirrored, classifier, *others = astuple(candidate)
    return [PEOPLE[people], float(mirrored), list(CLASSIFIERS).index(classifier), *others]


def _candidate(numbers: list[float]) -> Candidate:
    """The inverse of :func:`_numbers`."""
    people, mirrored, classifier, components, *others = numbers
    names = {count: name for name, count in PEOPLE.items()}
    return Candidate(names[int(people)], bool(mirrored), list(CLASSIFIERS)[int(classifier)], int(components), *others)


def readings(params: LinearParams, task: TopologyTask) -> list[Reading]:
    """Which statistics are tried.

    Raises:
        ValueError: mirror images alone are asked for, and the features or the actions have none.
    """
    meta, clips = task.meta, task.clips
    why = ""
    if meta.kind == "xy":
        why = "that of frame pixels depends on the width of the frame"
    elif meta.kind not in POSE_CHANNELS and not meta.mirrored:
        why = f"features of kind {meta.kind!r} have none: set estimate.mirrored and pool.mirrored to true"
    elif meta.kind == "both" and not meta.mirrored:
        why = "the maps have none: set estimate.mirrored and pool.mirrored to true"
    if clips.sided:
        why = "an action names a side"
    mirrored = [value for value in dict.fromkeys(params.mirrored) if not (value and why)]
    if not mirrored:
        raise ValueError(f"train.topology.linear.mirrored is only true, but there are no mirror images: {why}")
    return [Reading(people, value) for people in dict.fromkeys(params.people) for value in mirrored]


def mirror_of(meta: FeatureMeta, channels: int) -> Mirror:
    """How clips of these features are mirrored; any stream of them is mirrored alike."""
    pose = POSE_CHANNELS.get(meta.kind, 0)
    return Mirror(meta.twice, meta.skeleton.mirror, (channels - pose,) if pose else ())


def _reading(model: TopologyModel, reading: Reading, meta: FeatureMeta) -> TopologyModel:
    """The same model with a network without weights that reads these people, and mirror images or not."""
    network = model.network
    assert isinstance(network, Linear)
    channels, joints, persons = network.sizes
    mirror = mirror_of(meta, channels) if reading.mirrored else Mirror(meta.twice)
    model.network = Linear(
        in_channels=channels,
        num_classes=network.feature_dim,
        num_joints=joints,
        num_persons=persons,
        view=replace(network.view, people=PEOPLE[reading.people], mirror=mirror),
    )
    return model


def _measure(model: TopologyModel, task: TopologyTask, indices: Indices) -> Sample:
    """Statistics of the clips at ``indices``.

    Raises:
        ValueError: they are too many.
    """
    network = model.network
    assert isinstance(network, Linear)
    size = len(network.mean)
    if min(size, len(indices)) > LARGEST_GRAM or 4 * size * len(indices) > LARGEST_VALUES:
        raise ValueError(
            f"graph.model 'linear' would hold {len(indices)} clips of {size} statistics, expected at most "
            f"{LARGEST_VALUES // 4} numbers: pool a tap of fewer channels, or choose a network that is trained by steps"
        )
    values, known = np.zeros((len(indices), size), np.float32), np.zeros((len(indices), 2), bool)
    model.eval().to(task.features.device)
    start = 0
    for part in ordered_batches(indices, task.params.batch_size):
        batch = task.features.batch(part)
        found, there = network.statistics(model.prepare(batch.features, batch.valid), batch.valid)
        values[start : start + len(part)] = found.cpu().numpy()
        known[start : start + len(part)] = there.cpu().numpy()
        start += len(part)
    weights = even_weights(network, task.meta.own_parts)
    return Sample(values, known, network.own, task.clips.labels[indices], weights, network.kinds.numpy())
