"""Durations, labels of steps and the search for the best segments."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from hpnet.events.decoding import Decoder, Segment, _best
from hpnet.events.durations import Durations, fit_durations
from hpnet.events.finding import Rule
from hpnet.events.labelling import Head, Threshold, Timeline, Views, actions_of, readings, with_taught


def decoder(seconds: float = 2.0, actions: int = 2, weight: float = 1.0, entry: float = -1.0) -> Decoder:
    return Decoder(Durations((np.log(seconds),) * actions, (0.3,) * actions), 0.25, weight, entry)


def steps(labels: str, sure: float = 0.9) -> np.ndarray:
    """(T, 3) log probabilities: a and b are actions, a dot is the background."""
    chances = np.full((len(labels), 3), (1 - sure) / 2)
    chances[np.arange(len(labels)), ["ab.".index(letter) for letter in labels]] = sure
    return np.log(chances)


def worth(way: list[tuple[int, int, int]], evidence: tuple[np.ndarray, ...], durations: np.ndarray) -> float:
    """The score of a way to divide the steps."""
    acting, idle, names = evidence
    score = 0.0
    for start, end, label in way:
        if label == names.shape[1]:
            score += idle[start:end].sum()
        elif end - start > len(durations):
            return -np.inf
        else:
            middle = names[(start + end - 1) // 2 : (start + end) // 2 + 1, label].mean()
            score += acting[start:end].sum() + (end - start) * middle + durations[end - start - 1, label]
    return float(score)


def test_the_search_finds_the_best_of_all_ways() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        idle = -rng.exponential(1, 6)
        acting = np.log(1 - np.exp(idle))
        evidence = (acting, idle, log_softmax(rng.normal(0, 2, (6, 2)), axis=1))
        durations = log_softmax(rng.normal(0, 1, (4, 2)), axis=0) - 0.5
        best = -np.inf
        for cuts in itertools.product([False, True], repeat=5):
            edges = [0, *(n + 1 for n, cut in enumerate(cuts) if cut), 6]
            parts = list(itertools.pairwise(edges))
            for labels in itertools.product(range(3), repeat=len(parts)):
                way = [(start, end, label) for (start, end), label in zip(parts, labels, strict=True)]
                best = max(best, worth(way, evidence, durations))
        ways = _best(*evidence, durations)
        assert [start for start, _, _ in ways] == [0, *(end for _, end, _ in ways[:-1])]
        assert worth(ways, evidence, durations) == pytest.approx(best)


def test_the_window_in_the_middle_names_a_segment() -> None:
    """At its edges windows hold half of something else, and look like a third action."""
    chances = np.tile([0.02, 0.02, 0.96], (24, 1))
    chances[8:16] = [0.1, 0.85, 0.05]
    chances[10:14] = [0.9, 0.05, 0.05]
    assert [(s.start, s.end, s.label) for s in decoder().decode(np.log(chances))] == [(8, 16, 0)]


def test_segments_have_the_begin_and_end_of_their_steps() -> None:
    found = decoder().decode(steps("....aaaaaaaa....bbbbbbbb.."))
    assert found == [Segment(4, 12, 0, pytest.approx(0.9)), Segment(16, 24, 1, pytest.approx(0.9))]


def test_a_few_steps_of_another_action_do_not_break_one() -> None:
    found = decoder(weight=0.25).decode(steps("....aaabaaaa........b....."))
    assert [(s.end, s.label) for s in found] == [(12, 0)]
    assert found[0].start in (4, 5)


def test_what_goes_on_for_long_is_one_event() -> None:
    found = decoder().decode(steps("." * 8 + "a" * 400 + "." * 8))
    assert [(s.start, s.end) for s in found] == [(8, 408)]


def test_nothing_happens_where_nothing_is_seen() -> None:
    assert decoder().decode(steps("." * 40)) == []
    assert decoder().decode(np.zeros((0, 3))) == []
    assert [(s.start, s.end) for s in decoder(0.5).decode(steps("a", sure=0.9999))] == [(0, 1)]


def test_other_actions_than_those_of_the_durations_are_refused() -> None:
    with pytest.raises(ValueError, match="of 3 actions, durations of 2"):
        decoder().decode(np.zeros((4, 4)))


def test_durations_are_those_of_the_examples_and_few_examples_count_for_little() -> None:
    found = fit_durations([[2.0] * 40, [1.0] * 20 + [4.0] * 20, [], [8.0]])
    seconds = np.exp(found.mean_log)
    assert seconds[0] == pytest.approx(2.0, rel=0.02)
    assert seconds[1] == pytest.approx(2.0, rel=0.02)
    assert seconds[2] == pytest.approx(2.0, rel=0.1)
    assert 2.0 < seconds[3] < 8.0
    assert found.sd_log[0] < found.sd_log[2] < found.sd_log[1]
    logs = found.log_probabilities(0.25)
    assert np.exp(logs).sum(0) == pytest.approx(1)
    assert logs[:, 0].argmax() == pytest.approx(7, abs=1)
    with pytest.raises(ValueError, match="0 durations"):
        fit_durations([[], []])


def timeline(chances: np.ndarray, step_s: float = 0.25, first: int = 3) -> Timeline:
    """Of somebody with whom nobody is, and who stands still."""
    logs, count = np.log(chances), len(chances)
    views = Views(logs, np.full_like(logs, np.nan), np.full((count, 2), np.nan), np.arange(count, dtype=float)[:, None])
    return Timeline(0, 0.9, 0.9 + count * step_s, first, step_s, logs, np.zeros(count), views)


def test_what_is_less_sure_than_the_threshold_is_background() -> None:
    chances = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8]])
    found = Threshold(0.6).label(timeline(chances))
    assert found.argmax(1).tolist() == [0, 2, 1]
    assert np.exp(found).sum(1) == pytest.approx(1)


def test_a_class_named_background_is_background() -> None:
    assert actions_of(["wave", "background", "clap"]) == ["wave", "clap"]
    chances = np.array([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.0, 0.1, 0.9]]).clip(1e-6)
    found = Threshold(0.4, background=1).label(timeline(chances))
    assert found.argmax(1).tolist() == [0, 2, 1]


def head(weights: np.ndarray, known: tuple[bool, ...] = (True, True), trust: float = 1.0) -> Head:
    return Head(weights, np.zeros(3), np.array(known), trust, 0.25)


def test_a_regression_reads_the_windows_around_a_step() -> None:
    line = timeline(np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]))
    read = readings(line, 0.25)  # 2 log probabilities and the speed of 7 windows, 2 together, 4 of others, 1 input
    assert read.shape == (4, 28)
    assert read[:, 2 * 3].tolist() == [read[0, 0], *read[:3, 0]]
    assert read[:, 2 * 4].tolist() == [*read[1:, 0], read[3, 0]]
    assert (read[:, 21:27] == 0).all()
    assert read[:, 27].tolist() == [0, 1, 2, 3]
    near = replace(line.views, together=line.views.alone / 2, near=np.array([[0.5, 0.1]] * 3 + [[np.nan, np.nan]]))
    beside = readings(replace(line, views=near), 0.25)
    assert beside[:3, 21:23] == pytest.approx(line.views.alone[:3] / 2)
    assert beside[:, 23:27] == pytest.approx(np.array([[0.5, 0.1, np.exp(-1), 1]] * 3 + [[0, 0, 0, 0]]))


def test_a_regression_tells_background_from_actions() -> None:
    line = timeline(np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]))
    weights = np.zeros((3, 28))
    weights[0, 0], weights[2, 1] = 9.0, 9.0  # what looks like the second class is background
    rule = replace(head(weights), biases=np.array([0.0, -99.0, 0.0]))
    found = rule.label(line)
    assert np.exp(found).sum(1) == pytest.approx(1, abs=1e-4)
    assert found.argmax(1).tolist() == [0, 0, 2, 2]
    again = Head.from_json(json.loads(json.dumps(rule.to_json())))
    assert again.label(line).tolist() == found.tolist()
    with pytest.raises(ValueError, match=r"28 readings of a step, .* fitted to 4: run `hpnet events` again"):
        head(np.zeros((3, 4))).label(line)
    with pytest.raises(ValueError, match="1 actions"):
        Head.from_json({**rule.to_json(), "known": [True]})


def test_of_unknown_actions_the_networks_answer_counts() -> None:
    """The regression always says the first action; it knows nothing of the second, or is not trusted."""
    line = timeline(np.array([[0.25, 0.75]]))
    weights = np.zeros((3, 28))
    rule = Head(weights, np.array([9.0, 0.0, 9.0]), np.array([True, True]), 1.0, 0.25)
    assert np.exp(rule.label(line))[0] == pytest.approx([0.5, 0.0, 0.5], abs=1e-3)
    stranger = replace(rule, known=np.array([True, False]))
    assert np.exp(stranger.label(line))[0] == pytest.approx([0.125, 0.375, 0.5], abs=1e-3)
    doubted = replace(rule, trust=0.0)
    assert np.exp(doubted.label(line))[0] == pytest.approx([0.125, 0.375, 0.5], abs=1e-3)


def test_a_taught_action_is_an_event_beside_the_trained_ones() -> None:
    sure = np.tile([0.9, 0.1], (12, 1))
    shares = np.zeros((12, 1))
    shares[6:] = 0.95
    line = replace(timeline(sure), taught=shares)
    rule = Rule(("wave", "clap"), 2.0, Threshold(0.5), decoder(1.5)).knowing(["drink"])
    assert rule.actions == ("wave", "clap", "drink")
    assert rule.decoder.durations.mean_log[2] == pytest.approx(np.log(1.5))
    assert [event.action for event in rule.events([line])] == ["wave", "drink"]
    labelled = with_taught(rule.labeller.label(line), shares)
    assert labelled.shape == (12, 4)
    assert np.exp(labelled).sum(1) == pytest.approx(1)
    assert with_taught(labelled, None) is labelled


def test_the_first_and_the_last_step_end_where_the_person_is_seen() -> None:
    line = timeline(np.full((4, 2), 0.5))
    assert line.step_times_s(0, 4) == (0.9, 1.9)
    assert line.step_times_s(1, 2) == (1.0, 1.25)
