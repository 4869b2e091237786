"""hpnet.core.event_metrics: properties, hand-worked values, brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.core import event_metrics as measure
from hpnet.core.events import BACKGROUND, Event, tiou

ACTIONS = ("wave", "clap", "kick")
LENGTH_S = 30.0
IDLE = "idle_with_action"


def sequence(draws: list[tuple[int, int, int]], person: int | None = None) -> list[Event]:
    """Events that do not overlap, from (pause, length, action) in quarters of a second."""
    found, now = [], 0
    for pause, length, action in draws:
        start = now + pause
        now = start + length
        found.append(Event(start / 4, now / 4, ACTIONS[action], person=person))
    return [event for event in found if event.end_s <= LENGTH_S]


SEQUENCES = st.lists(st.tuples(st.integers(0, 6), st.integers(2, 12), st.integers(0, 2)), max_size=6).map(sequence)
GUESSES = st.lists(
    st.tuples(st.integers(0, 80), st.integers(1, 20), st.integers(0, 2), st.integers(1, 99)),
    max_size=6,
    unique_by=lambda row: row[3],
).map(lambda rows: [Event(s / 4, (s + n) / 4, ACTIONS[a], p / 100) for s, n, a, p in rows])


def of(truth: dict[str, list[Event]], predicted: dict[str, list[Event]]) -> dict[str, float]:
    return measure.measures(truth, predicted, dict.fromkeys(truth, LENGTH_S))


@settings(max_examples=20, deadline=None)
@given(st.lists(SEQUENCES, min_size=1, max_size=3))
def test_a_perfect_prediction_has_everything(parts: list[list[Event]]) -> None:
    truth = {f"v{n}": part for n, part in enumerate(parts)}
    found = of(truth, truth)
    assert found.pop(IDLE) == 0 or not any(parts)
    if not any(parts):
        found = {name: value for name, value in found.items() if not name.startswith("map") and name != IDLE}
    assert all(value == pytest.approx(1.0) for value in found.values()), found


@settings(max_examples=20, deadline=None)
@given(SEQUENCES.filter(bool))
def test_an_empty_prediction_finds_nothing_and_disturbs_nobody(events: list[Event]) -> None:
    found = of({"v": events}, {})
    assert found.pop(IDLE) == 0
    idle = 1 - sum(event.duration_s for event in events) / LENGTH_S
    assert found.pop("frame_accuracy") == pytest.approx(idle, abs=0.03)
    assert set(found.values()) == {0.0}


@settings(max_examples=20, deadline=None)
@given(SEQUENCES.filter(bool))
def test_a_prediction_where_nothing_happens_is_wrong_everywhere(events: list[Event]) -> None:
    found = of({"v": []}, {"v": events})
    assert all(np.isnan(found[f"map_{n}"]) for n in (30, 50, 70))
    assert found["f1_10"] == found["edit"] == 0
    assert found[IDLE] == pytest.approx(1 - found["frame_accuracy"])
    assert found[IDLE] == pytest.approx(sum(event.duration_s for event in events) / LENGTH_S, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 30), st.integers(0, 40))
def test_a_shift_counts_until_the_overlap_falls_below_the_threshold(length: int, shift: int) -> None:
    true = Event(1.0, 1.0 + length / 10, "wave")
    moved = replace(true, start_s=true.start_s + shift / 10, end_s=true.end_s + shift / 10)
    found, shared = of({"v": [true]}, {"v": [moved]}), tiou(true, moved)
    for name, least in (("map_30", 0.3), ("map_50", 0.5), ("map_70", 0.7), ("f1_10", 0.1), ("f1_25", 0.25)):
        assert found[name] == float(shared >= least)
    assert found["edit"] == 1.0
    wrong = 2 * min(shift, length) / 10
    assert found["frame_accuracy"] == pytest.approx(1 - wrong / LENGTH_S, abs=0.011)


def brute_force_map(truth: dict[str, list[Event]], predicted: dict[str, list[Event]], least: float) -> float:
    """mAP by its definition: for each class, one loop over the ranking, and precision at each recall from all ranks."""
    values = []
    for action in sorted({e.action for part in truth.values() for e in part}):
        positives = sum(e.action == action for part in truth.values() for e in part)
        ranking = sorted(
            ((v, e) for v, part in predicted.items() for e in part if e.action == action),
            key=lambda pair: -pair[1].probability,
        )
        taken: set[tuple[str, Event]] = set()
        hits = []
        for video, event in ranking:
            free = [g for g in truth[video] if g.action == action and (video, g) not in taken]
            best = max(free, key=lambda g: tiou(event, g), default=None)
            hits.append(best is not None and tiou(event, best) >= least)
            if hits[-1]:
                taken.add((video, best))  # type: ignore[arg-type]
        precisions = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
        values.append(sum(max(precisions[n:]) for n in range(len(hits)) if hits[n]) / positives)
    return float(np.mean(values))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SEQUENCES, GUESSES), min_size=1, max_size=3))
def test_map_is_what_its_definition_says(parts: list[tuple[list[Event], list[Event]]]) -> None:
    truth = {f"v{n}": events for n, (events, _) in enumerate(parts)}
    # no two predictions are equally probable, so that their order is certain
    predicted = {
        f"v{n}": [replace(e, probability=e.probability - n / 1000) for e in events]
        for n, (_, events) in enumerate(parts)
    }
    found = of(truth, predicted)
    for least in (0.3, 0.5, 0.7):
        if any(truth.values()):
            assert found[f"map_{100 * least:.0f}"] == pytest.approx(brute_force_map(truth, predicted, least))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=8), st.integers(1, 9))
def test_a_weight_is_a_repetition(ranking: list[tuple[bool, int]], positives: int) -> None:
    hits, weights = [hit for hit, _ in ranking], [weight for _, weight in ranking]
    repeated = [hit for hit, weight in ranking for _ in range(weight)]
    weighted = measure.average_precision(hits, positives, weights)
    assert weighted == pytest.approx(measure.average_precision(repeated, positives))


def test_each_truth_is_found_once_and_the_next_best_is_taken() -> None:
    truth = [Event(0, 4, "wave"), Event(4, 8, "wave")]
    twice = [Event(0, 4, "wave", 0.9), Event(0.5, 6.5, "wave", 0.8)]
    assert measure.detection_hits(truth, twice, 0.3).tolist() == [True, True]
    assert measure.segment_hits(truth, twice, 0.3) == 1
    assert measure.detection_hits(truth, [twice[0], Event(0, 4, "wave", 0.5)], 0.3).tolist() == [True, False]


def test_lea_s_scores_by_hand() -> None:
    truth = {"v": [Event(0, 4, "wave"), Event(6, 10, "clap"), Event(12, 16, "kick")]}
    predicted = {"v": [Event(0, 4, "wave"), Event(5, 11, "kick"), Event(13, 15, "kick")]}
    found = of(truth, predicted)
    assert found["f1_50"] == pytest.approx(2 * 2 / 6)
    assert found["edit"] == pytest.approx(1 - 1 / 3)
    # wrong: 5 to 11 s, of which 1 s before and 1 s after were idle; 12 to 13 s and 15 to 16 s missed
    assert found["frame_accuracy"] == pytest.approx(1 - 8 / LENGTH_S)
    assert found[IDLE] == pytest.approx(2 / (LENGTH_S - 12))


def test_f1_is_a_mean_over_videos_and_nothing_rightly_found_is_all() -> None:
    truth = {"a": [Event(0, 1, "wave")], "b": []}
    assert of(truth, {"a": []})["f1_50"] == 0.5
    assert of(truth, {"a": truth["a"], "b": [Event(0, 1, "wave")]})["f1_50"] == 0.5


def test_persons_are_timelines_of_their_own_if_the_truth_names_them() -> None:
    truth = {"v": [Event(0, 2, "wave", person=0), Event(4, 6, "clap", person=1)]}
    swapped = {"v": [replace(event, person=1 - (event.person or 0)) for event in truth["v"]]}
    assert of(truth, truth)["map_50"] == of(truth, truth)["edit"] == 1
    assert of(truth, swapped)["map_50"] == of(truth, swapped)["edit"] == 0
    nobody = {"v": [replace(event, person=None) for event in truth["v"]]}
    assert of(nobody, swapped)["map_50"] == of(nobody, swapped)["frame_accuracy"] == 1
    with pytest.raises(ValueError, match="the predictions has events of persons and events of nobody"):
        of(truth, nobody)


def test_a_track_is_the_person_it_overlaps_and_a_stranger_has_a_number_of_its_own() -> None:
    box, nothing = [0.0, 0.0, 10.0, 20.0], [np.nan] * 4
    left, right = np.tile(box, (4, 1)), np.tile([100.0, 0.0, 110.0, 20.0], (4, 1))
    broken = {0: np.array([box, box, nothing, nothing]) + 1, 3: np.array([nothing, nothing, box, box]), 1: right}
    assert measure.persons_of_tracks(broken, {0: left, 1: right}) == {0: 0, 1: 1, 3: 0}
    assert measure.persons_of_tracks({5: left + 500}, {0: left}) == {5: 1}


def test_intervals_resample_videos() -> None:
    truth = {f"v{n}": [Event(n, n + 2, "wave"), Event(20, 22, "clap")] for n in range(8)}
    predicted = {video: events[: 1 + (n % 2)] for n, (video, events) in enumerate(truth.items())}
    lengths = dict.fromkeys(truth, LENGTH_S)
    found = measure.measure_intervals(truth, predicted, lengths, resamples=200)
    assert set(found) == set(measure.MEASURES)
    plain = measure.measures(truth, predicted, lengths)
    for name, interval in found.items():
        assert interval.value == pytest.approx(plain[name])
        assert interval.units == 8
    assert found["map_50"].low < found["map_50"].value < found["map_50"].high
    change = measure.difference_intervals(truth, predicted, truth, lengths, resamples=200)["map_50"]
    assert change.value == pytest.approx(1 - plain["map_50"])
    assert change.low > 0
    few = {video: truth[video] for video in list(truth)[:4]}
    ends = measure.measure_intervals(few, {}, lengths, resamples=200)["f1_50"]
    assert (ends.value, np.isnan([ends.low, ends.high]).all()) == (0, True)


def test_resampled_map_is_the_map_of_the_repeated_videos() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = {}, {}
    for n in range(4):
        truth[f"v{n}"] = sequence([(int(rng.integers(6)), int(rng.integers(2, 12)), k % 3) for k in range(5)])
        predicted[f"v{n}"] = [replace(e, probability=float(rng.random())) for e in truth[f"v{n}"] if rng.random() < 0.6]
    chosen = [0, 0, 2, 3, 3, 3]
    again = [(f"c{at}", f"v{n}") for at, n in enumerate(chosen)]
    repeated = of({c: truth[v] for c, v in again}, {c: predicted[v] for c, v in again})
    weights = np.bincount(chosen, minlength=4)[None].astype(float)
    outcomes = measure._outcomes(truth, predicted, dict.fromkeys(truth, LENGTH_S), 10.0)
    assert {name: float(v[0]) for name, v in outcomes.values(weights).items()} == pytest.approx(repeated)


@pytest.mark.parametrize(
    ("truth", "predicted", "lengths"),
    [({}, {}, {}), ({"v": []}, {"w": []}, {"v": 1.0}), ({"v": []}, {}, {})],
)
def test_other_videos_are_refused(
    truth: dict[str, list[Event]], predicted: dict[str, list[Event]], lengths: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="expected the same videos"):
        measure.measures(truth, predicted, lengths)


def test_a_class_without_truth_costs_f1_and_idle_time() -> None:
    truth = {"v": [Event(0, 2, "wave")]}
    found = of(truth, {"v": [*truth["v"], Event(10, 12, "clap", 0.5)]})
    assert found["map_50"] == 1
    assert found["f1_50"] == pytest.approx(2 / 3)
    assert found[IDLE] > 0
    assert BACKGROUND not in {event.action for event in itertools.chain(*truth.values())}
