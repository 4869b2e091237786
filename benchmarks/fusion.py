"""Rules for fusing scores that need no test label, side by side: the figures of benchmarks/fusion.md.

    hpnet import scores-hpnet FOLDER --protocol smarthome-cs --out imported
    python benchmarks/fusion.py imported

Nothing here is fitted on labels. Labels are read once, at the end, to print each rule's accuracies.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, softmax

from hpnet.artifacts.imported import load_frequencies
from hpnet.artifacts.scores import Scores
from hpnet.core.metrics import mean_class_accuracy
from hpnet.core.statistics import paired_difference
from hpnet.core.units import independent_units
from hpnet.data.protocols import label_and_split
from hpnet.fuse import alignment, fusion

Floats = NDArray[np.float64]
REFERENCE = "**balanced: pool − log f (τ = 1)**"
CONSTANT = {"hpj": 0.1, "hpb": 0.1, "hpjm": 0.1, "hpbm": 0.1, "multimodal": 1.0}


def pooled(logs: dict[str, Floats], weights: dict[str, float]) -> Floats:
    """Log-linear pool: sum of weighted log-probabilities (N, K)."""
    return sum((weights[name] * log for name, log in logs.items()), np.zeros_like(logs["multimodal"]))


def label_shift(logs: Floats, start: Floats, steps: int = 200) -> Floats:
    """Class shares of unlabelled clips by expectation maximisation (Saerens et al. 2002), from training shares (K,)."""
    shares = start.copy()
    for _ in range(steps):
        posterior = softmax(logs + np.log(shares) - np.log(start), axis=1)
        shares = np.maximum(posterior.mean(0), 1e-6)
        shares /= shares.sum()
    return shares


def dawid_skene(guesses: NDArray[np.int64], classes: int, start: Floats, steps: int = 50) -> Floats:
    """Log-likelihood (N, K) of classes given each stream's guess (S, N), confusions from unlabelled clips by EM."""
    posterior = softmax(start, axis=1)
    for _ in range(steps):
        confusions = []
        for guess in guesses:
            counts = np.ones((classes, classes)) * 0.1 + np.eye(classes)
            for k in range(classes):
                counts[:, k] += posterior[guess == k].sum(0)
            confusions.append(np.log(counts / counts.sum(1, keepdims=True)))
        evidence = sum((c[:, g].T for c, g in zip(confusions, guesses, strict=True)), np.zeros_like(posterior))
        shares = np.log(np.maximum(posterior.mean(0), 1e-6))
        posterior = softmax(evidence + shares, axis=1)
    return np.asarray(evidence, dtype=np.float64)


def transported(logs: Floats, shares: Floats, strength: float = 1.0, steps: int = 100) -> Floats:
    """Sinkhorn: scores whose softmax over clips gives every class ``shares`` of them (K,)."""
    clips, offset = len(logs), np.zeros(logs.shape[1])
    for _ in range(steps):
        row = logsumexp(logs + offset, axis=1, keepdims=True)
        offset = np.log(shares * clips) - logsumexp(logs - row, axis=0)
    return logs + strength * offset


def ranked(logs: dict[str, Floats], weights: dict[str, float]) -> Floats:
    """Borda count of the streams' ranks."""
    total = np.zeros_like(logs["multimodal"])
    for name, log in logs.items():
        total += weights[name] * log.argsort(1).argsort(1)
    return total


def candidates(streams: dict[str, Floats], f: Floats, counts: NDArray[np.int64]) -> dict[str, Callable[[], Floats]]:
    """Every rule that was tried, by name; ``f``: training shares (K,)."""
    logs = {n: alignment.log_probabilities(v, alignment.score_kind(v)) for n, v in streams.items()}
    base = pooled(logs, CONSTANT)
    names = list(streams)
    log_f = np.log(f)
    entropy = {n: -(np.exp(v) * v).sum(1, keepdims=True) for n, v in logs.items()}
    top = np.log(len(f))
    sure = {n: 1 - e / top for n, e in entropy.items()}
    agree = {n: float(np.mean(v.argmax(1) == base.argmax(1))) for n, v in logs.items()}
    implied = softmax(base, axis=1).mean(0)
    shift = label_shift(log_softmax(base, axis=1), f)
    effective = (1 - 0.999 ** counts.astype(float)) / (1 - 0.999)
    effective /= effective.sum()
    guesses = np.stack([logs[n].argmax(1) for n in names])
    skene = dawid_skene(guesses, len(f), base)
    weights_sum = sum(CONSTANT.values())
    rules: dict[str, Callable[[], Floats]] = {
        "weighted, the paper's constants": lambda: sum(
            (({**CONSTANT, "multimodal": 11.0})[n] * v for n, v in streams.items()), np.zeros_like(base)
        ),
        "log-linear pool alone (τ = 0)": lambda: base,
        REFERENCE: lambda: base - log_f,
        "hpnet alone − log f": lambda: logs["multimodal"] - log_f,
        "every stream adjusted by its own weight (τ = 1.4)": lambda: base - weights_sum * log_f,
        "τ = 0.5": lambda: base - 0.5 * log_f,
        "τ = 0.75": lambda: base - 0.75 * log_f,
        "τ = 1.25": lambda: base - 1.25 * log_f,
        "τ = 1.5": lambda: base - 1.5 * log_f,
        "τ = 2": lambda: base - 2 * log_f,
        "equal weights 1, τ = 1": lambda: pooled(logs, dict.fromkeys(names, 1.0)) - log_f,
        "equal weights 1, τ = 5 (each stream adjusted)": lambda: pooled(logs, dict.fromkeys(names, 1.0)) - 5 * log_f,
        "weights 0.05, τ = 1": lambda: pooled(logs, {**dict.fromkeys(names, 0.05), "multimodal": 1.0}) - log_f,
        "weights 0.2, τ = 1": lambda: pooled(logs, {**dict.fromkeys(names, 0.2), "multimodal": 1.0}) - log_f,
        "weights = agreement with the pool, τ = 1": lambda: (
            pooled(logs, {n: agree[n] / max(agree.values()) for n in names}) - log_f
        ),
        "weights 0.1 · certainty of each clip, τ = 1": lambda: (
            logs["multimodal"]
            + 0.1 * sum((sure[n] * logs[n] for n in names if n != "multimodal"), np.zeros_like(base))
            - log_f
        ),
        "topology streams count where hpnet is unsure, τ = 1": lambda: (
            logs["multimodal"]
            + (1 - sure["multimodal"]) * 0.4 * sum((logs[n] for n in names if n != "multimodal"), np.zeros_like(base))
            - log_f
        ),
        "effective numbers (Cui et al. 2019) for f": lambda: base - np.log(effective),
        "mean prediction on the test clips for f": lambda: base - np.log(implied),
        "half log f, half mean prediction": lambda: base - 0.5 * log_f - 0.5 * np.log(implied),
        "label-shift EM for top-1: pool − log f + log π": lambda: base - log_f + np.log(shift),
        "label-shift EM, half of log π": lambda: base - log_f + 0.5 * np.log(shift),
        "pool − log π of label-shift EM": lambda: base - np.log(shift),
        "Sinkhorn to equal class shares": lambda: transported(base, np.full(len(f), 1 / len(f))),
        "Sinkhorn to training shares, then − log f": lambda: transported(base, f) - log_f,
        "Sinkhorn to EM's shares, then − log π": lambda: transported(base, shift) - np.log(shift),
        "Dawid-Skene confusions (EM), balanced": lambda: skene,
        "Dawid-Skene evidence 0.1 + balanced": lambda: base - log_f + 0.1 * skene,
        "Borda count, constants": lambda: ranked(logs, CONSTANT),
        "adjusted hpnet, unadjusted streams as tie-breakers (0.01)": lambda: (
            logs["multimodal"] - log_f + 0.01 * sum((logs[n] for n in names if n != "multimodal"), np.zeros_like(base))
        ),
    }
    return rules


def main(folder: Path) -> None:
    """Print the table."""
    files = {f.parent.name: f for f in folder.glob("*/scores.parquet")} or {f.stem: f for f in folder.glob("*.parquet")}
    scores = {name: Scores.load(files[name]).split("test") for name in CONSTANT}
    aligned = alignment.align(scores)
    counts = load_frequencies(folder / "frequencies.csv")
    log_f, _ = fusion.log_frequency(counts, aligned.num_classes)
    rules = candidates(aligned.values, np.exp(log_f), counts)
    labels = aligned.labels
    results = {name: rule() for name, rule in rules.items()}
    reference = results[REFERENCE].argmax(1) == labels
    units = independent_units(label_and_split("smarthome-cs", aligned.clip_ids).assign(split="test"))
    groups = units.numbers(aligned.clip_ids)
    print(f"Intervals and tests over {units.counted(units.count(aligned.clip_ids))}: {units.reason}.\n")
    print("| rule | top-1, % | mean per class, % | gain over balanced, points (95 %) | top-1 against balanced, p |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, values in results.items():
        right = values.argmax(1) == labels
        found = paired_difference(reference, right, labels, groups)
        gain = found.difference
        print(
            f"| {name} | {100 * right.mean():.2f} | {100 * mean_class_accuracy(values, labels):.2f} "
            f"| {100 * gain.value:+.2f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) "
            f"| {found.p_value:.3f} |"
        )

    print(f"\n{selected(results, labels, [clip.split('_')[1] for clip in aligned.clip_ids])}")


def selected(results: dict[str, Floats], labels: NDArray[np.int64], subjects: list[str]) -> str:
    """What selecting a rule on two people as validation, and judging it on the others, gives over `balanced`.

    A simulation: those people are test subjects, so nothing that is shipped may come from it.
    """
    who = np.array(subjects)
    gains, tops, chosen = [], [], []
    for pair in itertools.combinations(sorted(set(subjects)), 2):
        held = np.isin(who, pair)
        best = max(results, key=lambda name: mean_class_accuracy(results[name][held], labels[held]))
        ours, base = results[best][~held], results[REFERENCE][~held]
        truth = labels[~held]
        gains.append(100 * (mean_class_accuracy(ours, truth) - mean_class_accuracy(base, truth)))
        tops.append(100 * float((ours.argmax(1) == truth).mean() - (base.argmax(1) == truth).mean()))
        chosen.append(best)
    often = ", ".join(f"{name} {count}" for name, count in Counter(chosen).most_common(4))
    return (
        f"Selected on two people, judged on the other five, {len(gains)} splits: mean per class "
        f"{np.mean(gains):+.2f} points over balanced ({min(gains):+.2f} to {max(gains):+.2f}), top-1 "
        f"{np.mean(tops):+.2f}. Chosen: {often}."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
