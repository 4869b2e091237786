"""Fig. 6: embeddings of the test clips in two dimensions (t-SNE), on 2-D pose and on pooled features.

For topology networks it shows the input of the classifier, which every training run keeps. For the multimodal stream it
shows the scores, because it has no classifier. No network has to run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.reading import decoding
from ...core.streams import MULTIMODAL
from ..figures import scatter_plot
from ..results import baseline_name, common, evaluated, feature_kind, feature_runs, pooled_name
from ..section import Given, Panel

MOST_CLIPS = 300
"""The exact t-SNE takes seconds for so many; its time grows with their square."""
FEWEST_CLIPS = 12
"""Of the whole figure; and of each action, where there are so many: more than twice :data:`NEIGHBOURS`."""
NEIGHBOURS = 5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Embedding:
    """What the template shows: a panel for each network."""

    lead: str
    panels: tuple[Panel, ...]


def build(given: Given) -> Embedding | None:
    """A panel for the joint stream on 2-D pose, one on pooled features, one of the multimodal stream, if they exist.

    None with fewer than two of them, or too few clips.
    """
    collected = given.collected
    runs = feature_runs(collected)
    wanted = {name: runs[name] for name in (baseline_name(collected, runs), pooled_name(collected, runs)) if name}
    if MULTIMODAL in collected.runs:
        wanted[MULTIMODAL] = collected.runs[MULTIMODAL]
    scored = {name: part for name, run in wanted.items() if (part := evaluated(run.scores)) is not None}
    if len(scored) < 2 or collected.clips is None:
        return None
    joined = common(list(scored.values()))
    if len(joined[0].clip_ids) < FEWEST_CLIPS:
        return None
    rows, names = even_sample(joined[0].labels), collected.clips.class_names
    labels = joined[0].labels[rows]
    counts, there = np.unique(labels, return_counts=True)[1], len(np.unique(joined[0].labels))
    actions = len(counts) if len(counts) == there else f"{len(counts)} of the {there}"
    panels = []
    for name, scores in zip(scored, joined, strict=True):
        trained = wanted[name].features
        with decoding(f"trained features of {name}", f"run `hpnet train {name}` again", "lack a clip"):
            seen = scores.logits if trained is None else trained.of(scores.clip_ids)
        features = standardised(seen[rows])
        kind = "HP + RGB + text"
        if name != MULTIMODAL:
            kind = f"Joint, {feature_kind(collected, wanted[name]).title(collected.params.pool.tap)}"
        kind += ", scores" if trained is None else ""
        pure = neighbour_share(features, labels, NEIGHBOURS)
        svg = scatter_plot(embed(features), labels, names, f"t-SNE: {kind}")
        text = f"{100 * pure:.0f} % of the {NEIGHBOURS} nearest clips show the same action"
        panels.append(Panel(kind, text, given.files.figure(f"tsne_{name}", svg)))
    return Embedding(
        lead=(
            f"{len(rows)} test clips, up to {counts.max()} of each of {actions} actions, in the networks' feature "
            "spaces: the input of the classifier (or, where named, the scores), standardised, in two dimensions "
            "(t-SNE, fixed seed). Numbers are the actions as in the confusion matrix. Distances between distant groups "
            "have no meaning in such a picture. The share of "
            "neighbours with the same action is computed before t-SNE."
        ),
        panels=tuple(panels),
    )


def even_sample(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of at most :data:`MOST_CLIPS` clips (N,), ascending: equally many of each action, evenly spaced.

    Where that would be fewer than :data:`FEWEST_CLIPS` of each, some actions are shown, at equal steps of the list.
    """
    actions = np.unique(labels)
    most = MOST_CLIPS // FEWEST_CLIPS
    if len(actions) > most:
        actions = actions[np.linspace(0, len(actions) - 1, most).round().astype(int)]
    each = MOST_CLIPS // len(actions)
    found = []
    for action in actions:
        own = np.flatnonzero(labels == action)
        found.append(own[np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)])
    return np.sort(np.concatenate(found))


def standardised(values: NDArray[np.floating]) -> Floats:
    """Columns of (N, K) with mean 0 and sd 1; a constant column becomes zeros."""
    array = np.asarray(values, dtype=np.float64)
    return np.asarray((array - array.mean(0)) / np.maximum(array.std(0), 1e-9), dtype=np.float64)


def neighbour_share(features: Floats, labels: NDArray[np.int64], count: int) -> float:
    """Share of each clip's ``count`` nearest other clips (N, K) that have its label."""
    distance = ((features[:, None] - features[None]) ** 2).sum(2)  # (N, N)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
    return float((labels[nearest] == labels[:, None]).mean())


def embed(features: Floats, seed: int = 0) -> Floats:
    """t-SNE (van der Maaten and Hinton 2008) of (N, K) -> (N, 2); the exact method on one thread, so the same twice."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found = TSNE(
            2, perplexity=min(20, (len(features) - 1) / 3), init="pca", method="exact", max_iter=500, random_state=seed
        ).fit_transform(features)
    return np.asarray(found, dtype=np.float64)
