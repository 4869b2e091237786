"""hpnet.core.events: overlaps, labels at instants, gaps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.core.events import BACKGROUND, Event, actions_at, gaps, overlap_s, tiou, tiou_matrix

STRETCHES = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(
    lambda pair: Event(pair[0] / 4, (pair[0] + pair[1]) / 4, "wave")
)


@pytest.mark.parametrize(("start", "end"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_event_ends_after_it_starts(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="expected start < end"):
        Event(start, end, "wave")


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_is_from_0_to_1(probability: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        Event(0, 1, "wave", probability)


@settings(max_examples=60, deadline=None)
@given(STRETCHES, STRETCHES)
def test_tiou_is_symmetric_and_1_for_the_same_stretch_alone(first: Event, second: Event) -> None:
    assert tiou(first, second) == pytest.approx(tiou(second, first))
    assert tiou(first, first) == 1.0
    assert 0 <= tiou(first, second) <= 1
    assert (tiou(first, second) == 1.0) == (first == second)
    cells = [n / 4 for n in range(100)]
    both = sum(first.start_s <= t < first.end_s and second.start_s <= t < second.end_s for t in cells)
    either = sum(first.start_s <= t < first.end_s or second.start_s <= t < second.end_s for t in cells)
    assert overlap_s(first, second) == pytest.approx(both / 4)
    assert tiou(first, second) == pytest.approx(both / either)
    assert tiou_matrix([first], [second, first])[0] == pytest.approx([tiou(first, second), 1.0])


def test_a_matrix_of_nothing_has_its_shape() -> None:
    assert tiou_matrix([], [Event(0, 1, "wave")]).shape == (0, 1)


def test_the_most_probable_event_labels_an_instant_and_an_end_is_not_part_of_it() -> None:
    events = [Event(0, 2, "wave", 0.9), Event(1, 3, "clap", 0.5)]
    assert actions_at(events, [0, 1, 2, 3]) == ["wave", "wave", "clap", BACKGROUND]


@settings(max_examples=60, deadline=None)
@given(st.lists(STRETCHES, max_size=5), st.integers(1, 60).map(lambda n: n / 4))
def test_gaps_are_exactly_what_no_event_covers(events: list[Event], duration_s: float) -> None:
    found = gaps(events, duration_s)
    for n in range(int(4 * duration_s)):
        time_s = (n + 0.5) / 4
        idle = not any(e.start_s <= time_s < e.end_s for e in events)
        assert idle == any(start <= time_s < end for start, end in found)
    assert all(start < end for start, end in found)
    assert found == sorted(found)
