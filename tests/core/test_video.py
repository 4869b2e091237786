"""Video in and out, and every way a file can be broken."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from hpnet.core.stretch import Stretch
from hpnet.core.video import (
    VideoError,
    frame_times,
    load_clip,
    probe,
    read_frames,
    read_timed,
    reading,
    write_video,
)

FILES = Path(__file__).parents[1] / "files" / "video"


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


def test_the_content_decides_not_the_extension(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_square(), fps=12)
    (tmp_path / "a.mp4").rename(tmp_path / "a.avi")
    assert probe(tmp_path / "a.avi").frames == 6
    assert load_clip(tmp_path / "a.avi").shape == (6, 48, 64, 3)


@pytest.mark.parametrize(("degrees", "shape"), [(90, (64, 48)), (180, (48, 64)), (270, (64, 48))])
def test_rotated_videos_come_upright(tmp_path: Path, degrees: int, shape: tuple[int, int]) -> None:
    write_video(tmp_path / "a.mp4", moving_square(), fps=12)
    straight = load_clip(tmp_path / "a.mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = data.find(b"tkhd") + 44  # of the track header: the display matrix, 16.16 and 2.30 fixed point
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    turned = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = turned
    (tmp_path / "a.mp4").write_bytes(bytes(data))
    info = probe(tmp_path / "a.mp4")
    assert (info.height, info.width) == shape
    # the matrix turns clockwise for display
    np.testing.assert_array_equal(load_clip(tmp_path / "a.mp4"), np.rot90(straight, -degrees // 90, axes=(1, 2)))


def test_a_size_that_changes_mid_stream_is_brought_back_to_the_first(tmp_path: Path) -> None:
    parts = []
    for number, (height, width) in enumerate([(48, 64), (96, 128)]):
        part = tmp_path / f"{number}.ts"
        with av.open(str(part), "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=12)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            image = np.full((height, width, 3), 60 + 120 * number, np.uint8)
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        parts.append(part.read_bytes())
    (tmp_path / "both.mpg").write_bytes(b"".join(parts))
    clip = load_clip(tmp_path / "both.mpg")
    assert clip.shape == (8, 48, 64, 3)
    assert abs(int(clip[-1].mean()) - 180) < 6


def test_writing_refuses_nothing_and_changing_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], fps=10)
    with pytest.raises(ValueError, match="the first was"):
        write_video(tmp_path / "a.mp4", [np.zeros((8, 8, 3), np.uint8), np.zeros((16, 8, 3), np.uint8)], fps=10)


def coded(path: Path, container: str, frames: int = 60, **options: str) -> Path:
    """A video of 10 frames a second in which every frame differs."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "20", **options})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(frames):
            image = np.full((48, 64, 3), 3 * number, np.uint8)
            image[:8, :8] = rng.integers(0, 255, 3)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


KINDS = {
    "a.mp4": ("mp4", {"g": "12"}),
    "b.mp4": ("mp4", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
    "one-key.mp4": ("mp4", {"g": "1000"}),
    "c.mkv": ("matroska", {"g": "7", "bf": "2"}),
    "d.avi": ("avi", {"g": "12"}),
    "e.ts": ("mpegts", {"g": "12"}),
}


@pytest.mark.parametrize("name", [*KINDS, "editlist.mp4"])
def test_a_stretch_has_the_frames_of_the_whole_video_whether_the_reader_seeks_or_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = coded(tmp_path / name, KINDS[name][0], **KINDS[name][1]) if name in KINDS else FILES / name
    whole = list(read_timed(path))
    length = whole[-1][0]
    for least in (0.0, 1e9):
        monkeypatch.setattr(reading, "_SOUGHT_S", least)
        for start, end in ((0.0, 0.3), (0.5 * length, 0.8 * length), (0.31, 1.0), (0.9 * length, 99.0)):
            stretch = Stretch(start, end)
            wanted = [(time, frame) for time, frame in whole if start - 1e-3 <= time < end - 1e-3]
            found = list(read_timed(path, stretch=stretch))
            assert [time for time, _ in found] == pytest.approx([time for time, _ in wanted])
            for (_, frame), (_, other) in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(frame, other)
            assert probe(path, stretch).frames == len(wanted)
            assert len(list(read_frames(path, 2, stretch=stretch))) == min(2, len(wanted))


def test_a_stretch_without_a_frame_says_so(tmp_path: Path) -> None:
    path = coded(tmp_path / "a.mp4", "mp4")
    for start in (1.01, 7.0):
        with pytest.raises(VideoError, match=f"no frame from {start:g} to"):
            list(read_frames(path, stretch=Stretch(start, start + 0.05)))
        with pytest.raises(VideoError, match=f"no frame from {start:g} to"):
            probe(path, Stretch(start, start + 0.05))
    assert frame_times(path) == pytest.approx(np.arange(60) / 10)
