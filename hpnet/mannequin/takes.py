"""Long takes: one or two people who do several things, with idle time between, and when each begins and ends.

A person stands, breathing and swaying, and each performance of the benchmark is blended in and out. Its event is the
stretch that a clip of the benchmark would show; of movements between two rests (:data:`MOVEMENTS`) it is the movement
alone, to the frame. What an action changes stays: whoever sat down stands up next, and a hat that was put on is worn
until it is taken off. Two people stand beside each other, act alone or at the same time, and turn to each other for
what they do together; that is an event of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.files import delete_old
from ..artifacts.takes import EVENT_COLUMNS, TAKE_COLUMNS, Takes
from ..core.events import Event
from ..core.video import write_video
from ..work.processes import Died, Workers, run, run_here
from ..work.shards import file_digest
from .actions import ACTIONS, Act, Action, mixed
from .benchmark import ROOM_SEEDS, Sizes, camera_of, setup_of, truth_rows
from .kinematics import JOINT, Bones, Floats, bones, minimum_jerk, rotation, two_bone
from .people import PARTNER_OFFSET, Person, person, stream
from .posture import Body, Clock
from .render import render_with_truth
from .scene import Performer, Prop, Scene

ACTION_S = (1.6, 2.4)
"""Shortest and longest performance; those of the benchmark are near two seconds."""
IDLE_S = (0.8, 2.4)
"""Shortest and longest idle time; longer in takes above a minute, so that there are about twenty actions at most."""
WALK_S = 1.0
"""Time in which two people turn to each other, or back."""
TOGETHER = 0.35
"""How often two people do something together."""
BOTH = 0.5
"""How often the other person acts at the same time."""
MOVEMENTS = frozenset(("chair", "hat", "jump", "kick", "push", "high five"))
"""Families of actions that are a movement between two rests."""
STILL_M_S = 0.2
"""A body of which no joint is faster than this is at rest; swaying is slower."""
HOME_M = 0.65
"""Distance of two people from the middle, side by side."""
PAIR_M = (0.35, 0.48)
"""Where two people do something together: before the middle, and to either side of it."""
HANDS_AND_HEAD = [JOINT[name] for name in ("left_hand", "right_hand", "left_wrist", "right_wrist", "head")]
LIMBS = [
    (JOINT[f"{side}_{root}"], JOINT[f"{side}_{middle}"], JOINT[f"{side}_{end}"], JOINT[f"{side}_{tip}"])
    for root, middle, end, tip in (("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "toe"))
    for side in ("left", "right")
]


class TakeSizes(Sizes, Protocol):
    """What decides the takes, such as :class:`hpnet.data.params.DataParams`; ``take_seconds``: length of each."""

    @property
    def take_seconds(self) -> float: ...


@dataclass(frozen=True)
class TakeSpec:
    """One take: its ids, numbered from 1, how many people it shows, and its split."""

    setup: int
    camera: int
    subject: int
    number: int
    persons: int
    split: str

    @property
    def take_id(self) -> str:
        """``S001C001P001T001``: set-up, camera, subject, number of the take."""
        return f"S{self.setup:03}C{self.camera:03}P{self.subject:03}T{self.number:03}"

    def of_split(self, split: str) -> TakeSpec:
        """The same take in another split."""
        return replace(self, split=split)


@dataclass(frozen=True)
class Turn:
    """One performance: the action, who does it (0 the subject, 1 the partner), first frame and number of frames."""

    action: Action
    people: tuple[int, ...]
    start: int
    frames: int

    @property
    def end(self) -> int:
        """The frame after the last one."""
        return self.start + self.frames


@dataclass(frozen=True)
class Around(Clock):
    """The instants of a performance and of the time around it: ``share`` is below 0 before it and above 1 after it.

    Attributes:
        before: frames before the performance.
        span: frames of the performance.
    """

    before: int
    span: int

    @property
    def duration_s(self) -> float:
        """Length of the performance."""
        return self.span / self.fps

    @property
    def share(self) -> Floats:
        """(T,), 0..1 within the performance."""
        return (np.arange(self.frames) - self.before + 0.5) / self.span


def plan_takes(params: TakeSizes, subjects: Sequence[int], split: str, count: int) -> list[TakeSpec]:
    """``count`` takes of these subjects in turn, of one person and of two in turn.

    Raises:
        ValueError: there is no subject.
    """
    if count and not subjects:
        raise ValueError(f"no subject is for {split}: takes need some; raise data.subjects")
    specs = []
    for n in range(count):
        subject, round_ = subjects[n % len(subjects)], n // len(subjects)
        camera = 1 + (n + subject) % params.cameras
        persons = 1 + (n + round_ * (1 - len(subjects) % 2)) % 2
        specs.append(TakeSpec(setup_of(subject, n, params.setups), camera, subject, n + 1, persons, split))
    return specs


# --- the script -------------------------------------------------------------------------------------------------------


def script(spec: TakeSpec, params: TakeSizes) -> list[Turn]:
    """What happens when, in order of time; every idle time of a person is at least the shortest of :data:`IDLE_S`."""
    rng = stream(params.seed, "script of a take", spec.subject, spec.number, spec.persons)
    fps, total = params.fps, round(params.take_seconds * params.fps)
    slower = max(1.0, (params.take_seconds / 18 - sum(ACTION_S) / 2) / (sum(IDLE_S) / 2))
    states = [_State() for _ in range(spec.persons)]
    turns: list[Turn] = []
    now = round(float(rng.uniform(*IDLE_S)) * fps)
    while True:
        together = spec.persons == 2 and not any(s.seated for s in states) and rng.random() < TOGETHER
        beat: list[Turn] = []
        if together:
            start = now + round(WALK_S * fps)
            beat.append(Turn(_drawn(rng, 2, states[0], turns), (0, 1), start, _length(rng, fps)))
        else:
            first = int(rng.integers(spec.persons))
            who = [first, 1 - first] if spec.persons == 2 and rng.random() < BOTH else [first]
            for order, k in enumerate(who):
                start = now + (round(float(rng.uniform(0.0, 1.0)) * fps) if order else 0)
                beat.append(Turn(_drawn(rng, 1, states[k], turns), (k,), start, _length(rng, fps)))
        end = max(turn.end for turn in beat)
        if end + round(IDLE_S[0] * fps) > total:
            return sorted(turns, key=lambda turn: turn.start)
        for turn in beat:
            for k in turn.people:
                states[k] = states[k].after(turn.action.name)
        turns += beat
        now = end + round((float(rng.uniform(*IDLE_S)) * slower + (WALK_S if together else 0)) * fps)


@dataclass(frozen=True)
class _State:
    """What somebody's last actions left."""

    seated: bool = False
    hat: bool = False

    def allows(self, action: str) -> bool:
        """Whether somebody in this state can do it."""
        if self.seated or action == "stand up":
            return self.seated and action == "stand up"
        return self.hat == (action == "take off hat") if "hat" in action else True

    def after(self, action: str) -> _State:
        """The state that an action leaves."""
        seated = {"sit down": True, "stand up": False}.get(action, self.seated)
        return _State(seated, {"put on hat": True, "take off hat": False}.get(action, self.hat))


def _drawn(rng: np.random.Generator, persons: int, state: _State, before: Sequence[Turn]) -> Action:
    """An action that is possible: one that came before is drawn less often, one that undoes another more often."""
    possible = [action for action in ACTIONS.values() if action.persons == persons and state.allows(action.name)]
    often = np.array([sum(turn.action is action for turn in before) for action in possible])
    weights = np.array([3.0 if action.name == "take off hat" else 1.0 for action in possible]) / (1 + 3 * often)
    return possible[int(rng.choice(len(possible), p=weights / weights.sum()))]


def _length(rng: np.random.Generator, fps: float) -> int:
    return max(2, round(float(rng.uniform(*ACTION_S)) * fps))


# --- bodies -----------------------------------------------------------------------------------------------------------


@dataclass
class _Actor:
    """One person over a whole take, in a frame of their own (at the origin, facing +x); changed as turns are added.

    Attributes:
        joints, head: (T, V, 3) and (T, 3, 3) of the pose.
        place: (T, 3) x and y, metres, and heading, radians, of the frame in the room.
        props: in the own frame, each over the whole take.
        chair: the chair that the person sits on, in the own frame.
    """

    who: Person
    joints: Floats
    head: Floats
    place: Floats
    props: list[Prop]
    chair: Prop | None = None

    @property
    def bones(self) -> Bones:
        """Lengths of the person's segments."""
        return bones(self.who.build)

    def blend(self, performer: Performer, at: slice, share: Floats) -> Floats:
        """Blend a performance into the frames ``at`` by ``share`` (t,); returns the shift of every joint (t, V, 3)."""
        wanted = performer.joints_m.astype(np.float64)
        mix = self.joints[at] * (1 - share[:, None, None]) + wanted * share[:, None, None]
        for limb in LIMBS:
            _solve(mix, limb, self.bones)
        self.joints[at] = np.where((share == 1)[:, None, None], wanted, mix)
        self.head[at] = mixed(self.head[at], performer.head_rotation.astype(np.float64), share)
        return self.joints[at] - wanted

    def performer(self) -> Performer:
        """The person in the room."""
        turn = rotation(2, self.place[:, 2])  # (T, 3, 3)
        joints = np.einsum("tij,tvj->tvi", turn, self.joints) + _floor(self.place)[:, None]
        head = (turn @ self.head).astype(np.float32)
        return Performer(self.who.number, self.who.build, self.who.looks, joints.astype(np.float32), head)

    def in_room(self, prop: Prop) -> Prop:
        """A prop of the own frame in the room; of one frame (furniture) at the place of the first frame."""
        place = self.place[: len(prop.centre_m)]
        turn = rotation(2, place[:, 2])
        centre = np.einsum("tij,tj->ti", turn, prop.centre_m.astype(np.float64)) + _floor(place)
        rotated = (turn @ prop.rotation).astype(np.float32)
        return replace(prop, centre_m=centre.astype(np.float32), rotation=rotated)


def _floor(place: Floats) -> Floats:
    """(T, 3) points on the floor, of places (T, 3)."""
    return np.concatenate([place[:, :2], np.zeros((len(place), 1))], axis=1)


def _solve(joints: Floats, limb: tuple[int, int, int, int], size: Bones) -> None:
    """Give a limb of blended joints (T, V, 3) its lengths again, in place; its end and its bend stay where they are."""
    root, middle, end, tip = limb
    arm = middle in (JOINT["left_elbow"], JOINT["right_elbow"])
    upper, lower = (size.upper_arm, size.forearm + size.palm) if arm else (size.thigh, size.shank)
    target = joints[:, tip if arm else end]
    pole = joints[:, middle] - 0.5 * (joints[:, root] + target)
    bent, reached = two_bone(joints[:, root], target, pole, upper, lower)
    joints[:, middle] = bent
    if arm:
        joints[:, end] = bent + (reached - bent) * (size.forearm / lower)
        joints[:, tip] = reached
    else:
        joints[:, tip] += reached - joints[:, end]
        joints[:, end] = reached


def _standing(who: Person, clock: Clock, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Somebody who stands idle: joints (T, V, 3) and head (T, 3, 3)."""
    body = Body(who, clock, rng)
    performer = body.perform(body.trunk(), {})
    return performer.joints_m.astype(np.float64), performer.head_rotation.astype(np.float64)


def _ramps(frames: int, rise: tuple[float, float], fall: tuple[float, float]) -> Floats:
    """(T,): from 0 to 1 between two frames, and from 1 to 0 between two others; the second pair may be at infinity."""
    at = np.arange(frames) + 0.5
    down = minimum_jerk(at, *fall) if np.isfinite(fall[1]) else np.zeros(frames)
    return minimum_jerk(at, *rise) - down


# --- the take ---------------------------------------------------------------------------------------------------------


def perform_take(spec: TakeSpec, params: TakeSizes) -> tuple[Scene, list[Event]]:
    """The scene of a take, ready to render, and its events."""
    total, turns = round(params.take_seconds * params.fps), script(spec, params)
    ids = (spec.subject, spec.number)
    numbers = [spec.subject + k * PARTNER_OFFSET for k in range(spec.persons)]
    people = [person(number, spec.setup, params.seed) for number in numbers]
    clock = Clock(total, params.fps)
    placing = stream(params.seed, "placing of a take", *ids)
    side = float(placing.choice((-1.0, 1.0)))
    actors = []
    for k, who in enumerate(people):
        rng = stream(params.seed, "idle of a take", *ids, k)
        aside = (0.0 if spec.persons == 1 else (2 * k - 1) * side * HOME_M) + float(placing.uniform(-0.1, 0.1))
        home = (float(placing.uniform(-0.15, 0.15)), aside, float(np.radians(placing.uniform(-25.0, 25.0))))
        actors.append(_Actor(who, *_standing(who, clock, rng), np.tile(home, (total, 1)), []))
    events: list[Event] = []
    for number, turn in enumerate(turns):
        before, after = _room_around(turn, turns, total)
        act = _act(turn, people, (before, after), params, (*ids, number))
        if len(turn.people) == 2:
            _come_together(actors, turn, side, params.fps)
        rise, fall = _blending(turn, turns, (before, after), params.fps)
        share = _ramps(before + turn.frames + after, rise, fall)
        at = slice(turn.start - before, turn.end + after)
        first, last = _extent(turn, act, before, params.fps)
        for k in turn.people:
            performer = act.performers[turn.people.index(k)]
            moved = actors[k].blend(performer, at, share)
            events.append(Event(first / params.fps, last / params.fps, turn.action.name, person=k))
            if k == turn.people[0]:
                actors[k].props += [_carried(prop, performer, moved, at, share >= 0.5, total) for prop in act.props]
                actors[k].chair = actors[k].chair or next(iter(act.furniture), None)
    for k, actor in enumerate(actors):
        _wear_hats(actor, [turn for turn in turns if k in turn.people and turn.action.family == "hat"])
    scene = Scene(
        performers=tuple(actor.performer() for actor in actors),
        props=tuple(actor.in_room(prop) for actor in actors for prop in actor.props),
        room_seed=int(stream(params.seed, "room", spec.setup).integers(ROOM_SEEDS)),
        camera=camera_of(spec.setup, spec.camera, params.seed),
        noise_seed=int(stream(params.seed, "noise of a take", *ids).integers(2**31)),
        furniture=tuple(actor.in_room(actor.chair) for actor in actors if actor.chair is not None),
    )
    return scene, sorted(events, key=lambda event: (event.start_s, event.person or 0))


def _neighbours(turn: Turn, turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """The turns of the same people before and after."""
    own = [other for other in turns if set(other.people) & set(turn.people)]
    return [o for o in own if o.start < turn.start], [o for o in own if o.start > turn.start]


def _room_around(turn: Turn, turns: Sequence[Turn], total: int) -> tuple[int, int]:
    """Frames before and after a performance that its motion may use: half of the idle time, all of it when seated."""
    earlier, later = _neighbours(turn, turns)
    before = turn.start - max((o.end for o in earlier), default=0)
    after = min((o.start for o in later), default=total) - turn.end
    return (before if turn.action.name == "stand up" else before // 2), (
        after if turn.action.name == "sit down" else after // 2
    )


def _blending(
    turn: Turn, turns: Sequence[Turn], around: tuple[int, int], fps: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """When a performance is blended in and out, in frames from the first of its own: (begin, end) of each.

    Over at most 0.6 s, next to the performance. Whoever sits stays so until the next performance is blended in.
    """
    before, after = around
    longest, end = 0.6 * fps, before + turn.frames
    near_in, near_out = 0.15 * before, 0.3 * after
    begin = max(0.0, before - near_in - longest)
    rise = (begin, max(begin + 0.5, before - near_in))
    fall = (end + near_out, end + max(near_out + 0.5, min(float(after), near_out + longest)))
    if turn.action.name == "sit down":
        fall = (np.inf, np.inf)
    return rise, fall


def _act(
    turn: Turn, people: Sequence[Person], around: tuple[int, int], params: TakeSizes, ids: tuple[int, int, int]
) -> Act:
    """The performance and the time around it, each person in a frame of their own."""
    before, after = around
    action, subject = turn.action, ids[:2]
    # the chair of a take stands where it stands, and a hat keeps its way of being worn
    kept = (*subject, turn.people[0]) if action.family in ("chair", "hat") else (*ids, turn.people[0])
    shared = stream(params.seed, f"take's motion of {action.family}", *kept)
    own = stream(params.seed, f"take's motion of {action.name} alone", *ids, turn.people[0])
    clock = Around(before + turn.frames + after, params.fps, before, turn.frames)
    act = action.constructor([people[k] for k in turn.people], clock, shared, own)
    if len(turn.people) == 1:
        return act
    # (the middle of the pair, facing +x) -> each person's own frame
    performers = [act.moved(-k * np.pi, (PAIR_M[1], 0.0)).performers[k] for k in range(2)]
    return replace(act, performers=tuple(performers))


def _come_together(actors: Sequence[_Actor], turn: Turn, side: float, fps: float) -> None:
    """Let two people turn to each other before a performance, and back to their places after it."""
    walk = WALK_S * fps
    for k, actor in enumerate(actors):
        home = actor.place[0]
        sign = (2 * k - 1) * side
        wanted = np.array([PAIR_M[0], sign * PAIR_M[1], -sign * np.pi / 2])
        there = _ramps(
            len(actor.place),
            (turn.start - walk, float(turn.start)),
            (turn.end + 0.3 * fps, turn.end + 0.3 * fps + walk),
        )
        actor.place += there[:, None] * (wanted - home)


def _extent(turn: Turn, act: Act, before: int, fps: float) -> tuple[int, int]:
    """First frame of an event and the frame after its last, in the take."""
    if turn.action.family not in MOVEMENTS:
        return turn.start, turn.end
    speeds = [np.linalg.norm(np.diff(p.joints_m, axis=0), axis=2).max(1) * fps for p in act.performers]
    moving = np.max(speeds, axis=0)[max(0, before - 1) : before + turn.frames] > STILL_M_S
    found = np.flatnonzero(moving)
    if not len(found):
        return turn.start, turn.end
    offset = turn.start - min(1, before)
    return max(turn.start, offset + int(found[0])), min(turn.end, offset + int(found[-1]) + 1)


def _carried(prop: Prop, performer: Performer, moved: Floats, at: slice, shown: NDArray[np.bool_], total: int) -> Prop:
    """A prop of a performance over the whole take: it goes with the hand, or the head, that it is nearest to.

    Args:
        moved: (t, V, 3) how far blending moved the joints.
        shown: (t,) when it is there.
    """
    joints = performer.joints_m[:, HANDS_AND_HEAD]
    nearest = np.linalg.norm(joints - prop.centre_m[:, None], axis=2).argmin(1)  # (t,)
    shift = moved[:, HANDS_AND_HEAD][np.arange(len(nearest)), nearest]
    centre, turned = np.zeros((total, 3), np.float32), np.tile(np.eye(3, dtype=np.float32), (total, 1, 1))
    there = np.zeros(total, bool)
    centre[at], turned[at], there[at] = prop.centre_m + shift, prop.rotation, shown
    return replace(prop, centre_m=centre, rotation=turned, shown=there)


def _wear_hats(actor: _Actor, turns: Sequence[Turn]) -> None:
    """Keep a hat on the head from the performance that puts it on to the one that takes it off; one hat a person."""
    hats = [n for n, prop in enumerate(actor.props) if prop.kind == "hat"]
    if not hats:
        return
    frames = np.arange(len(actor.joints))
    worn = np.zeros(len(frames), bool)
    colour = actor.props[hats[0]].colour
    for n, turn in zip(hats, turns, strict=True):
        puts_on = turn.action.name == "put on hat"
        worn[turn.end if puts_on else turn.start :] = puts_on
        there = actor.props[n].shown
        assert there is not None
        own = frames < turn.end if puts_on else frames >= turn.start
        actor.props[n] = replace(actor.props[n], shown=there & own, colour=colour)
    place = actor.joints[:, JOINT["head"]] + actor.head @ (np.array([0.0, 0.0, 0.065]) * actor.bones.head)
    frame = actor.head @ rotation(1, np.full(len(frames), 0.06))
    actor.props.append(Prop("hat", place.astype(np.float32), frame.astype(np.float32), colour, 1.0, worn))


# --- files ------------------------------------------------------------------------------------------------------------


def write_takes(
    specs: Sequence[TakeSpec],
    params: TakeSizes,
    folder: Path,
    workers: int = 1,
    on_progress: Callable[[int], None] | None = None,
) -> Takes:
    """Render takes into ``folder``: ``takes/<take_id>.mp4``, and ``takes_truth.parquet`` (as :func:`truth_rows`).

    Args:
        specs: of :func:`plan_takes`.
        params: sizes and seed.
        folder: the data folder.
        workers: processes that render, one thread each. The result does not depend on it.
        on_progress: called with the number of takes just finished.

    Returns:
        The takes and their events; not saved.

    Raises:
        RuntimeError: a worker process died.
    """
    (folder / "takes").mkdir(parents=True, exist_ok=True)
    work = partial(_write, params=params, folder=folder)
    parts: dict[int, tuple[list[Event], pd.DataFrame]] = {}
    with closing(run_here(work, specs) if workers <= 1 else run(work, specs, Workers(workers, threads=1))) as done:
        for number, part in done:
            if isinstance(part, Died):
                raise RuntimeError(f"take {specs[number].take_id!r} {part.reason}: render with fewer --workers")
            parts[number] = part
            if on_progress is not None:
                on_progress(1)
    truth = pd.concat([parts[number][1] for number in range(len(specs))], ignore_index=True)
    truth.to_parquet(delete_old(folder / "takes_truth.parquet"), index=False)
    videos = [_described(folder / "takes" / f"{spec.take_id}.mp4", spec, params) for spec in specs]
    events = [
        (spec.take_id, event.start_s, event.end_s, event.action, event.person)
        for number, spec in enumerate(specs)
        for event in parts[number][0]
    ]
    columns = (list(TAKE_COLUMNS), list(EVENT_COLUMNS))
    return Takes(pd.DataFrame(videos, columns=columns[0]), pd.DataFrame(events, columns=columns[1]))


def _write(spec: TakeSpec, params: TakeSizes, folder: Path) -> tuple[list[Event], pd.DataFrame]:
    scene, events = perform_take(spec, params)
    frames, truth = render_with_truth(scene, params.width, params.height)
    write_video(folder / "takes" / f"{spec.take_id}.mp4", frames, params.fps)
    return events, truth_rows(spec.take_id, truth)


def _described(file: Path, spec: TakeSpec, params: TakeSizes) -> dict[str, object]:
    """A row of takes.csv."""
    frames = round(params.take_seconds * params.fps)
    return {
        "video": spec.take_id,
        "path": file.as_posix(),
        "digest": file_digest(file),
        "width": params.width,
        "height": params.height,
        "fps": float(params.fps),
        "frames": frames,
        "seconds": frames / params.fps,
        "source": str(spec.subject),
        "split": spec.split,
        "error": "",
    }
