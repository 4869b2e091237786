"""Frames that a device decodes are those of the reader; torchcodec decodes on a CPU too."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hpnet.core.stretch import Stretch
from hpnet.core.video import VideoError, on_device, read_frames, write_video

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("device") / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (40, 6, 8, 3), dtype=np.uint8)
    write_video(file, noise.repeat(8, 1).repeat(8, 2), 10)
    return file


def test_frames_are_those_of_the_reader(clip: Path) -> None:
    pytest.importorskip("torchcodec.decoders", exc_type=(ImportError, RuntimeError))
    expected = np.stack(list(read_frames(clip)))
    found = torch.stack(list(on_device.read_frames_on(clip, CPU))).numpy()
    assert found.shape == expected.shape == (40, 48, 64, 3)
    assert np.abs(found.astype(int) - expected).max() <= 3
    some = torch.stack(list(on_device.read_frames_on(clip, CPU, 18, Stretch(0.5, 3.0)))).numpy()
    np.testing.assert_array_equal(some, found[5:23])


def test_a_file_that_breaks_off_says_where(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchcodec.decoders", exc_type=(ImportError, RuntimeError))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:300])
    with pytest.raises(VideoError):
        list(on_device.read_frames_on(broken, CPU))


def test_frames_that_are_to_be_turned_are_read_on_the_host(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "decoder_class", lambda: None)
    monkeypatch.setattr(on_device, "orientation", lambda frame: on_device.Upright(quarter_turns=1))
    with pytest.raises(VideoError, match="are to be turned: read it with --on-device crops"):
        next(on_device.read_frames_on(clip, CPU))
    monkeypatch.undo()
    monkeypatch.setattr(on_device, "decoder_class", lambda: None)
    monkeypatch.setattr(on_device, "shown_size", lambda *_: (32, 24))
    with pytest.raises(VideoError, match="of 64 x 48 that are to be scaled"):
        next(on_device.read_frames_on(clip, CPU))


class Other:
    """A decoder that sees other frames, or none."""

    def __init__(self, path: Path, *, device: str, **_: object) -> None:
        if device == "cuda:0":
            raise RuntimeError("no NVDEC")

    def __getitem__(self, number: int) -> int:
        return number

    def __len__(self) -> int:
        return 39


def test_other_frames_and_no_decoder_are_errors(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "decoder_class", lambda: Other)
    with pytest.raises(VideoError, match="has 40 frames, of which cpu sees 39"):
        next(on_device.read_frames_on(clip, CPU))
    with pytest.raises(RuntimeError, match=r"cuda:0 does not decode clip.mp4 \(no NVDEC\): use --on-device crops"):
        next(on_device.read_frames_on(clip, torch.device("cuda:0")))


def test_without_torchcodec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install hpnet\[gpu\], or use --on-device crops"):
        on_device.decoder_class()
