"""hpnet.bench.sequences and hpnet.core.video.equal: joined clips whose size, rate and length tell nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hpnet.bench import sequences
from hpnet.bench.sequences import Piece, ShortClip, plan_sequences, ut_clips
from hpnet.core.events import BACKGROUND
from hpnet.core.video import probe, write_video
from hpnet.core.video.equal import GREY, at_rate, covered, on_canvas
from hpnet.data.events_table import read_events_table
from hpnet.stages.cli import cli

UT = Path("../shared/data/real/ut_interaction")


@pytest.mark.parametrize(("fps", "frames", "wanted"), [(30.0, 108, 36), (20.0, 64, 32), (10.0, 7, 7), (5.0, 4, 7)])
def test_the_frame_that_is_shown_is_taken_at_every_rate(fps: float, frames: int, wanted: int) -> None:
    timed = [(2.0 + t / fps, np.full((1, 1, 3), t, np.uint8)) for t in range(frames)]
    found = [int(image[0, 0, 0]) for image in at_rate(timed, 10.0)]
    assert found == [int(k / 10 * fps + 1e-6) for k in range(wanted)]
    assert list(at_rate([], 10.0)) == []


def test_pauses_are_filled_by_timestamps() -> None:
    times = [0.0, 0.1, 0.5, 0.6]
    timed = [(time, np.full((1, 1, 3), n, np.uint8)) for n, time in enumerate(times)]
    assert [int(image[0, 0, 0]) for image in at_rate(timed, 10.0)] == [0, 1, 1, 1, 1, 2, 3]


def test_covering_fills_a_size_and_a_canvas_keeps_the_picture() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 200
    assert (covered(image, (20, 20)) == 200).all()
    assert covered(image, (80, 30)).shape == (30, 80, 3)
    np.testing.assert_array_equal(covered(image, (40, 20)), image)
    canvas = on_canvas(image, (60, 30))
    np.testing.assert_array_equal(canvas[5:25, 10:50], image)
    assert (canvas[:5] == GREY).all()
    assert on_canvas(image, (20, 20)).shape == (20, 20, 3)


def short_clips() -> list[ShortClip]:
    """Actions of many sizes and lengths, and background that differs from them in all of them."""
    rng = np.random.default_rng(3)
    clips = []
    for source in range(8):
        for n in range(5):
            size = (int(rng.integers(100, 200)), int(rng.integers(90, 150)))
            path = Path(f"a{source}-{n}.avi")
            clips.append(ShortClip(path, str(source), f"act {n}", size, 30.0, int(rng.integers(20, 60)) / 10))
        for n in range(12 if source else 0):
            clips.append(ShortClip(Path(f"b{source}-{n:02}.avi"), str(source), BACKGROUND, (64, 48), 20.0, 3.2))
    return clips


def test_background_is_as_large_and_as_long_as_actions_and_no_clip_is_used_twice() -> None:
    clips = short_clips()
    planned = plan_sequences(clips)
    assert planned == plan_sequences(clips[::-1])
    assert planned != plan_sequences(clips, seed=8)
    for source, pieces in planned.items():
        acts = [piece for piece in pieces if piece.action != BACKGROUND]
        idle = [piece for piece in pieces if piece.action == BACKGROUND]
        assert sorted(piece.action for piece in acts) == [f"act {n}" for n in range(5)]
        alike = [sorted((piece.size_px, piece.frames) for piece in part) for part in (acts, idle)]
        assert alike[0] == alike[1]
        assert {piece.source for piece in pieces} == {source}
    used = [path for pieces in planned.values() for piece in pieces for path in piece.paths]
    assert len(used) == len(set(used))
    own = [path.name[1] == source for source, pieces in planned.items() for p in pieces for path in p.paths]
    assert np.mean(own) > 0.8


def test_the_control_sees_through_the_clips_and_not_through_the_pieces() -> None:
    clips = short_clips()
    assert sequences.control_of_clips(clips).value == 1.0
    after = sequences.control_of_pieces(plan_sequences(clips))
    assert after.low <= 0.5 <= after.high
    assert abs(after.value - 0.5) < 0.1
    longer = {
        source: [replace(p, frames=p.frames + 40 * (p.action == BACKGROUND)) for p in pieces]
        for source, pieces in plan_sequences(clips).items()
    }
    assert sequences.control_of_pieces(longer).value > 0.9


def test_sequences_are_written_with_their_table(tmp_path: Path) -> None:
    for name, grey, fps in (("x", 50, 20), ("y", 200, 30)):
        write_video(tmp_path / f"{name}.mp4", (np.full((48, 64, 3), grey, np.uint8) for _ in range(3 * fps)), fps)
    idle = Piece((tmp_path / "x.mp4",), "1", BACKGROUND, (64, 40), 20)
    act = Piece((tmp_path / "y.mp4",), "1", "wave", (64, 40), 15)
    table = sequences.write_sequences({"1": [idle, act, idle]}, tmp_path / "out")
    assert table.to_dict("records") == [
        {"video": "1.mp4", "start_s": 2.0, "end_s": 3.5, "action": "wave", "source": "1"}
    ]
    info = probe(tmp_path / "out" / "1.mp4")
    assert (info.frames, info.fps, (info.width, info.height)) == (55, 10.0, sequences.CANVAS_PX)
    assert read_events_table(tmp_path / "out" / "events.csv").end_s.tolist() == [3.5]
    with pytest.raises(ValueError, match=r"y.mp4: 30 frames at 10 a second, expected 99"):
        list(sequences.frames_of(replace(act, frames=99)))


def test_parts_of_sequences_are_written_apart(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mp4", (np.full((48, 64, 3), 90, np.uint8) for _ in range(60)), 20)
    pieces = [Piece((tmp_path / "x.mp4",), "1", action, (64, 40), 15) for action in (BACKGROUND, "wave")]
    table = sequences.write_pieces({"1": pieces}, tmp_path / "out")
    assert table.to_dict("records") == [
        {"video": "1-00.mp4", "action": BACKGROUND, "source": "1"},
        {"video": "1-01.mp4", "action": "wave", "source": "1"},
    ]
    assert (tmp_path / "out" / "folds.csv").read_text().split() == ["video,fold", "1-00.mp4,1", "1-01.mp4,1"]
    infos = [probe(tmp_path / "out" / name) for name in table.video]
    assert {(info.frames, info.fps, info.width) for info in infos} == {(15, 10.0, sequences.CANVAS_PX[0])}


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no .avi"):
        ut_clips(tmp_path, tmp_path)
    (tmp_path / "wave.avi").write_bytes(b"x")
    with pytest.raises(ValueError, match="does not parse: expected INDEX_SEQUENCE_LABEL"):
        ut_clips(tmp_path, tmp_path)


@pytest.mark.skipif(not UT.is_dir(), reason="UT-Interaction is not here")
def test_ut_interaction_becomes_ten_sequences_that_the_control_cannot_read() -> None:
    clips = ut_clips(UT / "segmented_set1", UT / "background_set1")
    planned = plan_sequences(clips)
    assert len(planned) == 10
    assert sum(piece.action != BACKGROUND for pieces in planned.values() for piece in pieces) == 60
    assert 25 < np.median([sum(piece.frames for piece in pieces) / sequences.FPS for pieces in planned.values()]) < 70
    assert sequences.control_of_clips(clips).value > 0.95
    after = sequences.control_of_pieces(planned)
    assert after.low <= 0.5 <= after.high


def test_the_command_needs_the_folder() -> None:
    said = CliRunner().invoke(cli, ["bench", "events", "--ut", "nowhere", "--out", "x"])
    assert said.exit_code == 2
    assert all(a.paths != b.paths for a, b in itertools.pairwise(plan_sequences(short_clips())["1"]))
