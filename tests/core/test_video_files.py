"""Files as they come: containers that lie, streams of all kinds, odd names, and files that were cut off."""

import socket
import struct
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from hpnet.core.video import (
    VIDEO_SUFFIXES,
    VideoError,
    load_clip,
    opening,
    pixels,
    probe,
    read_timed,
    reading,
    write_video,
)
from tests.video_files import add_videos, encode, images

DATA = Path(__file__).parents[1] / "files" / "video"


def seen(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and frames of a file that is read whole, and agrees with what probing it says."""
    times, frames = [], []
    for seconds, frame in read_timed(path):
        times.append(seconds)
        frames.append(frame)
    info = probe(path)
    assert len(frames) == info.frames
    assert {frame.shape for frame in frames} == {(info.height, info.width, 3)}
    assert all(a < b for a, b in pairwise(times))
    return times, frames


# --- what a header says ----------------------------------------------------------------------------------------------


def test_an_edit_list_shows_a_part_of_the_file() -> None:
    times, _ = seen(DATA / "editlist.mp4")
    assert times == pytest.approx(np.arange(16) / 8)
    assert probe(DATA / "editlist.mp4").seconds == pytest.approx(2)


def test_empty_slots_of_an_avi_are_no_frames(tmp_path: Path) -> None:
    shown = [slot for slot in range(48) if slot % 6 != 3]  # 40 of 48, as 25 frames/s in 30
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for slot, image in zip(shown, images(40), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = slot, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with av.open(str(tmp_path / "a.avi")) as file:
        assert file.streams.video[0].frames == 48
    times, _ = seen(tmp_path / "a.avi")
    assert times == pytest.approx([slot / 30 for slot in shown])
    assert probe(tmp_path / "a.avi").fps == pytest.approx(25, abs=0.3)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mjpeg"])
@pytest.mark.parametrize("counted", [0, 3, 400])
def test_a_count_that_is_wrong_is_not_believed(codec: str, counted: int, tmp_path: Path) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / "a.avi", images(30), codec, stream={"pix_fmt": pix_fmt})
    data = bytearray(path.read_bytes())
    header = data.find(b"strh") + 8
    struct.pack_into("<I", data, header + 32, counted)  # the stream's length
    struct.pack_into("<I", data, data.find(b"avih") + 8 + 16, counted)
    path.write_bytes(bytes(data))
    times, _ = seen(path)
    assert times == pytest.approx(np.arange(30) / 12)


def test_negative_times_are_shown(tmp_path: Path) -> None:
    options = {"format": "matroska", "options": {"avoid_negative_ts": "disabled"}}
    times_ms = [40 * t - 400 for t in range(20)]
    path = encode(tmp_path / "a.mkv", images(20), fps=25, times_ms=times_ms, container=options)
    times, _ = seen(path)
    assert times == pytest.approx(np.arange(20) / 25, abs=0.002)


# --- time ------------------------------------------------------------------------------------------------------------


def test_times_are_timestamps_and_a_gap_is_no_rate(tmp_path: Path) -> None:
    times_ms = [125 * t for t in range(24)] + [63_000 + 125 * t for t in range(24)]
    times, _ = seen(encode(tmp_path / "gap.mkv", images(48), fps=8, times_ms=times_ms))
    assert times == pytest.approx([t / 1000 for t in times_ms])
    info = probe(tmp_path / "gap.mkv")
    assert info.fps == pytest.approx(8)
    assert info.seconds == pytest.approx(66)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9", "libx264"])
def test_the_rate_of_a_browser_recording_is_that_of_its_frames(codec: str, tmp_path: Path) -> None:
    jitter = np.random.default_rng(0).integers(-6, 7, 64)
    times_ms = (np.arange(64) * 1000 / 32 + 10 + jitter).round().astype(int).tolist()
    suffix = "mkv" if codec == "libx264" else "webm"
    path = encode(tmp_path / f"a.{suffix}", images(64), codec, times_ms=times_ms, container={"options": {"live": "1"}})
    times, _ = seen(path)
    assert times == pytest.approx([(t - times_ms[0]) / 1000 for t in times_ms], abs=0.002)
    info = probe(path)
    assert info.fps == pytest.approx(32, rel=0.02)
    assert info.seconds == pytest.approx(2, abs=0.05)


def test_frames_of_one_timestamp_still_rise(tmp_path: Path) -> None:
    times_ms = [t // 2 * 40 for t in range(20)]
    with av.open(str(tmp_path / "a.mkv"), "w") as file:  # written packet by packet: an encoder would refuse
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, image in enumerate(images(20)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = times_ms[number]
                file.mux(packet)
    times, _ = seen(tmp_path / "a.mkv")
    assert times == pytest.approx([t / 1000 for t in times_ms], abs=0.003)
    assert probe(tmp_path / "a.mkv").fps == pytest.approx(25, rel=0.01)


def test_time_runs_on_where_files_were_joined(tmp_path: Path) -> None:
    part = encode(tmp_path / "part.ts", images(24), "mpeg2video", fps=25)
    (tmp_path / "joined.ts").write_bytes(part.read_bytes() * 3)
    times, _ = seen(tmp_path / "joined.ts")
    assert times == pytest.approx(np.arange(72) / 25, abs=0.05)
    assert probe(tmp_path / "joined.ts").seconds == pytest.approx(72 / 25, abs=0.05)


def test_pictures_that_begin_after_the_sound_are_shown_later(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "late.mkv"), "w") as file:
        sound = file.add_stream("pcm_s16le", rate=8000)
        video = file.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        for _ in range(30):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            frame.rate = 8000
            file.mux(sound.encode(frame))
        for number, image in enumerate(images(10)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number + 20, Fraction(1, 10)
            file.mux(video.encode(frame))
        file.mux(video.encode())
    times, _ = seen(tmp_path / "late.mkv")
    assert times == pytest.approx(2 + np.arange(10) / 10)
    assert probe(tmp_path / "late.mkv").seconds == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "codec", "fps"),
    [("a.h264", "libx264", 10), ("a.hevc", "libx265", 10), ("a.m2v", "mpeg2video", 30), ("a.mjpeg", "mjpeg", 25)],
)
def test_elementary_streams_have_their_coded_rate(name: str, codec: str, fps: int, tmp_path: Path) -> None:
    stream = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {"options": {"x265-params": "log-level=none"}}
    times, _ = seen(encode(tmp_path / name, images(20), codec, fps=fps, stream=stream))
    assert times == pytest.approx(np.arange(20) / fps, abs=1e-3)
    assert probe(tmp_path / name).fps == pytest.approx(fps)


# --- which stream, which pixels --------------------------------------------------------------------------------------


def test_a_song_with_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as file:
        sound = file.add_stream("aac", rate=44100)
        cover = file.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(images(1)[0], format="rgb24").reformat(format="yuvj420p")
        file.mux(cover.encode(picture))
        for number in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.rate, frame.pts = 44100, 1024 * number
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
    for read in (probe, load_clip):
        with pytest.raises(VideoError, match="holds no video"):
            read(tmp_path / "song.mp4")


def test_a_cover_picture_before_the_video_is_passed_over(tmp_path: Path) -> None:
    cover = {"disposition": Disposition.attached_pic, "pix_fmt": "yuvj420p"}
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        add_videos(file, [(images(1, 96, 128), "mjpeg", cover), (images(20), "libx264", {})])
    times, frames = seen(tmp_path / "a.mp4")
    assert (len(times), frames[0].shape) == (20, (48, 64, 3))


@pytest.mark.parametrize(
    ("default", "expected"),
    [((True, False), (48, 64)), ((False, True), (96, 128)), ((True, True), (96, 128)), ((False, False), (96, 128))],
)
def test_the_default_stream_and_then_the_largest_is_shown(
    default: tuple[bool, bool], expected: tuple[int, int], tmp_path: Path
) -> None:
    marked = [{"disposition": Disposition.default if d else Disposition.dub} for d in default]
    with av.open(str(tmp_path / "a.mkv"), "w", options={"default_mode": "passthrough"}) as file:
        add_videos(file, [(images(5), "libx264", marked[0]), (images(5, 96, 128), "libx264", marked[1])])
    assert seen(tmp_path / "a.mkv")[1][0].shape[:2] == expected


@pytest.mark.parametrize(
    ("ratio", "width"),
    [
        (Fraction(64, 45), 91),
        (Fraction(1, 2), 32),
        (Fraction(0, 1), 64),
        (Fraction(900, 1), 64),
        (Fraction(241, 240), 64),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_pixels_become_square(ratio: Fraction, width: int, suffix: str, tmp_path: Path) -> None:
    path = encode(tmp_path / f"a.{suffix}", images(3), stream={"sample_aspect_ratio": ratio})
    assert seen(path)[1][0].shape == (48, width, 3)


MATRICES = {
    "half": (-1, 0, 0, -1), "quarter": (0, 1, -1, 0), "three": (0, -1, 1, 0),
    "left-right": (-1, 0, 0, 1), "top-bottom": (1, 0, 0, -1), "transposed": (0, 1, 1, 0), "turned over": (0, -1, -1, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_turns_and_mirrors(name: str, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", images(3), fps=12)
    plain = load_clip(tmp_path / "a.mp4")
    a, b, c, d = MATRICES[name]
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(bytes(data))
    y, x = np.mgrid[:48, :64]
    shown_x, shown_y = a * x + c * y, b * x + d * y  # where the matrix shows each pixel
    expected = np.zeros((3, np.ptp(shown_y) + 1, np.ptp(shown_x) + 1, 3), np.uint8)
    expected[:, shown_y - shown_y.min(), shown_x - shown_x.min()] = plain
    np.testing.assert_array_equal(np.stack(seen(tmp_path / "a.mp4")[1]), expected)


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("ffv1", "gray"), ("ffv1", "yuv420p10le"), ("ffv1", "yuva420p"), ("ffv1", "gray16le"), ("ffv1", "bgra"),
        ("libx264", "yuv422p10le"), ("libx264", "yuv444p"), ("qtrle", "argb"), ("png", "rgba"),
    ],
)  # fmt: skip
def test_pixel_formats(codec: str, pix_fmt: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{'mov' if codec in ('qtrle', 'png') else 'mkv'}"
    _, frames = seen(encode(path, images(6), codec, stream={"pix_fmt": pix_fmt}))
    for number, frame in enumerate(frames):
        assert abs(int(np.median(frame)) - (20 + 8 * number)) <= 6


KINDS = [
    ("mp4", "libx264"), ("m4v", "libx264"), ("mov", "libx264"), ("3gp", "libx264"), ("mkv", "libx264"),
    ("webm", "libvpx-vp9"), ("webm", "libvpx"), ("avi", "mpeg4"), ("avi", "libx264"), ("wmv", "wmv2"),
    ("asf", "msmpeg4"), ("flv", "flv"), ("ogv", "libtheora"), ("ts", "libx264"), ("mts", "libx264"),
    ("m2ts", "libx264"), ("mpg", "mpeg1video"), ("vob", "mpeg2video"), ("mxf", "mpeg2video"), ("nut", "mpeg4"),
    ("y4m", "wrapped_avframe"), ("gif", "gif"), ("apng", "apng"), ("h264", "libx264"), ("m1v", "mpeg1video"),
    ("mjpeg", "mjpeg"),
]  # fmt: skip
FORMATS = {"wmv": "asf", "m2ts": "mpegts", "mts": "mpegts", "3gp": "3gp", "m1v": "mpeg1video", "y4m": "yuv4mpegpipe"}
PIXELS = {"gif": "rgb8", "apng": "rgb24", "mjpeg": "yuvj420p"}


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_what_ffmpeg_reads_is_read(suffix: str, codec: str, tmp_path: Path) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    options = {"pix_fmt": PIXELS.get(codec, "yuv420p")}
    container = {"format": FORMATS[suffix]} if suffix in FORMATS else {}
    path = encode(tmp_path / f"a.{suffix}", images(25), codec, fps=25, container=container, stream=options)
    times, frames = seen(path)
    assert times == pytest.approx(np.arange(25) / 25, abs=0.002)
    assert abs(int(np.median(frames[20])) - 180) < 24
    assert f".{suffix}" in VIDEO_SUFFIXES


# --- files that are cut off ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {"movflags": "faststart"}), ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("mkv", "libx264", {}), ("webm", "libvpx", {}), ("avi", "mpeg4", {}), ("avi", "mjpeg", {}), ("flv", "flv", {}),
        ("wmv", "wmv2", {}), ("gif", "gif", {}), ("apng", "apng", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_file_that_was_cut_off_breaks_off(
    suffix: str, codec: str, options: dict[str, str], share: float, tmp_path: Path
) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8))
    container = {"options": options, **({"format": FORMATS[suffix]} if suffix in FORMATS else {})}
    stream = {"pix_fmt": PIXELS.get(codec, "yuv420p"), "gop_size": 5}
    path = encode(tmp_path / f"a.{suffix}", noise, codec, container=container, stream=stream)
    assert len(seen(path)[0]) == 40
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    frames = read_timed(path)
    found: list[float] = []
    with pytest.raises(VideoError, match=r"breaks off after \d+ frames"):
        found.extend(seconds for seconds, _ in frames)
    assert 4 < len(found) < 36


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4")])
def test_a_file_that_lost_its_index_alone_is_complete(suffix: str, codec: str, tmp_path: Path) -> None:
    path = encode(tmp_path / f"a.{suffix}", images(40), codec)
    whole = path.read_bytes()
    index = whole.rfind({"avi": b"idx1"}.get(suffix, b"\x1c\x53\xbb\x6b"))
    assert index > len(whole) / 2
    path.write_bytes(whole[:index])
    assert len(seen(path)[0]) == 40


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_a_recording_of_a_broadcast_begins_and_ends_anywhere(codec: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ts", images(60), codec, fps=25, stream={"gop_size": 10})
    whole = path.read_bytes()
    path.write_bytes(whole[len(whole) // 4 : len(whole) * 9 // 10 - 77])
    count = sum(1 for _ in read_timed(path))
    assert 20 < count < 55


# --- names and lists -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", images(6), fps=12)
    return tmp_path


@pytest.fixture
def asked() -> tuple[int, list[str]]:
    """A port of this machine, and the list of who connected to it."""
    server = socket.create_server(("127.0.0.1", 0))
    callers: list[str] = []

    def answer() -> None:
        while True:
            try:
                connection, address = server.accept()
            except OSError:
                return
            callers.append(str(address))
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    yield server.getsockname()[1], callers
    server.close()


@pytest.mark.parametrize(
    "name",
    [
        "12:30:00.mp4", "concat:plain.mp4|plain.mp4", "data:,x.mp4", "-", "-i.mp4", "pipe:0", "file:plain.mp4", "tcp:x",
        "subfile,,start,0,end,9,,:plain.mp4", "img%03d.mp4", "a%d.gif", "what?*[1].mp4", "two\nlines.mp4", "é.mp4",
        "no\udcff\udcfetext.mp4",
    ],
)  # fmt: skip
def test_a_name_is_never_an_address_or_a_pattern(name: str, folder: Path) -> None:
    (folder / "plain.mp4").rename(folder / name)
    for path in (name, Path(name), folder / name):
        assert probe(path).frames == 6
        assert sum(1 for _ in read_timed(path)) == 6


def test_a_folder_named_like_an_address_is_a_folder(folder: Path, asked: tuple[int, list[str]]) -> None:
    port, callers = asked
    (folder / "http:" / f"127.0.0.1:{port}").mkdir(parents=True)
    (folder / "plain.mp4").rename(folder / "http:" / f"127.0.0.1:{port}" / "a.mp4")
    assert probe(f"http://127.0.0.1:{port}/a.mp4").frames == 6
    with pytest.raises(VideoError, match="missing"):
        probe(f"http://127.0.0.1:{port}/b.mp4")
    assert callers == []


LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "reference": "[Reference]\nRef1={target}\n",
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ffconcat", "mpd", "ts", "sdp"])
def test_a_list_of_files_or_addresses_is_refused(
    kind: str, suffix: str, folder: Path, asked: tuple[int, list[str]]
) -> None:
    port, callers = asked
    for target in ("plain.mp4", f"http://127.0.0.1:{port}/a.ts", f"tcp://127.0.0.1:{port}"):
        (folder / f"a.{suffix}").write_text(LISTS[kind].format(target=target))
        for read in (probe, load_clip):
            with pytest.raises(VideoError, match="names other files or addresses"):
                read(folder / f"a.{suffix}")
    assert callers == []


# --- size ------------------------------------------------------------------------------------------------------------


def test_large_frames_come_at_reduced_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_SIDE_PX", 40)
    path = encode(tmp_path / "a.mp4", images(3), stream={"sample_aspect_ratio": Fraction(2, 1)})
    assert seen(path)[1][0].shape == (15, 40, 3)  # 64 x 48 of pixels twice as wide
    assert pixels.shown_size(8000, 8000) == (40, 40)
    assert pixels.shown_size(40, 30) == (40, 30)


def test_frames_that_no_memory_holds_are_refused_with_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.mp4", images(3))
    monkeypatch.setattr(opening, "MAX_FRAME_BYTES", 4000)
    for read in (probe, load_clip):
        with pytest.raises(VideoError, match="frames of 64 x 48"):
            read(path)


@pytest.mark.long
def test_a_decoder_of_large_frames_gets_few_threads(tmp_path: Path) -> None:
    for (height, width), most in (((8000, 8000), 6), ((2160, 3840), 64)):
        path = encode(
            tmp_path / "a.mkv", [np.zeros((height, width, 3), np.uint8)], "mjpeg", stream={"pix_fmt": "yuvj420p"}
        )
        container, stream = opening.open_video(path)
        with container:
            assert reading._threads(stream, 64) <= most
            assert reading._threads(stream, 1) == 1


def test_a_decoder_without_memory_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", images(3))

    def full(*given: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(reading.RGBConverter, "__call__", full)
    with pytest.raises(VideoError, match="needs more memory than there is"):
        load_clip(path)
