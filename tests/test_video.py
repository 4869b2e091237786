"""Video in and out, and every way a file can be broken."""

from pathlib import Path

import numpy as np
import pytest

from hpnet.video import VideoError, load_clip, probe, read_frames, write_video


def moving_square(frames: int = 6, height: int = 48, width: int = 64) -> np.ndarray:
    clip = np.zeros((frames, height, width, 3), np.uint8)
    for t in range(frames):
        clip[t, 8:24, 4 + 4 * t : 20 + 4 * t] = (220, 40, 10)
    return clip


def test_written_frames_come_back_in_rgb(tmp_path: Path) -> None:
    clip = moving_square()
    write_video(tmp_path / "a.mp4", clip, fps=12)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frames) == (64, 48, 6)
    assert info.fps == pytest.approx(12)
    back = load_clip(tmp_path / "a.mp4")
    assert back.shape == clip.shape
    centre = back[0, 16, 12].astype(int)
    assert centre[0] > 180 > centre[2]  # red stays red: no channel swap
    assert np.abs(back.astype(int) - clip).mean() < 8


def test_one_frame_odd_size_and_max_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", moving_square(1, 33, 47), fps=25)
    assert load_clip(tmp_path / "one.mp4").shape == (1, 34, 48, 3)
    write_video(tmp_path / "six.mp4", moving_square(6), fps=25)
    assert len(list(read_frames(tmp_path / "six.mp4", max_frames=2))) == 2


def test_broken_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video at all")
    write_video(tmp_path / "whole.mp4", moving_square(30), fps=25)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name, reason in (("none", "missing"), ("zero", "empty"), ("text", "no readable video"), ("cut", "readable")):
        with pytest.raises(VideoError, match=reason):
            probe(tmp_path / f"{name}.mp4")


def test_a_stream_that_breaks_off_is_noticed(tmp_path: Path) -> None:
    write_video(tmp_path / "whole.mp4", np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8), fps=25)
    data = bytearray((tmp_path / "whole.mp4").read_bytes())
    start = data.find(b"mdat") + len(data) // 3
    data[start : start + len(data) // 2] = bytes(len(data) // 2)
    (tmp_path / "hole.mp4").write_bytes(bytes(data))
    with pytest.raises(VideoError, match="breaks off after"):
        load_clip(tmp_path / "hole.mp4")


def test_writing_refuses_nothing_and_changing_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], fps=10)
    with pytest.raises(ValueError, match="the first was"):
        write_video(tmp_path / "a.mp4", [np.zeros((8, 8, 3), np.uint8), np.zeros((16, 8, 3), np.uint8)], fps=10)
