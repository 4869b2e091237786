"""Windows of video files: real seconds by timestamps, no gap bridged, memory in bounds, a bad file costs itself."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpnet.core.video import VideoError, VideoInfo, write_timed, write_video
from hpnet.predict.windows import (
    Cutting,
    FileFrames,
    Footage,
    HeldFrames,
    Room,
    Window,
    every_window,
    file_windows,
    frame_scale,
    in_parts,
    longest_step_s,
    thinned,
)

Timed = list[tuple[float, np.ndarray]]


def numbered(times_s: list[float], side: int = 2) -> Timed:
    """Frames that hold their own number."""
    return [(t, np.full((side, side, 3), n % 251, np.uint8)) for n, t in enumerate(times_s)]


def refuse(video: str, reason: str) -> None:
    raise AssertionError(f"{video}: {reason}")


def cut(timed: Timed, cutting: Cutting, info: VideoInfo) -> list[Window]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpnet.predict.windows.probe", lambda path: info)
        patch.setattr("hpnet.predict.windows.read_timed", lambda path: iter(timed))
        windows = list(file_windows(Path("x.mp4"), cutting))
        return [Window(**{**w.__dict__, "frames": HeldFrames(tuple(w.frames))}) for w in windows]


def written(path: Path, times_s: list[float], fps: float, size: tuple[int, int] = (48, 64)) -> Path:
    write_timed(path, ((t, np.full((*size, 3), (n * 37) % 256, np.uint8)) for n, t in enumerate(times_s)), fps)
    return path


def spans(path: Path, cutting: Cutting) -> list[tuple[float, float, int]]:
    """(first frame's time, last frame's time, frames) of each window of a file."""
    found = [[t for t, _ in w.frames] for w in every_window([path], cutting, refuse)]
    return [(round(times[0], 3), round(times[-1], 3), len(times)) for times in found]


@settings(max_examples=200, deadline=None)
@example(frames=5, length=2, overlap=0.0, whole=0, stride=3)
@example(frames=17, length=5, overlap=0.0, whole=0, stride=3)
@given(
    frames=st.integers(1, 60), length=st.integers(2, 20), overlap=st.floats(0, 0.9), whole=st.integers(0, 30),
    stride=st.integers(1, 3),
)  # fmt: skip
def test_every_frame_is_in_a_window_and_windows_have_their_length(
    frames: int, length: int, overlap: float, whole: int, stride: int
) -> None:
    timed = numbered([n / 10 for n in range(frames)])
    cutting = Cutting(length / 10, max(whole, 1) / 10, overlap, stride=stride)
    found = cut(timed, cutting, VideoInfo(2, 2, 10.0, frames, frames / 10))
    shown = [[int(f[0, 0, 0]) for _, f in w.frames] for w in found]
    assert sorted({n for window in shown for n in window}) == list(range(frames))
    assert [w.number for w in found] == list(range(len(found)))
    if frames <= whole:
        assert shown == [list(range(frames))]
    for window, inside_it in zip(found, shown, strict=True):
        assert inside_it == list(range(window.first, window.first + len(inside_it)))
        assert next(iter(window.frames))[0] == window.first / 10
        if len(found) > 1:
            # a step to the next multiple of the stride may lengthen one, a rest of a tenth the last one
            assert 0.9 * length <= len(inside_it) <= max(1.1 * length, length + stride - 1)
        if window is not found[-1]:
            assert window.first % stride == 0


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.sampled_from([0.02, 0.033, 0.05, 0.3, 1.1, 4.0, 61.0]), min_size=1, max_size=80))
def test_windows_of_a_variable_rate_cover_everything_and_bridge_no_gap(steps: list[float]) -> None:
    times = np.concatenate([[0.0], np.cumsum(steps)]).round(3).tolist()
    usual = float(np.median(steps))
    info = VideoInfo(2, 2, 1 / usual, len(times), times[-1] + usual)
    cutting = Cutting(2.0, 1.0, 0.5, stride=2)
    found = cut(numbered(times), cutting, info)
    of_windows = [[t for t, _ in w.frames] for w in found]
    assert sorted({t for window in of_windows for t in window}) == sorted(set(times))
    longest = longest_step_s(2.0, 1 / usual)
    for window in of_windows:
        assert max(np.diff(window), default=0) <= longest
        assert window == sorted(window)
    assert len({w[0] for w in of_windows}) == len(of_windows)


def test_a_gap_in_time_is_not_bridged(tmp_path: Path) -> None:
    """A recording that stopped for a minute: pictures at 0 to 2.9 s and at 63 to 65.9 s."""
    times = [n / 8 for n in range(24)] + [63 + n / 8 for n in range(24)]
    path = written(tmp_path / "gap.mp4", times, 8)
    found = spans(path, Cutting(2.0, 2.0, 0.5))
    assert found == [(0.0, 1.875, 16), (1.0, 2.875, 16), (63.0, 64.875, 16), (64.0, 65.875, 16)]
    whole = spans(path, Cutting(2.0, 100.0, 0.5))  # short enough to be one window, were it not for the gap
    assert whole == [(0.0, 2.875, 24), (63.0, 65.875, 24)]


def test_jittering_times_give_the_windows_of_an_even_rate(tmp_path: Path) -> None:
    """As browsers record: times in milliseconds that jitter, no steady rate."""
    draw = np.random.default_rng(3)
    even = [n / 32 for n in range(12 * 32)]
    jittered = np.sort(np.round(np.array(even) + draw.uniform(-0.012, 0.012, len(even)), 3).clip(0)).tolist()
    cutting = Cutting(2.0, 2.0, 0.5, stride=2)
    steady, shaky = (spans(written(tmp_path / f"{n}.mp4", t, 32), cutting) for n, t in enumerate((even, jittered)))
    assert len(steady) == len(shaky) == 11
    for a, b in zip(steady, shaky, strict=True):
        assert a[:2] == pytest.approx(b[:2], abs=0.1)


def test_a_little_more_or_less_than_a_window_at_the_end_makes_no_window_of_its_own() -> None:
    for frames in (38, 40, 42):
        found = cut(numbered([n / 10 for n in range(frames)]), Cutting(2.0, 1.0, 0.5), VideoInfo(2, 2, 10, frames, 4))
        assert [w.first for w in found] == [0, 10, 20]
    found = cut(numbered([n / 10 for n in range(45)]), Cutting(2.0, 1.0, 0.5), VideoInfo(2, 2, 10, 45, 4.5))
    assert [w.first for w in found] == [0, 10, 20, 25]


def test_slow_footage_has_windows_of_real_seconds_too() -> None:
    found = cut(numbered([2.0 * n for n in range(6)]), Cutting(2.0, 2.0, 0.5), VideoInfo(2, 2, 0.5, 6, 12.0))
    assert [[t for t, _ in w.frames] for w in found] == [[0], [2], [4], [6], [8], [10]]


def test_high_rates_are_thinned_by_time(tmp_path: Path) -> None:
    path = written(tmp_path / "slow_motion.mp4", [n / 240 for n in range(720)], 240, (16, 16))
    cutting = Cutting(2.0, 2.0, 0.5, max_fps=60)
    found = spans(path, cutting)
    assert [(round(a), round(b)) for a, b, _ in found] == [(0, 2), (1, 3)]
    assert all(115 <= count <= 121 for _, _, count in found)
    (window,) = every_window([path], Cutting(4.0, 4.0, 0.5, max_fps=60), refuse)
    assert window.fps == 60
    assert 178 <= len(list(window.frames)) <= 182


def test_thinning_keeps_even_spacing() -> None:
    timed = numbered([n / 30 for n in range(60)])
    assert [int(f[0, 0, 0]) for _, f in thinned(timed, 10)] == list(range(0, 60, 3))
    assert len(list(thinned(timed, None))) == len(list(thinned(timed, 30))) == 60
    in_milliseconds = numbered([round(n / 60, 3) for n in range(120)])
    assert len(list(thinned(in_milliseconds, 60))) >= 119


def test_large_frames_are_reduced_until_a_window_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mp4", [n / 8 for n in range(40)], 8, (480, 640))
    monkeypatch.setattr("hpnet.predict.windows.WINDOW_BYTES", 16 * 480 * 640 * 3 // 3)
    windows = list(every_window([path], Cutting(2.0, 2.0, 0.5), refuse))
    assert len(windows) == 4
    for window in windows:
        assert window.size_px == (640, 480)
        _, size = window.frames.held()
        assert size <= 16 * 480 * 640 * 3 // 3
        height, width, _ = next(iter(window.frames))[1].shape
        assert width / height == pytest.approx(640 / 480, rel=0.02)
        assert width >= 320


def test_what_is_too_large_even_so_is_refused_by_its_size_and_the_others_are_read(tmp_path: Path) -> None:
    written(tmp_path / "a.mp4", [n / 8 for n in range(24)], 8)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    written(tmp_path / "c.mp4", [n / 8 for n in range(24)], 8)
    told: dict[str, str] = {}
    files = [tmp_path / f"{name}.mp4" for name in "abc"]
    windows = list(every_window(files, Cutting(2.0, 2.0), lambda video, reason: told.update({video: reason})))
    assert {Path(w.video).name for w in windows} == {"a.mp4", "c.mp4"}
    assert [Path(video).name for video in told] == ["b.mp4"]
    with pytest.raises(VideoError, match=r"1000000 frames of 640 x 480 needs 921\.6 GB"):
        frame_scale((640, 480), 1_000_000)
    assert frame_scale((640, 480), 60) == 1


def test_pictures_that_come_faster_than_the_rate_says_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpnet.predict.windows.WINDOW_BYTES", 1 << 20)
    timed = numbered([n / 10 for n in range(20)] + [2 + n / 10_000 for n in range(9_000)], 32)
    with pytest.raises(VideoError, match="give a shorter --window or a lower --fps"):
        cut(timed, Cutting(2.0, 1.0), VideoInfo(32, 32, 10.0, len(timed), 2.9))


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error"), ValueError("two\nlines")])
def test_whatever_a_file_raises_costs_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    written(tmp_path / "a.mp4", [n / 8 for n in range(8)], 8)
    told: list[str] = []

    def probing(path: Path) -> VideoInfo:
        raise error

    monkeypatch.setattr("hpnet.predict.windows.probe", probing)
    assert not list(every_window([tmp_path / "a.mp4"], Cutting(1, 1), lambda video, reason: told.append(reason)))
    assert len(told) == 1
    assert told[0]
    assert "\n" not in told[0]


def test_short_files_share_the_room_in_which_frames_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [np.full((16, 16, 3), n, np.uint8) for n in range(10)], fps=10)
    clip = 10 * 16 * 16 * 3
    room = Room(clip + 100)
    first, second = FileFrames(Footage(path, None), room), FileFrames(Footage(path, None), room)
    assert len(list(first)) == len(list(first)) == len(list(second)) == len(list(second)) == 10
    assert not room.take(200)
    path.unlink()
    assert len(list(first)) == 10  # kept
    with pytest.raises(VideoError):
        list(second)
    first.release()
    assert room.take(clip + 100)


def test_windows_on_their_way_hold_a_bounded_part_of_the_footage() -> None:
    timed = numbered([n / 10 for n in range(200)], 10)  # 300 bytes each
    windows = [Window("x", n, 5 * n, 10, HeldFrames(tuple(timed[5 * n : 5 * n + 10])), (10, 10)) for n in range(38)]
    parts = [list(part) for part in in_parts(iter(windows), most_bytes=10_000)]
    assert [w for part in parts for w in part] == windows
    assert [len(part) for part in parts] == [5, 5, 5, 5, 5, 5, 5, 3]  # 10 frames, then 5 fresh ones each
    assert [len(list(part)) for part in in_parts(iter(windows), most_bytes=1)] == [1] * 38
