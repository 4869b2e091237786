"""Live sources: slow ones are answered, silent ones end, and only an address is asked for."""

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from hpnet.core.video import VideoError, write_timed
from hpnet.predict import live
from hpnet.predict.live import LiveReader, live_windows
from hpnet.predict.sources import is_address, is_camera
from hpnet.predict.windows import Cutting, Window
from hpnet.stages.cli import cli
from tests.trained import inside

CUTTING = Cutting(0.6, 0.6, 0.5, max_fps=15)
Send = Callable[[bytes], None]


@contextmanager
def server(serve: Callable[[Send], None]) -> Iterator[str]:
    """An HTTP address on this machine; ``serve`` is given what sends to each who asks."""
    listening = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = [listening]

    def answer(asking: socket.socket) -> None:
        try:
            asking.recv(4096)
            serve(asking.sendall)
        except (OSError, av.error.FFmpegError):
            pass  # the client has closed the connection
        finally:
            asking.close()

    def accept() -> None:
        while True:
            try:
                asking, _ = listening.accept()
            except OSError:
                return
            open_sockets.append(asking)
            threading.Thread(target=answer, args=(asking,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/live"
    finally:
        for each in open_sockets:
            each.close()


def header(kind: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()


def frame(number: int, side: int = 64) -> av.VideoFrame:
    image = np.full((side, side, 3), (number * 40) % 256, np.uint8)
    return av.VideoFrame.from_ndarray(image, format="rgb24")


def jpegs(gap_s: float, count: int | None = None, sides: tuple[int, ...] = (64,)) -> Callable[[Send], None]:
    """A camera that sends a JPEG every ``gap_s`` seconds, of the ``sides`` in turn; after ``count`` nothing more."""

    def serve(send: Send) -> None:
        send(header("multipart/x-mixed-replace;boundary=next"))
        for number in itertools.count():
            if number == count:
                time.sleep(60)
            codec = av.CodecContext.create("mjpeg", "w")
            side = sides[min(number, len(sides) - 1)]
            codec.width = codec.height = side
            codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 25)
            data = b"".join(
                bytes(p) for p in [*codec.encode(frame(number, side).reformat(format="yuvj420p")), *codec.encode()]
            )
            send(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data + b"\r\n")
            time.sleep(gap_s)

    return serve


def broadcast(gap_s: float) -> Callable[[Send], None]:
    """H.264 in an MPEG transport stream, of pixels twice as wide as high, with packets of nothing between pictures."""

    class Sending:
        def __init__(self, send: Send) -> None:
            self.write = send

    def serve(send: Send) -> None:
        send(header("video/mp2t"))
        with av.open(Sending(send), "w", format="mpegts", options={"flush_packets": "1"}) as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width = stream.height = 64
            stream.codec_context.sample_aspect_ratio = Fraction(2)
            stream.pix_fmt, stream.options = "yuv420p", {"preset": "ultrafast", "tune": "zerolatency", "g": "1"}
            for number in itertools.count():
                image = frame(number)
                image.pts, image.time_base = round(number * gap_s * 90_000), Fraction(1, 90_000)
                container.mux(stream.encode(image))
                send(b"\x47\x1f\xff\x10" + bytes(184))  # a packet of nothing
                time.sleep(gap_s)

    return serve


def silent(send: Send) -> None:
    send(header("video/mp2t"))
    time.sleep(60)


def mute(send: Send) -> None:
    time.sleep(60)


def dribble(send: Send) -> None:
    """Bytes that are no video, slowly: every single read succeeds."""
    send(header("video/mp2t"))
    while True:
        send(b"\x47\x1f\xff\x10" + bytes(184))
        time.sleep(0.05)


def garbage(send: Send) -> None:
    draw = np.random.default_rng(0)
    send(header("application/octet-stream"))
    while True:
        send(draw.integers(0, 256, 1 << 16, dtype=np.uint8).tobytes())


def watched(source: str, seconds: float | None = None, cutting: Cutting = CUTTING) -> list[Window]:
    with LiveReader(source, cutting.window_s, cutting.max_fps) as reader:
        return list(live_windows(reader, cutting, seconds))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """A silent source counts as ended after a second."""
    monkeypatch.setattr(live, "NO_PICTURE_S", 1.0)
    return 1.0


@pytest.mark.parametrize("serve", [silent, mute, dribble])
def test_a_source_without_pictures_is_given_up(impatient: float, serve: Callable[[Send], None]) -> None:
    with server(serve) as address:
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"no picture for 1 s$") as told:
            watched(address)
    assert str(told.value).startswith(address)
    assert time.monotonic() - began < impatient + live.LEAVE_S + 1


def test_a_source_that_falls_silent_is_given_up_after_its_last_windows(impatient: float) -> None:
    found: list[Window] = []
    with (
        server(jpegs(0.05, count=20)) as address,
        LiveReader(address, CUTTING.window_s, CUTTING.max_fps) as reader,
        pytest.raises(VideoError, match=r"no picture for 1 s$"),
    ):
        found.extend(live_windows(reader, CUTTING))
    assert reader.first_s > 0


@pytest.mark.parametrize("serve", [silent, jpegs(0.05, count=5)], ids=["from the start", "later"])
def test_ctrl_c_leaves_a_silent_source_at_once(serve: Callable[[Send], None]) -> None:
    with server(serve) as address:
        timer = threading.Timer(0.7, os.kill, [os.getpid(), signal.SIGINT])
        began = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            watched(address)
    assert time.monotonic() - began < 0.7 + live.LEAVE_S + 1


def test_seconds_end_a_source_that_says_nothing() -> None:
    with server(silent) as address:
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"no picture for 0\.5 s$"):
            watched(address, seconds=0.5)
    assert time.monotonic() - began < 0.5 + live.LEAVE_S + 1


def test_garbage_is_refused_in_words(impatient: float) -> None:
    with server(garbage) as address, pytest.raises(VideoError) as told:
        watched(address)
    assert "Immediate exit" not in str(told.value)
    assert str(told.value).startswith(address)


@pytest.mark.parametrize("serve", [jpegs(0.4), broadcast(0.4)], ids=["jpegs", "mpegts"])
@pytest.mark.long
def test_a_camera_slower_than_its_windows_is_answered_and_ends(serve: Callable[[Send], None]) -> None:
    """Below one picture a window: what a camera of less than a frame a second is to windows of two seconds."""
    cutting = Cutting(0.3, 0.3, 0.5, max_fps=15)
    with server(serve) as address:
        began = time.monotonic()
        found = watched(address, seconds=5.0, cutting=cutting)
    assert 5.0 <= time.monotonic() - began < 8
    assert len(found) >= 3
    times = [[t for t, _ in window.frames] for window in found]
    assert all(1 <= len(t) <= 2 for t in times[1:])  # the first may hold what came while the stream was opened
    assert all(t[-1] - t[0] <= cutting.window_s for t in times)
    firsts = [t[0] for t in times]
    assert firsts == sorted(firsts)
    assert firsts[-1] > 1


def test_pictures_of_a_stream_have_square_pixels_and_one_size() -> None:
    cutting = Cutting(0.5, 0.5, 0.5, max_fps=15)
    with server(broadcast(0.1)) as address:
        found = watched(address, seconds=3.0, cutting=cutting)
    assert {(w.size_px, image.shape) for w in found for _, image in w.frames} == {((128, 64), (64, 128, 3))}
    with server(jpegs(0.1, sides=(64, 64, 64, 64, 64, 32))) as address:
        found = watched(address, seconds=3.0, cutting=cutting)
    assert {(w.size_px, image.shape) for w in found for _, image in w.frames} == {((64, 64), (64, 64, 3))}


def dropping(count: int, more: bytes = b"") -> Callable[[Send], None]:
    """A camera whose connection ends after ``count`` pictures, and is there again for the next who asks."""

    def serve(send: Send) -> None:
        sent = itertools.count()

        def limited(data: bytes) -> None:
            if next(sent) > count:  # the first is the header
                send(more)
                raise ConnectionResetError
            send(data)

        jpegs(0.05)(limited)

    return serve


@pytest.mark.parametrize("more", [b"", bytes(range(256)) * 40], ids=["dropped", "with garbage"])
def test_a_stream_that_breaks_off_is_opened_again(
    more: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 0.05)
    with server(dropping(8, more)) as address:
        with LiveReader(address, CUTTING.window_s, CUTTING.max_fps) as reader:
            found: list[Window] = []
            for window in live_windows(reader, CUTTING, 30.0):
                found.append(window)
                if reader.reopened >= 2 and window.first + len(list(window.frames)) > 10:
                    break  # how long that takes depends on the machine
        assert reader.reopened >= 2
        assert found[-1].first + len(list(found[-1].frames)) > 10
        assert "it is opened again" in capsys.readouterr().err


def test_a_stream_that_does_not_come_back_is_an_error(impatient: float) -> None:
    asked = itertools.count()

    def serve(send: Send) -> None:
        if next(asked) == 0:
            dropping(8)(send)

    with server(serve) as address, pytest.raises(VideoError, match="no picture for 1 s|gave no picture when"):
        watched(address)


def test_seconds_count_from_the_beginning_and_an_early_end_answers_what_there_is() -> None:
    with server(jpegs(0.05)) as address:
        found = watched(address, seconds=2.0, cutting=Cutting(60.0, 60.0, max_fps=15))
    assert len(found) == 1
    assert len(list(found[0].frames)) > 3


def test_a_file_is_played_at_the_times_of_its_frames(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 0.3, 1.3, 1.4, 1.5]
    write_timed(tmp_path / "a.mp4", ((t, np.zeros((32, 32, 3), np.uint8)) for t in times), 10)
    began = time.monotonic()
    found = watched(str(tmp_path / "a.mp4"), cutting=Cutting(0.5, 0.5, 0.5, max_fps=30))
    assert 1.4 < time.monotonic() - began < 4
    seen = sorted({t for window in found for t, _ in window.frames})
    assert seen == pytest.approx(times, abs=0.15)
    assert all(t[-1] - t[0] <= 0.55 for t in ([s for s, _ in w.frames] for w in found))


def test_a_live_window_of_large_frames_fits_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WINDOW_BYTES", 1 << 20)
    monkeypatch.setattr("hpnet.predict.windows.WINDOW_BYTES", 1 << 20)
    write_timed(tmp_path / "a.mp4", ((n / 10, np.zeros((360, 640, 3), np.uint8)) for n in range(12)), 10)
    found = watched(str(tmp_path / "a.mp4"), cutting=Cutting(0.3, 0.3, 0.5, max_fps=15))
    assert found
    for window in found:
        assert window.size_px == (640, 360)
        assert 0 < window.frames.held()[1] <= 1 << 20


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("http://host/x", "address"), ("RTSP://host/x", "address"), ("udp://@:5000", "address"),
        ("srt://h:1", "address"), ("0", "camera"), ("12", "camera"),
        ("12:30:00.mp4", "file"), ("http:/x.mp4", "file"), ("-x.mp4", "file"), ("file:///etc/passwd", "file"),
        ("concat:a|b", "file"), ("foo://x", "file"), ("http://", "file"), ("://x", "file"), ("١", "file"),
        ("-1", "file"), ("a/http://x", "file"), ("data:text/plain,x", "file"),
    ],
)  # fmt: skip
def test_which_names_are_addresses(source: str, expected: str) -> None:
    found = "camera" if is_camera(source) else "address" if is_address(source) else "file"
    assert found == expected


def test_a_file_of_that_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / "http:" / "host").mkdir(parents=True)
    (tmp_path / "http:" / "host" / "x.mp4").touch()
    (tmp_path / "7").touch()
    with inside(tmp_path):
        assert not is_address("http://host/x.mp4")
        assert is_address("http://host/y.mp4")
        assert not is_camera("7")
        assert is_camera("8")


@pytest.mark.parametrize("name", ["foo://x", "12:30:00.mp4", "http:/x.mp4", "-x.mp4", "http:x", "http://", "x\ny.mp4"])
def test_what_is_neither_a_file_nor_an_address_is_refused_before_anything_is_loaded(tmp_path: Path, name: str) -> None:
    with inside(tmp_path):  # no project here: it would be missed next
        done = CliRunner().invoke(cli, ["predict", "--", name])
    assert done.exit_code != 0
    assert "is missing: expected a video file" in str(done.exception)
    assert "\n" not in str(done.exception)
