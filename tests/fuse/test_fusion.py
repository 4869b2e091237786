"""hpnet.fuse.fusion: the authors' own figures, joins, fits and refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.combinations import Combinations
from hpnet.artifacts.labelling import Labelling
from hpnet.artifacts.scores import Scores
from hpnet.core.statistics import bootstrap_interval
from hpnet.core.units import Units
from hpnet.data.importers import ImportedScores, import_scores_hpnet
from hpnet.fuse import RULES, alignment, applied, ensembles, fitting, fusion, stored
from hpnet.fuse.fusion import Options

SHARED = Path(__file__).resolve().parents[3] / "shared"
SMARTHOME = SHARED / "data" / "scores" / "smarthome_cs"
RELEASED = {"hpj": 0.1, "hpb": 0.1, "hpjm": 0.1, "hpbm": 0.1, "multimodal": 11.0}


def make(
    logits: NDArray[np.float64], labels: NDArray[np.int64], validation: int = 0, names: list[str] | None = None
) -> Scores:
    ids = tuple(names or [f"c{i:04d}" for i in range(len(labels))])
    splits = tuple("val" if i < validation else "test" for i in range(len(labels)))
    return Scores(ids, splits, labels, np.asarray(logits, dtype=np.float32))


def noisy(seed: int, strength: float, labels: NDArray[np.int64], scale: float = 1.0) -> NDArray[np.float64]:
    logits = np.random.default_rng(seed).normal(size=(len(labels), 6))
    logits[np.arange(len(labels)), labels] += strength
    return logits * scale


LABELS = np.random.default_rng(9).integers(0, 6, 400)


# --- the authors' figures -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smarthome() -> ImportedScores:
    if not SMARTHOME.is_dir():
        pytest.skip("the authors' scores are not here")
    return import_scores_hpnet(SMARTHOME, "smarthome-cs")


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (("multimodal",), 81.31),
        (("hpj",), 51.54),
        (("hpb",), 51.29),
        (("hpjm",), 45.15),
        (("hpbm",), 43.23),
        (("hpj", "multimodal"), 81.44),
        (("hpb", "multimodal"), 81.11),
        (("hpj", "hpb"), 55.69),
        (("hpj", "hpb", "multimodal"), 81.74),
        (("hpj", "hpb", "hpjm", "hpbm", "multimodal"), 81.56),
    ],
)
def test_weighted_gives_the_published_figures(
    smarthome: ImportedScores, streams: tuple[str, ...], expected: float
) -> None:
    parts = {s: smarthome.streams[s] for s in streams}
    result = fusion.fuse(parts, "weighted", {s: RELEASED[s] for s in streams})
    assert round(100 * ensembles.evaluate(result.scores)["mean_class_accuracy"], 2) == expected


def test_balanced_gives_its_figure_with_constants_and_with_the_same_weights_given(smarthome: ImportedScores) -> None:
    assert smarthome.frequencies is not None
    counts = smarthome.frequencies["count"]
    for weights in ("validation", {**RELEASED, "multimodal": 1.0}):
        result = fusion.fuse(
            smarthome.streams,
            "balanced",
            weights,  # type: ignore[arg-type]
            class_frequency=counts,
            protocol="smarthome-cs",
        )
        measured = ensembles.evaluate(result.scores)
        assert round(100 * measured["mean_class_accuracy"], 2) == 85.43
        assert round(100 * measured["top1"], 2) == 89.95
        assert result.fit is None
    assert not any("too few" in note for note in result.notes)


def test_fallback_says_so_and_equals_the_published_ensemble(smarthome: ImportedScores) -> None:
    result = fusion.fuse(smarthome.streams, protocol=smarthome.protocol)
    assert result.weights == RELEASED
    assert result.origin == "released"
    assert any("the released weights of smarthome-cs are used" in note for note in result.notes)
    assert round(100 * ensembles.evaluate(result.scores)["mean_class_accuracy"], 2) == 81.56


def test_fuse_command_on_the_authors_scores(smarthome: ImportedScores, tmp_path: Path) -> None:
    from hpnet.stages.fuse import command

    smarthome.save(tmp_path / "in")
    weights = ",".join(f"{s}={w}" for s, w in RELEASED.items())
    arguments = ["--input", tmp_path / "in", "--rule", "weighted", "--weights", weights]
    arguments += ["--metrics", tmp_path / "m.json", "--out", tmp_path / "out"]
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert round(100 * metrics["mean_class_accuracy"], 2) == 81.56
    assert round(100 * metrics["balanced"]["mean_class_accuracy"], 2) == 85.43
    assert round(100 * metrics["hpj+hpb"]["mean_class_accuracy"], 2) == 55.69
    assert round(100 * metrics["hpbm"]["mean_class_accuracy"], 2) == 43.23
    assert metrics["top1_low"] < metrics["top1"] < metrics["top1_high"]
    assert Scores.load(tmp_path / "out" / "scores.parquet").logits.shape == (5433, 31)
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert table.groupby("rule").size().to_dict() == {"balanced": 10, "stream": 5, "weighted": 5}


def test_fuse_command_takes_the_released_weights_of_the_imports_protocol(
    smarthome: ImportedScores, tmp_path: Path
) -> None:
    from hpnet.stages.fuse import command

    smarthome.save(tmp_path / "in")
    arguments = ["--input", tmp_path / "in", "--metrics", tmp_path / "m.json", "--out", tmp_path / "out"]
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert "the released weights of smarthome-cs are used" in result.output
    assert round(100 * json.loads((tmp_path / "m.json").read_text())["mean_class_accuracy"], 2) == 81.56
    assert json.loads((tmp_path / "out" / "weights.json").read_text())["weighted"]["origin"] == "released"


def test_balanced_is_refused_where_nothing_tells_the_training_clips_per_class(tmp_path: Path) -> None:
    from hpnet.stages.fuse import command

    names = [f"class {k}" for k in range(6)]
    classes = pd.DataFrame({"label": range(6), "name": names, "prompt": names})
    ImportedScores(five_streams(), classes).save(tmp_path / "in")
    arguments = ["--input", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--rule", "balanced"]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, ValueError)
    assert "needs the training clips per class" in str(result.exception)
    assert "--frequencies" in str(result.exception)
    assert not (tmp_path / "out").exists()
    (tmp_path / "in" / "frequencies.csv").write_text("label,count\n" + "".join(f"{k},{k + 1}\n" for k in range(6)))
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0


# --- joining --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("validation", [0, 100])
def test_row_order_does_not_matter(rule: str, validation: int) -> None:
    first, second = make(noisy(1, 1, LABELS), LABELS, validation), make(noisy(2, 2, LABELS), LABELS, validation)
    turn = np.random.default_rng(0).permutation(len(LABELS))
    turned = Scores(
        tuple(second.clip_ids[i] for i in turn),
        tuple(second.splits[i] for i in turn),
        LABELS[turn],
        second.logits[turn],
    )
    one = fusion.fuse({"hpj": first, "multimodal": second}, rule, class_frequency=np.ones(6))
    other = fusion.fuse({"hpj": first, "multimodal": turned}, rule, class_frequency=np.ones(6))
    assert one.scores.clip_ids == other.scores.clip_ids
    np.testing.assert_array_equal(one.scores.logits, other.scores.logits)
    assert one.weights == other.weights


def test_weighted_is_the_plain_sum_of_stored_scores() -> None:
    logits, probabilities = noisy(1, 1, LABELS), softmax(noisy(2, 1, LABELS), axis=1)
    streams = {"hpj": make(logits, LABELS), "multimodal": make(probabilities, LABELS)}
    result = fusion.fuse(streams, "weighted", {"hpj": 0.1, "multimodal": 11})
    np.testing.assert_allclose(result.scores.logits, 0.1 * logits + 11 * probabilities, rtol=1e-5, atol=1e-5)


def test_balanced_is_its_formula_for_logits_and_probabilities_alike() -> None:
    logits, counts = noisy(1, 1, LABELS), np.array([1, 2, 3, 4, 5, 6])
    other = noisy(2, 1, LABELS)
    expected = 0.3 * log_softmax(logits, 1) + 2.0 * log_softmax(other, 1) - 0.5 * np.log(counts / counts.sum())
    weights = {"hpj": 0.3, "multimodal": 2.0}
    for hpnet in (other, softmax(other, axis=1)):
        streams = {"hpj": make(logits, LABELS), "multimodal": make(hpnet, LABELS)}
        result = fusion.fuse(streams, "balanced", weights, tau=0.5, class_frequency=counts)
        np.testing.assert_allclose(result.scores.logits, expected, rtol=1e-4, atol=1e-4)
        assert result.tau == 0.5


def test_missing_clips_are_named_counted_and_refused() -> None:
    names = [f"c{i}" for i in range(8)]
    whole = make(noisy(1, 1, LABELS[:8]), LABELS[:8], names=names)
    part = make(noisy(2, 1, LABELS[:6]), LABELS[:6], names=names[:6])
    weights = {"hpj": 1.0, "hpb": 1.0}
    with pytest.raises(ValueError, match=r"stream hpb lacks 2 of 8 clips: c6, c7 .*--allow-missing"):
        fusion.fuse({"hpj": whole, "hpb": part}, "weighted", weights)
    result = fusion.fuse({"hpj": whole, "hpb": part}, "weighted", weights, options=Options(allow_missing=True))
    np.testing.assert_allclose(result.scores.logits[6:], whole.logits[6:], rtol=1e-6)
    assert "stream hpb lacks 2 of 8 clips: c6, c7" in result.notes


def test_streams_that_do_not_belong_together_are_refused() -> None:
    one = make(noisy(1, 1, LABELS), LABELS)
    with pytest.raises(ValueError, match=r"'hpb' scores 5 classes but 'hpj' 6"):
        alignment.align({"hpj": one, "hpb": make(noisy(1, 1, LABELS)[:, :5], np.minimum(LABELS, 4))})
    with pytest.raises(ValueError, match=r"clip 'c0000' has label .* do not belong together"):
        alignment.align({"hpj": one, "hpb": make(noisy(1, 1, LABELS), (LABELS + 1) % 6)})
    with pytest.raises(ValueError, match="split 'val' in stream 'hpb'"):
        alignment.align({"hpj": one, "hpb": make(noisy(1, 1, LABELS), LABELS, 1)})
    with pytest.raises(ValueError, match="no stream"):
        alignment.align({})


def test_duplicates_and_nan_never_reach_fusion() -> None:
    logits = noisy(1, 1, LABELS[:2])
    with pytest.raises(ValueError, match="'a' is listed twice"):
        make(logits, LABELS[:2], names=["a", "a"])
    logits[1, 3] = np.nan
    with pytest.raises(ValueError, match="'b' has a score that is not finite"):
        make(logits, LABELS[:2], names=["a", "b"])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"hpj": 1.0, "hpx": 1.0}, "unknown stream 'hpx'; the streams are hpj, hpb"),
        ({"hpj": 1.0}, "'hpb' has no weight; give hpb=0"),
        ({"hpj": 1.0, "hpb": -1.0}, "'hpb' is -1.0"),
        ({"hpj": 1.0, "hpb": float("nan")}, "'hpb' is nan"),
        ({"hpj": 0.0, "hpb": 0.0}, "all fusion weights are 0"),
    ],
)
def test_bad_weights(weights: dict[str, float], message: str) -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS), LABELS), "hpb": make(noisy(2, 1, LABELS), LABELS)}
    with pytest.raises(ValueError, match=message):
        fusion.fuse(streams, "weighted", weights)


def test_unknown_rule_and_wrong_frequencies() -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS), LABELS)}
    with pytest.raises(ValueError, match="choose from weighted, balanced"):
        fusion.fuse(streams, "mean")
    for counts in (np.ones(5), np.zeros(6), np.array([1, 1, 1, 1, 1, -1])):
        with pytest.raises(ValueError, match="6 non-negative numbers"):
            fusion.fuse(streams, "balanced", {"hpj": 1.0}, class_frequency=counts)


# --- kinds ----------------------------------------------------------------------------------------------------------


def test_score_kind() -> None:
    logits = noisy(1, 1, LABELS)
    assert stored.score_kind(logits) == "logits"
    assert stored.score_kind(abs(logits)) == "logits"
    assert stored.score_kind(softmax(logits, axis=1).astype(np.float32)) == "probabilities"
    assert stored.score_kind(log_softmax(logits, axis=1)) == "logits"


def test_logits_promised_as_probabilities_are_refused() -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS), LABELS)}
    with pytest.raises(ValueError, match="'hpj' should be probabilities"):
        fusion.fuse(streams, "balanced", {"hpj": 1.0}, options=Options(kinds={"hpj": "probabilities"}))


def test_zero_probabilities_stay_finite() -> None:
    hard = np.eye(6)[LABELS]
    result = fusion.fuse({"hpj": make(hard, LABELS)}, "balanced", {"hpj": 1.0})
    assert np.isfinite(result.scores.logits).all()
    assert ensembles.evaluate(result.scores)["top1"] == 1.0


# --- fitting --------------------------------------------------------------------------------------------------------


def test_temperature_is_recovered() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6000, 6)) * 2
    labels = np.array([rng.choice(6, p=p) for p in softmax(logits, axis=1)])
    assert fitting.fit_temperature(logits * 3, labels) == pytest.approx(3.0, rel=0.1)
    assert fitting.fit_temperature(logits / 2, labels) == pytest.approx(0.5, rel=0.1)


def test_fitted_weights_follow_quality_and_beat_every_stream() -> None:
    labels = np.random.default_rng(3).integers(0, 6, 1200)
    streams = {
        "hpj": make(noisy(1, 1.5, labels), labels, 600),
        "hpb": make(noisy(2, 0.0, labels), labels, 600),  # noise
        "multimodal": make(noisy(3, 2.5, labels), labels, 600),
    }
    alone = max(ensembles.evaluate(s)["top1"] for s in streams.values())
    for rule in RULES:
        result = fusion.fuse(streams, rule, class_frequency=np.ones(6), options=Options(resamples=5, seed=1))
        assert result.fit is not None
        assert (result.fit.split, result.fit.clips, result.fit.seed) == ("val", 600, 1)
        assert all(error > 0 for error in result.fit.standard_error.values())
        assert ensembles.evaluate(result.scores)["top1"] > alone + 0.01
    weights = fusion.fuse(streams, "weighted").weights
    assert weights["hpb"] < 0.15 * weights["hpj"]
    assert weights["multimodal"] > weights["hpj"]


@pytest.mark.parametrize("rule", RULES)
def test_fitted_weights_given_back_reproduce_the_result(rule: str) -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS, 3.0), LABELS, 200), "multimodal": make(noisy(2, 2, LABELS), LABELS, 200)}
    fitted = fusion.fuse(streams, rule, class_frequency=np.arange(1, 7))
    again = fusion.fuse(streams, rule, fitted.weights, class_frequency=np.arange(1, 7))
    np.testing.assert_allclose(again.scores.logits, fitted.scores.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_fitted_on_test(rule: str) -> None:
    first, second = make(noisy(1, 1, LABELS), LABELS, 200), make(noisy(2, 2, LABELS), LABELS, 200)
    spoiled = second.logits.copy()
    spoiled[200:] = -spoiled[200:]
    changed = LABELS.copy()
    changed[200:] = 0
    one = fusion.fuse({"hpj": first, "multimodal": second}, rule, class_frequency=np.ones(6))
    other = fusion.fuse(
        {"hpj": replace(first, labels=changed), "multimodal": replace(second, labels=changed, logits=spoiled)},
        rule,
        class_frequency=np.ones(6),
    )
    assert one.weights == other.weights
    assert one.temperatures == other.temperatures


def test_separable_validation_keeps_weights_finite() -> None:
    perfect = make(np.eye(6)[LABELS] * 50.0 - 25.0, LABELS, 200)
    for rule in RULES:
        result = fusion.fuse({"hpj": perfect, "multimodal": perfect}, rule)
        assert all(0 <= w < 100 for w in result.weights.values())
        assert np.isfinite(result.scores.logits).all()


def test_the_adjustment_helps_rare_classes() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([1000, 500, 100, 50, 20, 10])
    labels = rng.integers(0, 6, 3000)
    logits = noisy(5, 2.0, labels) + np.log(counts / counts.sum())  # a classifier that learned the training prior
    streams = {"hpj": make(logits, labels)}
    plain = ensembles.evaluate(streams["hpj"])["mean_class_accuracy"]
    adjusted = fusion.fuse(streams, "balanced", {"hpj": 1.0}, class_frequency=counts)
    assert ensembles.evaluate(adjusted.scores)["mean_class_accuracy"] > plain + 0.1


def test_classes_without_training_clips_are_noted() -> None:
    logs, notes = fusion.log_frequency([0, 2, 8], 3)
    assert np.isfinite(logs).all()
    assert logs[0] == logs[1]
    assert "1 classes have no training clip" in notes[0]
    flat, notes = fusion.log_frequency(None, 4)
    assert np.ptp(flat) == 0
    assert "assumed equal" in notes[0]


# --- every formula, written a second time ---------------------------------------------------------------------------


def objective(
    weights: NDArray[np.float64], scores: NDArray[np.float64], labels: NDArray[np.int64], adjustment: Any = 0.0
) -> float:
    """Class-balanced cross-entropy of the weighted sum, with a Gaussian prior around 1 / S that is worth one clip."""
    fitted = log_softmax(sum(w * x for w, x in zip(weights, scores, strict=True)) - adjustment, axis=1)
    per_class = [fitted[labels == k, k].mean() for k in np.unique(labels)]
    return float(-np.mean(per_class) + sum((w - 1 / len(weights)) ** 2 for w in weights) / (2 * len(labels)))


def small_problem() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three streams (S, N, K) of unequal quality and labels of which one class never occurs and others are rare."""
    labels = np.repeat([0, 1, 2, 4], [30, 12, 5, 3])
    rng = np.random.default_rng(11)
    scores = rng.normal(size=(3, len(labels), 5))
    for stream, strength in enumerate((2.0, 1.0, 0.2)):
        scores[stream, np.arange(len(labels)), labels] += strength
    return scores, labels


@pytest.mark.parametrize("adjusted", [False, True])
def test_fitted_weights_are_the_minimum_of_the_objective(adjusted: bool) -> None:
    scores, labels = small_problem()
    adjustment = np.log([0.4, 0.3, 0.2, 0.05, 0.05]) if adjusted else None
    weights, errors, loss = fitting.fit_weights(scores, labels, adjustment)
    given = 0.0 if adjustment is None else adjustment
    best = minimize(objective, np.full(3, 0.5), args=(scores, labels, given), bounds=[(0, None)] * 3, tol=1e-12)
    np.testing.assert_allclose(weights, best.x, atol=2e-3)
    assert loss == pytest.approx(objective(weights, scores, labels, given), rel=1e-9)
    assert loss == pytest.approx(best.fun, abs=1e-6)
    assert np.isnan(errors).all()


def test_one_clip_pulls_as_much_as_the_prior() -> None:
    scores = np.array([[[1.0, 0.0]]])  # one stream, one clip of class 0
    weight = float(fitting.fit_weights(scores, [0])[0][0])
    # derivative: -(1 - p) + (w - 1) = 0 with p = sigmoid(w)
    assert weight - 1 == pytest.approx(1 - 1 / (1 + np.exp(-weight)), abs=1e-4)


def test_a_stream_that_hurts_gets_no_weight() -> None:
    scores, labels = small_problem()
    scores[2] = -3 * scores[0]
    weights, _, _ = fitting.fit_weights(scores, labels)
    assert weights[2] == 0
    assert (weights[:2] > 0).all()


@pytest.mark.parametrize("resamples", [2, 4])
def test_standard_errors_are_those_of_refits_on_resampled_clips(resamples: int) -> None:
    scores, labels = small_problem()
    _, errors, _ = fitting.fit_weights(scores, labels, seed=5, resamples=resamples)
    rng, refits = np.random.default_rng(5), []
    for _ in range(resamples):
        rows = rng.integers(0, len(labels), len(labels))
        refits.append(fitting.fit_weights(scores[:, rows], labels[rows])[0])
    np.testing.assert_allclose(errors, np.std(refits, axis=0, ddof=1), atol=2e-3)
    assert (errors > 0).any()
    assert np.isnan(fitting.fit_weights(scores, labels, resamples=1)[1]).all()
    by_default = fitting.fit_weights(scores, labels, resamples=2)[1]
    np.testing.assert_array_equal(by_default, fitting.fit_weights(scores, labels, seed=0, resamples=2)[1])


def test_every_class_that_occurs_counts_the_same() -> None:
    weights = fitting.balanced_clip_weights([0, 0, 0, 2])
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])


@pytest.mark.parametrize("scale", [0.2, 4.0, 20.0])
def test_temperature_minimises_cross_entropy_with_its_prior(scale: float) -> None:
    scores, labels = small_problem()
    logits = scale * scores[0]
    grid = np.linspace(-3, 3, 6001)
    losses = [
        -log_softmax(logits / np.exp(t), axis=1)[np.arange(len(labels)), labels].mean() + t**2 / (2 * len(labels))
        for t in grid
    ]
    found = fitting.fit_temperature(logits, labels)
    assert np.log(found) == pytest.approx(grid[np.argmin(losses)], abs=2e-3)


def test_temperature_stays_within_its_bounds() -> None:
    labels = small_problem()[1]
    many = np.tile(labels, 200)  # so many that the prior is nothing beside them: only the bounds hold
    assert np.log(fitting.fit_temperature(np.eye(5)[many] * -400.0, many)) == pytest.approx(4, abs=0.01)
    assert np.log(fitting.fit_temperature(np.eye(5)[many] * 0.01, many)) == pytest.approx(-4, abs=0.01)


def test_the_floor_under_probabilities() -> None:
    found = stored.log_probabilities([[0.0, 1.0]], "probabilities")
    np.testing.assert_allclose(found, [[np.log(1e-8 / (1 + 1e-8)), np.log(1 / (1 + 1e-8))]], rtol=1e-7)
    np.testing.assert_allclose(stored.log_probabilities([[1.0, 3.0]], "logits"), log_softmax([[1.0, 3.0]], axis=1))


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([[0.5, 0.5009]], "probabilities"),
        ([[0.5, 0.4991]], "probabilities"),
        ([[0.0, 1.0]], "probabilities"),
        ([[0.5, 0.5011]], "logits"),
        ([[0.5, 0.4989]], "logits"),
        ([[0.5, 0.5], [0.5, 0.6]], "logits"),
        ([[1.1, -0.1]], "logits"),
        ([[0.25, 0.25], [0.75, 0.75]], "logits"),
    ],
)
def test_rows_are_probabilities_up_to_a_thousandth(rows: list[list[float]], kind: str) -> None:
    assert stored.score_kind(rows) == kind
    assert stored.score_kind(np.zeros((0, 2))) == "logits"


def test_frequencies_are_shares_and_an_empty_class_is_as_rare_as_the_rarest() -> None:
    logs, notes = fusion.log_frequency([0, 2, 8, 0], 4)
    np.testing.assert_allclose(np.exp(logs), [2 / 14, 2 / 14, 8 / 14, 2 / 14])
    assert notes == ("2 classes have no training clip: counted like the rarest class",)
    logs, notes = fusion.log_frequency([1, 3], 2)
    np.testing.assert_allclose(np.exp(logs), [0.25, 0.75])
    assert notes == ()
    np.testing.assert_allclose(fusion.log_frequency(None, 4)[0], -np.log(4))


# --- without validation clips, and with some ------------------------------------------------------------------------


def five_streams(validation: int = 0) -> dict[str, Scores]:
    return {s: make(noisy(i, 1 + i, LABELS), LABELS, validation) for i, s in enumerate(RELEASED)}


@pytest.mark.parametrize(
    ("protocol", "weight"),
    [
        ("ntu60-xsub", 4), ("ntu60-xview", 3), ("ntu120-xsub", 6), ("ntu120-xset", 6),
        ("smarthome-cs", 11), ("smarthome-cv1", 4), ("smarthome-cv2", 8),
    ],
)  # fmt: skip
def test_each_protocol_of_the_paper_has_its_released_weight(protocol: str, weight: float) -> None:
    found = fusion.fuse(five_streams(), protocol=protocol)
    assert found.weights == {**RELEASED, "multimodal": weight}
    assert found.origin == "released"


@pytest.mark.parametrize("protocol", ["", "folder", "mannequin-xsub", "uav-human-v1"])
def test_any_other_protocol_has_equal_weights_of_probabilities(protocol: str) -> None:
    streams = five_streams()
    result = fusion.fuse(streams, protocol=protocol)
    assert set(result.weights.values()) == {1.0}
    assert result.origin == "equal"
    assert any("equal weights are used" in note for note in result.notes)
    expected = sum(softmax(scores.logits.astype(float), axis=1) for scores in streams.values())
    np.testing.assert_allclose(result.scores.logits, expected, rtol=1e-5)
    again = applied.fuse_as_fitted(result.to_json(), {s: v.logits for s, v in streams.items()})
    np.testing.assert_allclose(again, result.scores.logits, rtol=1e-5)
    assert fusion.fuse(streams, "balanced", protocol=protocol).weights == pytest.approx(dict.fromkeys(streams, 0.2))


def test_constants_without_validation() -> None:
    streams = five_streams()
    weighted = fusion.fuse(streams, "weighted", protocol="smarthome-cs")
    balanced = fusion.fuse(streams, "balanced", protocol="smarthome-cs")
    assert weighted.weights == RELEASED
    assert balanced.weights == {**RELEASED, "multimodal": 1.0}
    assert weighted.fit is None
    assert set(weighted.temperatures.values()) | set(balanced.temperatures.values()) == {1.0}
    assert weighted.softmaxed == ("multimodal",)
    expected = 11 * softmax(streams["multimodal"].logits.astype(float), axis=1)
    expected += sum(0.1 * streams[s].logits.astype(float) for s in RELEASED if s != "multimodal")
    np.testing.assert_allclose(weighted.scores.logits, expected, rtol=1e-4, atol=1e-5)
    assert weighted.tau == 0.0
    assert balanced.tau == 1.0
    assert set(weighted.adjustment) == {0.0}
    np.testing.assert_allclose(balanced.adjustment, -np.log(6))
    np.testing.assert_allclose(
        balanced.scores.logits,
        log_softmax(streams["multimodal"].logits.astype(float), axis=1) + np.log(6)
        + 0.1 * sum(log_softmax(streams[s].logits.astype(float), axis=1) for s in RELEASED if s != "multimodal"),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def test_ten_validation_clips_are_enough_to_fit() -> None:
    assert fusion.fuse(five_streams(9)).fit is None
    fit = fusion.fuse(five_streams(10)).fit
    assert fit is not None
    assert (fit.clips, fit.seed, fit.resamples) == (10, 0, 0)


def test_clips_without_a_label_or_a_stream_are_not_fitted_on() -> None:
    streams = five_streams(40)
    labels = LABELS.copy()
    labels[:7] = -1
    streams = {s: replace(scores, labels=labels) for s, scores in streams.items()}
    part = streams["hpb"]
    streams["hpb"] = Scores(part.clip_ids[12:], part.splits[12:], part.labels[12:], part.logits[12:])
    fit = fusion.fuse(streams, options=Options(allow_missing=True)).fit
    assert fit is not None
    assert fit.clips == 40 - 12


@pytest.mark.parametrize("rule", RULES)
def test_what_fuse_fits_is_what_the_parts_fit(rule: str) -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS, 3.0), LABELS, 200), "hpb": make(noisy(2, 2, LABELS), LABELS, 200)}
    counts = np.array([1, 2, 3, 4, 5, 6])
    result = fusion.fuse(streams, rule, tau=0.7, class_frequency=counts, options=Options(seed=3, resamples=2))
    held_out = {s: scores.logits[:200].astype(float) for s, scores in streams.items()}
    if rule == "balanced":
        held_out = {s: log_softmax(values, axis=1) for s, values in held_out.items()}
    temperatures = {s: fitting.fit_temperature(values, LABELS[:200]) for s, values in held_out.items()}
    adjustment = 0.7 * np.log(counts / 21) if rule == "balanced" else np.zeros(6)
    stacked = np.stack([held_out[s] / temperatures[s] for s in streams])
    weights, errors, loss = fitting.fit_weights(stacked, LABELS[:200], adjustment, 3, 2)
    assert result.fit is not None
    assert result.fit.loss == pytest.approx(loss)
    divided = temperatures if rule == "weighted" else dict.fromkeys(streams, 1.0)
    for s, weight, error in zip(streams, weights, errors, strict=True):
        assert result.weights[s] == pytest.approx(weight / divided[s])
        assert result.fit.standard_error[s] == pytest.approx(error / divided[s])
        assert result.temperatures[s] == pytest.approx(temperatures[s] if rule == "balanced" else 1.0)
    whole = {s: scores.logits.astype(float) for s, scores in streams.items()}
    if rule == "balanced":
        whole = {s: log_softmax(log_softmax(v, axis=1) / temperatures[s], axis=1) for s, v in whole.items()}
    expected = sum(result.weights[s] * whole[s] for s in streams) - adjustment
    np.testing.assert_allclose(result.scores.logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(applied.fuse_as_fitted(result.to_json(), whole_logits(streams)), expected, atol=1e-4)
    assert fusion.fuse(streams, rule, options=Options(resamples=1)).fit.standard_error == {}  # type: ignore[union-attr]


def whole_logits(streams: dict[str, Scores]) -> dict[str, NDArray[np.float64]]:
    return {s: scores.logits.astype(float) for s, scores in streams.items()}


def test_new_clips_are_fused_with_hpnet_as_probabilities_where_its_constant_was_used() -> None:
    streams = five_streams()
    result = fusion.fuse(streams)
    np.testing.assert_allclose(
        applied.fuse_as_fitted(result.to_json(), whole_logits(streams)), result.scores.logits, rtol=1e-4, atol=1e-4
    )
    fitted = {**result.to_json(), "weights": {"hpj": 1.0, "multimodal": 0.0}, "softmaxed": []}
    logits = whole_logits(streams)["hpj"]
    np.testing.assert_allclose(applied.fuse_as_fitted(fitted, {"hpj": logits}), logits)
    with pytest.raises(ValueError, match="'hpj' is missing"):
        applied.fuse_as_fitted(fitted, {"multimodal": logits})
    with pytest.raises(ValueError, match="'hpx' has no fusion weight; weights are for hpj, multimodal"):
        applied.fuse_as_fitted(fitted, {"hpj": logits, "hpx": logits})


def test_tau_from_zero_on() -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS), LABELS)}
    with pytest.raises(ValueError, match=r"tau = -0.1; expected 0 or more"):
        fusion.fuse(streams, "balanced", tau=-0.1)
    plain = fusion.fuse(streams, "balanced", {"hpj": 1.0}, tau=0.0, class_frequency=np.arange(1, 7))
    np.testing.assert_allclose(plain.scores.logits, log_softmax(streams["hpj"].logits, axis=1), atol=1e-5)


def test_given_kinds_hold() -> None:
    probabilities = softmax(noisy(1, 1, LABELS), axis=1)
    streams = {"hpj": make(probabilities, LABELS)}
    told = fusion.fuse(streams, "balanced", {"hpj": 1.0}, tau=0.0, options=Options(kinds={"hpj": "logits"}))
    np.testing.assert_allclose(told.scores.logits, log_softmax(probabilities, axis=1), atol=1e-5)
    known = fusion.fuse(streams, "balanced", {"hpj": 1.0}, tau=0.0, options=Options(kinds={"hpj": "probabilities"}))
    np.testing.assert_allclose(known.scores.logits, np.log(probabilities), atol=1e-4)
    assert "stored as probabilities: hpj; their logarithm is used" in known.notes
    with pytest.raises(ValueError, match="kind for unknown stream 'hpx'; the streams are hpj"):
        fusion.fuse(streams, options=Options(kinds={"hpx": "logits"}))


def test_a_label_beyond_the_classes_is_refused() -> None:
    labels = LABELS.copy()
    labels[3] = 6
    with pytest.raises(ValueError, match="clip 'c0003' has label 6, but there are 6 classes"):
        alignment.align({"hpj": make(noisy(1, 1, LABELS), labels)})


def test_at_most_five_missing_clips_are_named() -> None:
    whole, names = make(noisy(1, 1, LABELS), LABELS), [f"c{n:04d}" for n in range(5)]
    for left in (5, 6, 7):
        part = Scores(whole.clip_ids[left:], whole.splits[left:], whole.labels[left:], whole.logits[left:])
        more = f" and {left - 5} more" if left > 5 else ""
        with pytest.raises(ValueError) as said:
            alignment.align({"hpj": whole, "hpb": part})
        assert f"lacks {left} of 400 clips: {', '.join(names)}{more} (" in str(said.value)


def test_evaluation_by_hand() -> None:
    labels = np.array([0, 0, 1, 2, -1, 5])
    logits = np.zeros((6, 7))
    order = [[0, 1], [1, 0], [2, 3, 4, 5, 6, 1], [2], [3], [0, 1, 2, 3, 5]]
    for row, ranked in enumerate(order):
        logits[row, ranked] = np.arange(9, 9 - len(ranked), -1)
    measured = ensembles.evaluate(make(logits, labels))
    assert measured["clips"] == 5
    assert measured["top1"] == pytest.approx(2 / 5)
    assert measured["top5"] == pytest.approx(4 / 5)
    assert measured["mean_class_accuracy"] == pytest.approx((0.5 + 0 + 1 + 0) / 4)
    assert ensembles.absent_classes(make(logits, labels)) == [3, 4, 6]


def test_rows_of_the_table_by_hand() -> None:
    streams = {"hpj": make(noisy(1, 1, LABELS), LABELS, 100), "hpb": make(noisy(2, 1, LABELS), LABELS, 100)}
    labels = LABELS.copy()
    labels[150] = -1
    streams = {s: replace(scores, labels=labels) for s, scores in streams.items()}
    table = ensembles.ensemble_table(ensembles.all_ensembles(streams, fusion.fuse), bootstrap=40, seed=2)
    row = table.iloc[0]
    part = streams["hpj"].split("test")
    known = part.labels >= 0
    correct = part.logits[known].argmax(1) == part.labels[known]
    top1 = bootstrap_interval(correct, resamples=40, seed=2)
    balanced = bootstrap_interval(correct, part.labels[known], resamples=40, seed=2)
    assert (row.top1_low, row.top1_high) == (top1.low, top1.high)
    assert (row.mean_class_accuracy_low, row.mean_class_accuracy_high) == (balanced.low, balanced.high)
    assert row.clips == 299
    assert row.over == "299 clips"
    units = Units("performance", "", {clip: at // 3 for at, clip in enumerate(part.clip_ids)})
    both = ensembles.ensemble_table(ensembles.all_ensembles(streams, fusion.fuse), 40, 2, units)
    groups = units.numbers(part.clip_ids)[known]
    grouped = bootstrap_interval(correct, None, groups, resamples=40, seed=2)
    assert (both.iloc[0].top1_low, both.iloc[0].over) == (grouped.low, f"{len(set(groups))} performances")
    plain = ensembles.ensemble_table(ensembles.all_ensembles(streams, fusion.fuse))
    assert "top1_low" not in plain


def test_parts_without_weight_count_the_same() -> None:
    weights = {"hpj": 0.0, "hpb": 0.0, "multimodal": 2.0}
    assert applied.subset_weights(weights, tuple(weights), ("hpj", "hpb")) == {"hpj": 2.0, "hpb": 2.0}
    halves = {"hpj": 0.5, "hpb": 0.25, "multimodal": 2.0}
    assert applied.subset_weights(halves, tuple(halves), ("hpj", "hpb")) == {"hpj": 2.0, "hpb": 1.0}


# --- the table ------------------------------------------------------------------------------------------------------


def test_table_has_every_stream_and_combination_under_both_rules() -> None:
    streams = {s: make(noisy(i, 1 + i, LABELS), LABELS) for i, s in enumerate(RELEASED)}
    table = ensembles.ensemble_table(ensembles.all_ensembles(streams, fusion.fuse), bootstrap=50)
    combined = ["hpj+multimodal", "hpb+multimodal", "hpj+hpb", "hpj+hpb+multimodal", "all"]
    assert list(table.name[table.rule == "stream"]) == list(RELEASED)
    assert list(table.name[table.rule == "weighted"]) == combined
    assert list(table.name[table.rule == "balanced"]) == [*RELEASED, *combined]
    assert (table.top1_low <= table.top1).all()
    assert (table.top1 <= table.top1_high).all()
    assert (table.clips == len(LABELS)).all()


def test_other_peoples_streams_join_the_ensemble() -> None:
    pair = ("hpj", "multimodal")
    assert ensembles.combinations(pair) == {"hpj+multimodal": pair, "all": pair}
    assert ensembles.combinations(["hpj", "poseconv3d"]) == {"all": ("hpj", "poseconv3d")}
    streams = {"hpj": make(noisy(1, 1, LABELS), LABELS), "poseconv3d": make(noisy(2, 1, LABELS), LABELS)}
    assert fusion.fuse(streams).weights == {"hpj": 1.0, "poseconv3d": 1.0}
    assert fusion.fuse(streams, "balanced").weights == {"hpj": 0.5, "poseconv3d": 0.5}


def test_subset_weights_keep_the_largest_weight() -> None:
    streams = tuple(RELEASED)
    assert applied.subset_weights(RELEASED, streams, ("hpj", "multimodal")) == {"hpj": 0.1, "multimodal": 11.0}
    assert applied.subset_weights(RELEASED, streams, ("hpj", "hpb")) == pytest.approx({"hpj": 11.0, "hpb": 11.0})
    assert applied.subset_weights({"a": 0.0, "b": 2.0}, ("a", "b"), ("a",)) == {"a": 2.0}
    with pytest.raises(ValueError, match="unknown stream 'c'"):
        applied.subset_weights({"a": 1.0, "b": 2.0, "c": 1.0}, ("a", "b"), ("a",))


def test_evaluate_needs_labelled_clips() -> None:
    unlabelled = make(noisy(1, 1, LABELS), np.full(len(LABELS), -1))
    with pytest.raises(ValueError, match="no labelled clip"):
        ensembles.evaluate(unlabelled)


# --- the command in a project ---------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a clip table and two trained streams."""
    monkeypatch.chdir(tmp_path)
    ids = [f"c{i:04d}" for i in range(400)]
    rows = [
        {"clip_id": c, "path": c, "label": k, "subject": "1", "source": "1", "camera": 1, "setup": 1, "repetition": 1,
         "split": split, "width": 1, "height": 1, "fps": 1.0, "frames": 1, "error": ""}
        for split, clips in (("test", ids), ("train", [f"t{i}" for i in range(60)]))
        for c, k in zip(clips, np.arange(len(clips)) % 6, strict=True)
    ]  # fmt: skip
    classes = pd.DataFrame({"label": range(6), "name": list("abcdef"), "prompt": list("abcdef")})
    table = pd.DataFrame(rows)
    table.loc[:399, "label"] = LABELS
    table.loc[:199, "split"] = "val"
    clips = Clips(table, classes)
    clips.save(tmp_path / "artifacts" / "data")
    for seed, stream in enumerate(("hpj", "multimodal")):
        scores = replace(make(noisy(seed, 1.5, LABELS), LABELS, 200), labelling=clips.labelling())
        scores.save(tmp_path / "artifacts" / "train" / stream / "scores.parquet")
    return tmp_path


def test_a_project_of_imported_poses_misses_no_multimodal_stream(project: Path) -> None:
    from hpnet.stages.fuse import command

    shutil.rmtree(project / "artifacts" / "train" / "multimodal")
    assert "does not include multimodal" in CliRunner().invoke(command, [], catch_exceptions=False).output
    (project / "artifacts" / "pool").mkdir()
    assert "does not include multimodal" not in CliRunner().invoke(command, [], catch_exceptions=False).output


def test_fuse_command_in_a_project(project: Path) -> None:
    from hpnet.stages.fuse import command

    result = CliRunner().invoke(command, [], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "hpb/scores.parquet is missing: the fusion does not include hpb" in result.output
    metrics = json.loads((project / "metrics" / "fuse.json").read_text())
    assert metrics["unscored"] == 0
    assert metrics["clips"] == 200
    assert metrics["top1"] > max(metrics["hpj"]["top1"], metrics["multimodal"]["top1"])
    assert json.loads((project / "metrics" / "headline.json").read_text()) == {
        "accuracy": metrics["top1"],
        "mean_class_accuracy": metrics["mean_class_accuracy"],
        "clips": 200,
        "streams": {name: metrics[name]["top1"] for name in ("hpj", "multimodal")},
    }
    weights = json.loads((project / "artifacts" / "fuse" / "weights.json").read_text())
    assert weights["chosen"] == "weighted"
    assert weights["balanced"]["fit"]["split"] == "val"
    assert set(weights["weighted"]["fit"]["standard_error"]) == {"hpj", "multimodal"}


def test_fuse_command_twice_gives_the_same_files(project: Path) -> None:
    from hpnet.stages.fuse import command

    CliRunner().invoke(command, ["--rule", "balanced", "--out", "one"], catch_exceptions=False)
    CliRunner().invoke(command, ["--rule", "balanced", "--out", "two"], catch_exceptions=False)
    names = ("scores.parquet", "weights.json", "unknown.json", "table.csv", "combinations.parquet", "metrics.json")
    for name in names:
        assert (project / "one" / name).read_bytes() == (project / "two" / name).read_bytes()


def test_fuse_command_keeps_what_every_combination_recognises(project: Path) -> None:
    assert fuse_in_project().exit_code == 0
    table = pd.read_csv(project / "artifacts" / "fuse" / "table.csv").set_index(["rule", "name"])
    found = list(Combinations.load(project / "artifacts" / "fuse" / "combinations.parquet"))
    assert [(e.rule, e.name) for e in found] == [
        (rule, name) for rule in ("weighted", "balanced") for name in ("hpj+multimodal", "all")
    ]
    for ensemble in found:
        assert ensemble.streams == ("hpj", "multimodal")
        assert len(ensemble.clip_ids) == 200
        right = ensemble.predicted == ensemble.labels
        assert right.mean() == pytest.approx(table.loc[(ensemble.rule, ensemble.name)].top1)
    for stream in ("hpj", "multimodal"):  # unlabelled scores leave no old tables behind
        path = project / "artifacts" / "train" / stream / "scores.parquet"
        scores = Scores.load(path)
        scores.where(np.array(scores.splits) == "val").save(path)
    assert fuse_in_project().exit_code == 0
    names = {f.name for f in (project / "artifacts" / "fuse").iterdir()}
    assert names == {"scores.parquet", "weights.json", "unknown.json"}


def test_fuse_command_counts_test_clips_without_a_score(project: Path) -> None:
    from hpnet.stages.fuse import command

    for stream in ("hpj", "multimodal"):
        path = project / "artifacts" / "train" / stream / "scores.parquet"
        first(Scores.load(path), -3).save(path)
    result = CliRunner().invoke(command, [], catch_exceptions=False)
    assert "3 test clips of clips.csv have no score, such as c0397" in result.output
    assert json.loads((project / "metrics" / "fuse.json").read_text())["unscored"] == 3


# --- what is wrong with the input is said ---------------------------------------------------------------------------


def fuse_in_project(*arguments: str) -> Any:
    from hpnet.stages.fuse import command

    return CliRunner().invoke(command, list(arguments))


def first(scores: Scores, count: int) -> Scores:
    """The first clips; what they were made from is what it was."""
    return scores.where(np.isin(scores.clip_ids, scores.clip_ids[:count]))


def drop_clips(project: Path, stream: str, count: int) -> None:
    path = project / "artifacts" / "train" / stream / "scores.parquet"
    first(Scores.load(path), -count).save(path)


def test_fuse_command_refuses_missing_clips_unless_told(project: Path) -> None:
    drop_clips(project, "multimodal", 2)
    refused = fuse_in_project()
    assert isinstance(refused.exception, ValueError)
    assert "stream multimodal lacks 2 of 400 clips: c0398, c0399 (--allow-missing" in str(refused.exception)
    allowed = fuse_in_project("--allow-missing")
    assert allowed.exit_code == 0, allowed.output
    assert "note: stream multimodal lacks 2 of 400 clips: c0398, c0399" in allowed.output
    assert len(Scores.load(project / "artifacts" / "fuse" / "scores.parquet").clip_ids) == 400


def test_fuse_command_says_which_classes_the_mean_leaves_out(project: Path) -> None:
    for stream in ("hpj", "multimodal"):
        path = project / "artifacts" / "train" / stream / "scores.parquet"
        whole = Scores.load(path)
        kept = np.array([not (s == "test" and k == 5) for s, k in zip(whole.splits, whole.labels, strict=True)])
        whole.where(kept).save(path)
    result = fuse_in_project()
    assert result.exit_code == 0, result.output
    assert "1 of 6 classes have no test clip (5): the mean class accuracy is of the 5" in result.output
    metrics = json.loads((project / "metrics" / "fuse.json").read_text())
    test = Scores.load(project / "artifacts" / "fuse" / "scores.parquet").split("test")
    own = [(test.logits[test.labels == k].argmax(1) == k).mean() for k in range(5)]
    assert metrics["mean_class_accuracy"] == pytest.approx(np.mean(own))
    assert metrics["absent_classes"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nan", "c0399' has a score that is not finite"),
        ("twice", "clip 'c0000' is listed twice"),
        ("classes", "multimodal/scores.parquet was made from labels"),
    ],
)
def test_fuse_command_names_broken_scores(project: Path, change: str, message: str) -> None:
    path = project / "artifacts" / "train" / "multimodal" / "scores.parquet"
    table = pd.read_parquet(path)
    columns = {name: pa.array(list(table[name])) for name in table}
    if change == "nan":
        rows = [*table.logits[:-1], np.full(6, np.nan, np.float32)]
        columns["logits"] = pa.array([list(row) for row in rows], pa.list_(pa.float32()), from_pandas=False)
        pq.write_table(pa.table(columns), path)
    elif change == "twice":
        table = pd.concat([table, table[:1]])
    else:
        clips = Clips.load(project / "artifacts" / "data")
        five = Labelling(tuple("abcde"), clips.labelling().of(table.clip_id[table.label < 5]).clips)
        kept = replace(Scores.load(path), labelling=None).where((table.label < 5).to_numpy())
        replace(kept, logits=kept.logits[:, :5], labelling=five).save(path)
    if change == "twice":
        table.to_parquet(path, index=False)
    result = fuse_in_project()
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)


def test_fuse_command_refuses_weights_for_unknown_streams(project: Path) -> None:
    result = fuse_in_project("--weights", "hpj=1,multimodal=1,hpx=3")
    assert isinstance(result.exception, ValueError)
    assert "weight for unknown stream 'hpx'; the streams are hpj, multimodal" in str(result.exception)


def test_scores_of_another_class_list_do_not_join_a_folder(tmp_path: Path) -> None:
    def imported(names: str, stream: str) -> ImportedScores:
        listed = list(names)
        classes = pd.DataFrame({"label": range(len(listed)), "name": listed, "prompt": listed})
        count = len(listed)
        return ImportedScores({stream: make(np.eye(count)[LABELS % count], LABELS % count)}, classes, None)

    imported("abcdef", "hpj").save(tmp_path)
    imported("012345", "xclip").save(tmp_path)  # numbers only: the names that are there stay
    assert list(pd.read_csv(tmp_path / "classes.csv").name) == list("abcdef")
    for other in ("abcdfe", "abcde"):
        with pytest.raises(ValueError, match="another class list; choose another --out"):
            imported(other, "other").save(tmp_path)
    assert not (tmp_path / "other").exists()
