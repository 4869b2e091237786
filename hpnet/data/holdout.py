"""Held-out sources: sizes of the splits, and the choice of sources or clips for them, for each action.

The order is a hash of seed and name, so a new clip does not move others. Pure functions.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ATTEMPTS = 16
"""Number of orders that are tried if an action has no test or validation clip although it could."""


def hold_out_order(keys: Iterable[str], seed: int | str) -> list[str]:
    """A seeded order; the position of a key depends on the key and the seed only."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).hexdigest())


def by_share(clips: Mapping[str, int], fraction: float, seed: int) -> set[str]:
    """Whole groups, such as subjects, that together have about a share of the clips.

    In a seeded order, every group that brings their clips nearer to the share is taken, so that one group of very many
    clips does not make a validation split of twice the size. At least one is taken and one is left; of fewer than
    three, or for a share of 0, none is taken.

    Args:
        clips: group -> how many clips it has.
    """
    if fraction == 0 or len(clips) < 3:
        return set()
    wanted = fraction * sum(clips.values())
    order = hold_out_order(clips, seed)
    chosen: list[str] = []
    held = 0
    for group in order:
        if len(chosen) < len(clips) - 1 and abs(held + clips[group] - wanted) < abs(held - wanted):
            chosen.append(group)
            held += clips[group]
    return set(chosen) or {min(order, key=lambda group: clips[group])}


def sizes(count: int, val_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Sizes of the test and validation splits of ``count``. One: training; two: one in test; from three on, one in
    each.

    A split with fraction 0 is empty.
    """
    tests = max(0, min(max(1, round(test_fraction * count)), count - 1)) if test_fraction else 0
    vals = max(0, min(max(1, round(val_fraction * count)), count - tests - 1)) if val_fraction else 0
    return tests, vals


def by_action(
    keys: Sequence[str], actions: Sequence[str], val_fraction: float, test_fraction: float, seed: int
) -> list[str]:
    """A split for every key (the name of a clip), separately for each action; empty if the action is empty."""
    members: dict[str, list[str]] = {}
    for key, action in zip(keys, actions, strict=True):
        members.setdefault(action, []).append(key)
    splits: dict[str, str] = {}
    for action, own in members.items():
        tests, vals = sizes(len(own), val_fraction, test_fraction)
        for place, key in enumerate(hold_out_order(own, seed)):
            side = "test" if place < tests else "val" if place < tests + vals else "train"
            splits[key] = side if action else ""
    return [splits[key] for key in keys]


def by_source(
    sources: Sequence[str], actions: Sequence[str], val_fraction: float, test_fraction: float, seed: int
) -> list[str]:
    """A split for every clip; clips of one source are in the same split, and each action is in every split if possible.

    An action with clips of two sources has one in test, and with three also one in validation, as far as this is
    possible for all actions together. From three sources on, each wanted split gets at least one source.
    """
    of: dict[str, set[str]] = {}
    for source, action in zip(sources, actions, strict=True):
        of.setdefault(source, set()).add(action)
    best: _Cut | None = None
    for attempt in range(ATTEMPTS):
        order = hold_out_order(of, f"{seed}:{attempt}" if attempt else seed)
        cut = _cut(order, of, val_fraction, test_fraction, may_grow=attempt % 2 == 0)
        if best is None or cut.lacking < best.lacking:
            best = cut
        if not any(best.lacking):
            break
    side = {} if best is None else dict.fromkeys(best.vals, "val") | dict.fromkeys(best.tests, "test")
    return [side.get(source, "train") for source in sources]


@dataclass(frozen=True)
class _Cut:
    """Test and validation sources, and the number of actions without training, test and validation clips, of actions
    with enough sources."""

    tests: list[str]
    vals: list[str]
    lacking: tuple[int, int, int]


def _cut(
    order: Sequence[str], of: Mapping[str, set[str]], val_fraction: float, test_fraction: float, may_grow: bool
) -> _Cut:
    """Hold sources out, in the given order; the test split ``may_grow`` above its share of all sources."""
    free = Counter(action for actions in of.values() for action in actions)
    of_count = {count: sizes(count, val_fraction, test_fraction) for count in set(free.values())}
    shares = {action: of_count[count] for action, count in free.items()}
    test_share = {action: tests for action, (tests, _) in shares.items()}
    val_share = {action: vals for action, (_, vals) in shares.items()}
    tests_wanted, vals_wanted = sizes(len(order), val_fraction, test_fraction)

    kept = {action: 1 + (vals > 0) for action, vals in val_share.items()}
    most = len(order) - 1 - (vals_wanted > 0) if may_grow else tests_wanted
    tests = _choose(order, of, free, test_share, kept, (tests_wanted, most))
    testing = set(tests)
    left = [source for source in order if source not in testing]
    vals = _choose(left, of, free, val_share, dict.fromkeys(free, 1), (vals_wanted, len(left) - 1))

    chosen = {action for source in tests for action in of[source]}, {a for source in vals for a in of[source]}
    lacking = (
        sum(count == 0 for count in free.values()),
        sum(share > 0 and action not in chosen[0] for action, share in test_share.items()),
        sum(share > 0 and action not in chosen[1] for action, share in val_share.items()),
    )
    return _Cut(tests, vals, lacking)


def _choose(
    order: Sequence[str],
    of: Mapping[str, set[str]],
    free: Counter[str],
    share: Mapping[str, int],
    kept: Mapping[str, int],
    wanted_and_most: tuple[int, int],
) -> list[str]:
    """Sources for one split: the wanted number, or more if actions need them, up to a maximum; removes them from
    ``free``.

    Args:
        free: action -> sources that are in no split yet.
        share: action -> number of its sources that the split should have.
        kept: action -> number of its sources that must stay free.
    """
    wanted, most = wanted_and_most
    chosen: list[str] = []
    got: Counter[str] = Counter()

    def take(source: str) -> None:
        chosen.append(source)
        got.update(of[source])
        free.subtract(of[source])

    def unserved(source: str) -> int:
        return sum(share[action] > 0 and not got[action] for action in of[source])

    def fits(source: str) -> bool:
        return all(free[action] > kept[action] for action in of[source])

    for source in order:
        if len(chosen) >= min(wanted, most):
            break
        if fits(source) and all(got[action] < share[action] for action in of[source]):
            take(source)
    # the source that serves most of the actions without any, again and again; what a source serves only becomes less,
    # and one that does not fit never will, so each is looked at again only when it is on top
    queue = (
        [(-unserved(source), place) for place, source in enumerate(order)] if wanted > 0 and len(chosen) < most else []
    )
    heapq.heapify(queue)
    while queue and len(chosen) < most:
        before, place = heapq.heappop(queue)
        now = unserved(order[place])
        if now < -before:
            heapq.heappush(queue, (-now, place))
        elif now and fits(order[place]):
            take(order[place])
    if min(wanted, most) > 0 and not chosen:
        take(next((source for source in order if fits(source)), order[0]))
    return chosen
