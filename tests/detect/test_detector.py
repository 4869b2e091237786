"""Detectors, tracks, the detect step over shards, and pretraining, on drawn pictures."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.files import read_json
from hpnet.artifacts.frames import PersonFrames
from hpnet.artifacts.videos import Videos
from hpnet.core.metrics import iou_matrix
from hpnet.core.video import load_clip, write_video
from hpnet.detect.bytetrack import track, tracker_options
from hpnet.detect.detector import Detection, build_detector, weights_digest, weights_files, without_overlaps
from hpnet.detect.families import parse_model
from hpnet.detect.families.mannequin import PACKAGED, build_network, load_network, packaged_config, save_network
from hpnet.detect.families.rtdetr import RTDetrDetector
from hpnet.detect.families.ultralytics import load_checkpoint
from hpnet.detect.library import ultralytics
from hpnet.detect.params import DetectParams
from hpnet.detect.person_frames import cut_out, encode_jpeg, own_boxes, person_cuts
from hpnet.detect.step import NO_PERSON, DetectWork, detection_metrics, merge, video_items
from hpnet.detect.tracking import Track
from hpnet.detect.yolo import UltralyticsDetector, letterbox
from hpnet.pretrain.detector import SETTINGS, augment, load_images, train_detector
from hpnet.pretrain.scenes import (
    TRAIN_SEED,
    VALIDATION_SEED,
    SceneShard,
    Takes,
    open_shards,
    render_scene,
    render_scenes,
    require_disjoint,
)
from hpnet.pretrain.steps import Job, Scenes
from hpnet.weights.places import ASSETS
from hpnet.work.shards import MISSING, ShardItem, file_digest, run_shards

from ..drawn_scenes import RED, red_box_scene

Frames = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    ultralytics()  # before anything else imports ultralytics, with its network switches off


def random_network(seed: int = 0) -> torch.nn.Module:
    """The packaged architecture with random weights whose scores are spread, so that NMS has work to do."""
    torch.manual_seed(seed)
    network = build_network(packaged_config())
    for branch in network.model[-1].cv3:  # type: ignore[index, union-attr]
        torch.nn.init.normal_(branch[-1].weight, std=0.5)
        torch.nn.init.constant_(branch[-1].bias, -2.0)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(pictures(4, seed=9)).permute(0, 3, 1, 2) / 255)
    for norm in norms:
        norm.momentum = 0.03
    return network.eval()


def pictures(count: int = 2, height: int = 96, width: int = 128, seed: int = 0) -> Frames:
    small = np.random.default_rng(seed).integers(0, 255, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return small.repeat(8, 1).repeat(8, 2)


# --- ultralytics ------------------------------------------------------------------------------------------------------


def test_ultralytics_is_kept_off_the_network_and_out_of_the_home_folder(tmp_path: Path) -> None:
    program = (
        "import os, socket, subprocess\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse; subprocess.check_output = refuse\n"
        "import numpy as np; before = np.get_printoptions()\n"
        "from hpnet.detect.library import ultralytics; ultralytics()\n"
        "import ultralytics.utils as u\n"
        "from ultralytics.utils.events import events\n"
        "assert not u.ONLINE and not u.AUTOINSTALL and u.SAFE_LOAD and not events.enabled\n"
        "assert 'OMP_NUM_THREADS' not in os.environ and np.get_printoptions() == before\n"
        "print(u.SETTINGS_FILE.exists(), u.SETTINGS_FILE)"
    )
    hidden = {"OMP_NUM_THREADS", "YOLO_OFFLINE", "YOLO_AUTOINSTALL", "YOLO_CONFIG_DIR", "ULTRALYTICS_SAFE_LOAD"}
    env = {k: v for k, v in os.environ.items() if k not in hidden} | {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where = Path(done.stdout.split()[-1])
    assert not where.parent.is_relative_to(tmp_path)
    assert not where.exists(), "the temporary settings folder is removed at exit"
    assert not any("ltralytics" in p.name for p in tmp_path.rglob("*"))


def test_frames_are_rgb_as_ultralytics_own_predictor_sees_them(tmp_path: Path) -> None:
    """Parity with YOLO.predict, which is documented to take BGR arrays; and swapped channels must differ."""
    from ultralytics import YOLO

    model = YOLO(model="yolo11n.yaml", task="detect")
    model.model = random_network()
    frames = pictures()
    settings = {"conf": 0.2, "iou": 0.6, "imgsz": 128, "verbose": False, "save": False, "project": str(tmp_path)}
    detector = UltralyticsDetector(random_network(), image_size=128, confidence=0.2, iou=0.6)
    ours, swapped = detector.detect(frames), detector.detect(frames[..., ::-1].copy())
    for frame, (boxes, scores), (_, other) in zip(frames, ours, swapped, strict=True):
        theirs = model.predict(frame[..., ::-1].copy(), **settings)[0].boxes
        assert len(scores) >= 3
        np.testing.assert_allclose(scores, theirs.conf.numpy(), atol=1e-4)
        np.testing.assert_allclose(boxes, theirs.xyxy.numpy(), atol=0.05)
        assert len(other) != len(scores) or not np.allclose(other, scores, atol=1e-3)


def test_batches_do_not_change_the_result() -> None:
    detector = UltralyticsDetector(random_network(), image_size=128, confidence=0.2)
    frames = pictures(3)
    together = detector.detect(frames)
    for frame, (boxes, scores) in zip(frames, together, strict=True):
        assert len(scores) >= 3
        alone_boxes, alone_scores = detector.detect(frame[None])[0]
        np.testing.assert_allclose(boxes, alone_boxes, atol=0.05)
        np.testing.assert_allclose(scores, alone_scores, atol=1e-4)
        assert boxes.dtype == scores.dtype == np.float32
        assert (boxes >= 0).all()
        assert (boxes <= [128, 96, 128, 96]).all()
        assert (np.diff(scores) <= 0).all()


def test_only_people_are_reported() -> None:
    config = {**packaged_config(), "nc": 3}
    torch.manual_seed(0)
    network = ultralytics().DetectionModel(config, nc=3, verbose=False)
    head = network.model[-1]
    for branch in head.cv3:
        torch.nn.init.zeros_(branch[-1].weight)
        branch[-1].bias.data = torch.tensor([3.0, -1.0, 0.5])
    frames = pictures(1)
    for person, found in ((0, True), (1, False)):
        network.names = {i: "person" if i == person else f"thing{i}" for i in range(3)}
        boxes, scores = UltralyticsDetector(network, image_size=128, confidence=0.6).detect(frames)[0]
        assert (len(boxes) > 0) == found
        assert np.allclose(scores, torch.tensor(3.0).sigmoid(), atol=1e-4)
    network.names = {0: "cat", 1: "dog", 2: "cup"}
    with pytest.raises(ValueError, match="no class 'person' among cat, dog, cup"):
        UltralyticsDetector(network)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (240, 320), (128, 96), (1080, 1920), (17, 300)])
def test_letterbox_keeps_proportions(height: int, width: int) -> None:
    padded, scale, (left, top) = letterbox(np.full((1, height, width, 3), 7, np.uint8), 320)
    assert padded.shape[1] % 32 == padded.shape[2] % 32 == 0
    assert scale == pytest.approx(320 / max(height, width))
    inside = (padded[0] == 7).all(-1)
    assert inside.any(0).sum() == round(width * scale)
    assert inside.any(1).sum() == round(height * scale)
    assert inside[top, left]
    assert (padded[0][~inside] == 114).all()


def test_weights_survive_saving(tmp_path: Path) -> None:
    network = random_network()
    file = tmp_path / "w.safetensors"
    save_network(network, file)
    assert file.stat().st_size <= 1_600_000
    again = load_network(packaged_config(), file)
    frames = pictures(1)
    first = UltralyticsDetector(network, image_size=128, confidence=0.05).detect(frames)[0]
    second = UltralyticsDetector(again, image_size=128, confidence=0.05).detect(frames)[0]
    count = min(len(first[1]), len(second[1]), 5)
    assert count >= 3
    np.testing.assert_allclose(first[1][:count], second[1][:count], atol=0.02)
    narrower = {**packaged_config(), "reg_max": 4}
    with pytest.raises(ValueError, match="does not fit this network"):
        load_network(narrower, file)


def test_packaged_weights_are_in_the_network_as_they_are_in_the_file() -> None:
    stored = load_file(ASSETS / PACKAGED)
    state = load_network(packaged_config(), ASSETS / PACKAGED).state_dict()
    assert set(stored) == {name for name in state if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(state[name], value.float()) for name, value in stored.items())


def test_checkpoints_load_safely_or_not_at_all(tmp_path: Path) -> None:
    ultralytics()
    good = tmp_path / "good.pt"
    torch.save({"model": random_network().half(), "train_args": {}}, good)
    assert load_checkpoint(good).names == {0: "person"}
    bad = tmp_path / "bad.pt"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'pwned'}",)

    torch.save({"model": Evil()}, bad)
    with pytest.raises(ValueError, match="not loaded: it holds objects .* it names posix.system"):
        load_checkpoint(bad)
    assert not (tmp_path / "pwned").exists()
    broken = tmp_path / "broken.pt"
    broken.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"broken.pt are no checkpoint, or half-downloaded"):
        load_checkpoint(broken)
    torch.save({"model": torch.zeros(3)}, bad)
    with pytest.raises(ValueError, match="expected an ultralytics DetectionModel"):
        load_checkpoint(bad)


def test_names_and_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    family = "hpnet.detect.families"
    assert parse_model("mannequin-yolo") == (f"{family}.mannequin", "mannequin-yolo")
    assert parse_model("mine/detector.safetensors") == (f"{family}.mannequin", "mine/detector.safetensors")
    assert parse_model("yolo11n") == (f"{family}.ultralytics", "yolo11n")
    assert parse_model("runs/best.pt") == (f"{family}.ultralytics", "runs/best.pt")
    assert parse_model("ultralytics:yolo11n") == (f"{family}.ultralytics", "yolo11n")
    assert parse_model("rtdetr:PekingU/rtdetr_r18vd") == (f"{family}.rtdetr", "PekingU/rtdetr_r18vd")
    for unknown in ("resnet", "rtdetr:", "ultralytics:", ""):
        with pytest.raises(
            ValueError, match=r"choose movenet-multipose, mannequin-yolo, an ultralytics name .*rtdetr:\*"
        ):
            parse_model(unknown)
    with pytest.raises(FileNotFoundError, match=r"yolo11n\.pt.*github\.com/ultralytics/assets.*weights/"):
        weights_files("yolo11n")
    with pytest.raises(FileNotFoundError, match=r"elsewhere/best\.pt is missing"):
        weights_digest("elsewhere/best.pt")
    Path("weights").mkdir()
    Path("weights/yolo11n.pt").write_bytes(b"x")
    assert weights_files("yolo11n") == (Path("weights/yolo11n.pt"),)
    with pytest.raises(ValueError, match="--precision 'float8' is unknown"):
        UltralyticsDetector(random_network(), precision="float8")
    with pytest.raises(ValueError, match=r"expected uint8 \(N, H, W, 3\) RGB"):
        UltralyticsDetector(random_network()).detect(np.zeros((4, 4, 3), np.uint8))


# --- RT-DETR ----------------------------------------------------------------------------------------------------------


def test_rtdetr_agrees_with_its_own_image_processor(tmp_path: Path) -> None:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], encoder_ffn_dim=16,
        encoder_attention_heads=2, d_model=16, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, num_queries=12,
        decoder_attention_heads=2, decoder_layers=1, num_denoising=0, id2label={0: "cat", 1: "person"},
        label2id={"cat": 0, "person": 1},
    )  # fmt: skip
    network = RTDetrForObjectDetection(config).eval()
    network.save_pretrained(tmp_path / "net")
    frames = pictures(2)
    detector = build_detector(f"rtdetr:{tmp_path / 'net'}", image_size=64, confidence=0.0)
    assert isinstance(detector, RTDetrDetector)
    found = detector.detect(frames)
    resized = np.stack([cv2.resize(f, (64, 64), interpolation=cv2.INTER_LINEAR) for f in frames])
    with torch.inference_mode():
        output = network(pixel_values=torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255)
    for index, (boxes, scores) in enumerate(found):
        expected = output.logits[index, :, 1].sigmoid().sort(descending=True).values.numpy()
        assert 0 < len(scores) <= 12
        assert boxes.shape == (len(scores), 4)
        assert np.isin(scores.round(5), expected.round(5)).all()
        assert (boxes >= 0).all()
        assert (boxes <= [128, 96, 128, 96]).all()
    cx, cy, w, h = output.pred_boxes[0, output.logits[0, :, 1].argmax()].numpy()
    best = np.array([(cx - w / 2) * 128, (cy - h / 2) * 96, (cx + w / 2) * 128, (cy + h / 2) * 96])
    np.testing.assert_allclose(found[0][0][0], best.clip(0, [128, 96, 128, 96]), atol=1e-2)
    with pytest.raises(FileNotFoundError, match="rtdetr:FOLDER"):
        RTDetrDetector(str(tmp_path / "nowhere"))


# --- tracks -----------------------------------------------------------------------------------------------------------


def seen(*rows: list[float]) -> Detection:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return array[:, :4], array[:, 4]


def walk(step: int, score: float = 0.9) -> list[float]:
    return [20 + 3 * step, 40, 80 + 3 * step, 200, score]


def other(step: int, score: float = 0.8) -> list[float]:
    return [220 - 2 * step, 50, 270 - 2 * step, 210, score]


def test_two_people_two_tracks_with_the_very_detections() -> None:
    detections = [seen(walk(i), other(i)) if i % 2 else seen(other(i), walk(i)) for i in range(10)]
    tracks = track(detections, range(10), rate_fps=12, confidence=0.25)
    assert [len(t.frames) for t in tracks] == [10, 10]
    for found in tracks:
        source = walk if found.boxes_xyxy_px[0, 0] < 100 else other
        np.testing.assert_allclose(found.boxes_xyxy_px, [source(i)[:4] for i in range(10)])
        np.testing.assert_allclose(found.scores, source(0)[4], rtol=1e-6)


def walkers(seed: int) -> list[Detection]:
    """People who walk at random, are missed now and then, and boxes of nobody."""
    draw = np.random.default_rng(seed)
    count, steps = draw.integers(1, 7), draw.integers(2, 40)
    centres, speeds = draw.uniform(50, 600, (count, 2)), draw.normal(0, draw.uniform(0, 12), (count, 2))
    heights, aspects = draw.uniform(40, 200, count), draw.uniform(0.3, 0.7, count)
    found = []
    for _ in range(steps):
        speeds += draw.normal(0, 1, (count, 2))
        centres = centres + speeds
        tall = heights * (1 + draw.normal(0, 0.04, count))
        half = np.stack([tall * aspects, tall], 1) / 2
        boxes = np.concatenate([centres - half, centres + half], 1)[draw.random(count) > draw.uniform(0, 0.4)]
        nobody = draw.uniform(0, 600, (draw.integers(0, 2), 2))
        boxes = np.concatenate([boxes, np.concatenate([nobody, nobody + draw.uniform(10, 100, nobody.shape)], 1)])
        found.append((boxes.astype(np.float32), draw.uniform(0.05, 0.95, len(boxes)).astype(np.float32)))
    return found


def test_tracks_are_those_of_ultralytics() -> None:
    """Of 400 such clips, 1,842 tracks, all were the same."""
    ultralytics()
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.byte_tracker import BYTETracker

    for seed in range(20):
        detections, rate_fps, confidence = walkers(seed), (2.0, 6.0, 12.0, 30.0)[seed % 4], (0.05, 0.25, 0.5)[seed % 3]
        chosen = tracker_options(rate_fps, confidence)
        tracker = BYTETracker(
            SimpleNamespace(
                track_high_thresh=chosen.high, track_low_thresh=chosen.low, new_track_thresh=chosen.new,
                track_buffer=chosen.kept_steps, match_thresh=chosen.limit, fuse_score=True,
            )
        )  # fmt: skip
        expected: dict[int, list[tuple[int, int]]] = {}
        for step, (boxes, scores) in enumerate(detections):
            rows = np.concatenate([boxes, scores[:, None], np.zeros((len(boxes), 1), np.float32)], axis=1)
            tracker.update(Boxes(rows.reshape(-1, 6), (1, 1)))
            for person in tracker.tracked_stracks:
                if person.frame_id == tracker.frame_id:
                    expected.setdefault(person.track_id, []).append((step, int(person.idx)))
        confirmed = [rows for rows in expected.values() if rows[0][0] == 0 or len(rows) > 1]
        found = track(detections, range(len(detections)), rate_fps=rate_fps, confidence=confidence)
        assert [t.frames.tolist() for t in found] == [[step for step, _ in rows] for rows in confirmed]
        for one, rows in zip(found, confirmed, strict=True):
            np.testing.assert_array_equal(one.boxes_xyxy_px, [detections[step][0][row] for step, row in rows])


def test_of_boxes_that_overlap_the_better_one_stays_as_in_ultralytics() -> None:
    ultralytics()
    from ultralytics.utils.nms import TorchNMS

    for seed in range(20):
        draw = np.random.default_rng(seed)
        corners = draw.uniform(0, 300, (draw.integers(0, 40), 2))
        boxes = np.concatenate([corners, corners + draw.uniform(10, 150, corners.shape)], 1).astype(np.float32)
        scores = draw.random(len(boxes)).astype(np.float32)
        expected = TorchNMS.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.45)
        assert without_overlaps(boxes, scores, 0.45).tolist() == expected.tolist()


def test_a_gap_keeps_the_person_and_a_stride_keeps_frame_numbers() -> None:
    detections = [seen() if 4 <= i < 7 else seen(walk(i)) for i in range(12)]
    (only,) = track(detections, range(0, 24, 2), rate_fps=12, confidence=0.25)
    assert only.frames.tolist() == [0, 2, 4, 6, 14, 16, 18, 20, 22]


def test_low_scores_continue_a_track_but_start_none() -> None:
    faint = [seen(walk(i, 0.9 if i < 3 else 0.15), other(i, 0.15)) for i in range(6)]
    (only,) = track(faint, range(6), rate_fps=12, confidence=0.25)
    assert len(only.frames) == 6


def test_late_people_have_their_first_detection_and_lone_blips_none() -> None:
    detections = [
        seen(walk(i), *([other(i)] if i >= 5 else []), *([[150, 0, 170, 30, 0.9]] if i == 3 else [])) for i in range(9)
    ]
    tracks = track(detections, range(9), rate_fps=12, confidence=0.25)
    assert sorted(len(t.frames) for t in tracks) == [4, 9]
    assert min(tracks, key=lambda t: len(t.frames)).frames.tolist() == [5, 6, 7, 8]


def test_tracks_are_the_same_every_time_and_after_other_clips() -> None:
    detections = [seen(walk(i), other(i)) for i in range(6)]
    first = track(detections, range(6), rate_fps=12, confidence=0.25)
    track([seen(walk(i)) for i in range(20)], range(20), rate_fps=30, confidence=0.25)
    again = track(detections, range(6), rate_fps=12, confidence=0.25)
    assert [t.boxes_xyxy_px.tolist() for t in first] == [t.boxes_xyxy_px.tolist() for t in again]
    assert track([], [], rate_fps=12, confidence=0.25) == []
    assert track([seen(), seen()], [0, 1], rate_fps=12, confidence=0.25) == []
    assert len(track([seen(walk(0))], [0], rate_fps=12, confidence=0.25)) == 1


def test_tracker_settings_follow_the_rate() -> None:
    assert tracker_options(30, 0.25).limit == pytest.approx(0.8)
    assert tracker_options(60, 0.25).limit == pytest.approx(0.8)
    assert tracker_options(6, 0.25).limit == pytest.approx(0.96)
    assert (tracker_options(30, 0.25).kept_steps, tracker_options(0.2, 0.25).kept_steps) == (30, 1)
    assert tracker_options(30, 0.05).low == 0.05


# --- person frames ----------------------------------------------------------------------------------------------------


def test_a_square_is_undistorted_and_black_outside() -> None:
    frame = np.full((60, 80, 3), 200, np.uint8)
    cv2.circle(frame, (40, 30), 12, (255, 0, 0), -1)
    cut = cut_out(frame, (20.0, 10.0, 40.0, 40.0), 120)
    red = (cut[..., 0] > 220) & (cut[..., 2] < 100)
    assert cut.shape == (120, 120, 3)
    assert abs(int(red.any(0).sum()) - int(red.any(1).sum())) <= 1
    assert red.any(0).sum() == pytest.approx(75, abs=4)
    corner = cut_out(frame, (-40.0, -40.0, 80.0, 80.0), 80)
    assert (corner[:40, :40] == 0).all()
    assert (corner[41:, 41:] == 200).mean() > 0.7
    assert (cut_out(frame, (500.0, 500.0, 20.0, 20.0), 16) == 0).all()


def test_a_box_is_stretched_and_each_side_is_scaled_on_its_own() -> None:
    frame = np.zeros((200, 80, 3), np.uint8)
    frame[20:180, 30:50] = 200
    cut = cut_out(frame, (30.0, 20.0, 20.0, 160.0), 40)  # 20 wide grows, 160 high shrinks
    assert cut.shape == (40, 40, 3)
    assert (cut == 200).all()
    stripes = np.tile(np.array([0, 200], np.uint8).repeat(2), 40)[:, None, None].repeat(20, 1).repeat(3, 2)
    assert np.ptp(cut_out(stripes, (0, 0, 20, 160), 40)) == 0, "lines that vanish are averaged"


TRACKS = [
    Track(np.arange(2, 4), np.array([[0, 10, 20, 60], [30, 10, 50, 60]], np.float32), np.ones(2, np.float32)),
    Track(np.arange(3, 4), np.array([[60, 0, 70, 20]], np.float32), np.ones(1, np.float32)),
]


def test_one_square_covers_everybody_all_the_time() -> None:
    cuts = person_cuts(TRACKS, 6, (100, 80), DetectParams(frames=2, candidates=3))
    assert cuts.frames.tolist() == list(range(6))
    assert len(np.unique(cuts.areas_xywh_px, axis=0)) == 1
    x, y, width, height = cuts.areas_xywh_px[0]
    assert width == height
    assert x <= 0
    assert y <= 0
    assert x + width >= 70
    assert y + height >= 60
    for nobody in (person_cuts([], 6, (100, 80), DetectParams()), person_cuts(TRACKS, 6, (100, 80), OFF)):
        assert set(map(tuple, nobody.areas_xywh_px.tolist())) == {(0.0, -10.0, 100.0, 100.0)}


OFF = DetectParams(enabled=False)


def test_own_boxes_follow_the_people_and_leave_out_frames_without_them() -> None:
    params = DetectParams(crop="box", frames=0)
    cuts = person_cuts(TRACKS, 6, (100, 80), params)
    assert cuts.by_frame() == {2: (0, 10, 20, 50), 3: (30, 0, 40, 60)}
    assert own_boxes([], 2, (100, 80))[1].tolist() == [[0, 0, 100, 80]] * 2
    whole = person_cuts(TRACKS, 6, (100, 80), params.model_copy(update={"enabled": False}))
    assert whole.by_frame() == dict.fromkeys(range(6), (0, 0, 100, 80))


def test_candidates_are_kept_around_the_middle_of_every_segment() -> None:
    one, three = (person_cuts([], 60, (9, 9), DetectParams(frames=4, candidates=n)) for n in (1, 3))
    assert one.frames.tolist() == [7, 22, 37, 52]
    assert three.frames.tolist() == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57]
    assert three.middle(4).frames.tolist() == one.frames.tolist()
    assert person_cuts([], 60, (9, 9), DetectParams(frames=0)).frames.tolist() == list(range(60))
    assert one.middle(8).frames.tolist() == one.frames.tolist()
    with pytest.raises(ValueError, match=r"candidates\n.*expected an odd number"):
        DetectParams(candidates=2)


# --- the step ---------------------------------------------------------------------------------------------------------

GREEN = (30, 200, 40)


class ColourDetector:
    """Stands in for a network: boxes of saturated red and green, so clips have known people."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def detect(self, frames: Frames) -> list[Detection]:
        self.batches.append(len(frames))
        found = []
        for frame in frames.astype(int):
            rows = []
            for channel in (0, 1):
                rest = frame[..., [c for c in range(3) if c != channel]].max(-1)
                ys, xs = np.nonzero(frame[..., channel] - rest > 80)
                if len(xs) > 20:
                    rows.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0.9 - 0.1 * channel])
            found.append(seen(*rows))
        return found


def clip(people: int, frames: int, width: int = 96, height: int = 64) -> Frames:
    video = np.full((frames, height, width, 3), 120, np.uint8)
    for t in range(frames):
        if people >= 1:
            video[t, 16:56, 8 + 2 * t : 28 + 2 * t] = RED
        if people >= 2:
            video[t, 20:60, 68:84] = GREEN
    return video


@pytest.fixture
def items(tmp_path: Path) -> list[ShardItem]:
    """One, two and no people, one frame only, another size, cut off, empty, missing."""
    folder = tmp_path / "videos"
    for name, video in {
        "a-one": clip(1, 10),
        "b-two": clip(2, 10),
        "c-none": clip(0, 6),
        "d-short": clip(1, 1),
        "e-large": clip(1, 7, 160, 128),
    }.items():
        write_video(folder / f"{name}.mp4", video, 10, crf=10)
    whole = (folder / "b-two.mp4").read_bytes()
    (folder / "f-cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "g-empty.mp4").write_bytes(b"")
    paths = sorted(folder.glob("*.mp4"))
    return [*(ShardItem(p.stem, p, p.stem) for p in paths), ShardItem("h-gone", folder / "gone.mp4", MISSING)]


def run_step(items: list[ShardItem], tmp_path: Path, **params: object) -> tuple[Boxes, Path, ColourDetector]:
    detector = ColourDetector()
    work = DetectWork(DetectParams(frame_size=48, frames=4, **{"candidates": 1, **params}), batch=6, given=detector)  # type: ignore[arg-type]
    parts = run_shards(items, work, stage_dir=tmp_path / "work", key={"params": params}, shard_size=4)
    return merge(parts, tmp_path / "out"), tmp_path / "out", detector


def test_the_step_covers_every_kind_of_clip(items: list[ShardItem], tmp_path: Path) -> None:
    boxes, out, detector = run_step(items, tmp_path)
    table = boxes.table
    assert table.groupby("clip_id").track.nunique().to_dict() == {"a-one": 1, "b-two": 2, "d-short": 1, "e-large": 1}
    assert table.groupby("clip_id").frame.nunique().to_dict() == {"a-one": 10, "b-two": 10, "d-short": 1, "e-large": 7}
    first = table[(table.clip_id == "a-one") & (table.frame == 3)].iloc[0]
    np.testing.assert_allclose([first.x1, first.y1, first.x2, first.y2], [14, 16, 34, 56], atol=2)
    # The moving person of b-two outranks the standing one.
    assert (table[(table.clip_id == "b-two") & (table.track == 0)].x1 < 60).all()
    assert set(boxes.failed) == {"c-none", "f-cut", "g-empty", "h-gone"}
    assert boxes.failed["c-none"] == NO_PERSON
    assert boxes.failed["g-empty"] == "file is empty (0 bytes)"
    assert read_json(out / "people.json") == {"a-one": 1, "b-two": 2, "c-none": 0, "d-short": 1, "e-large": 1}
    assert max(detector.batches) == 6, "batches run across clips"
    stored = PersonFrames(out / "frames")
    assert [f for f, _ in stored.load("a-one")] == [1, 3, 6, 8]
    assert [f for f, _ in stored.load("d-short")] == [0]
    assert "f-cut" not in stored
    whole = cv2.imdecode(np.frombuffer(stored.load("c-none")[0][1], np.uint8), cv2.IMREAD_COLOR)
    assert whole.shape == (48, 48, 3)
    assert whole[24, 24].tolist() == pytest.approx([120, 120, 120], abs=4)
    assert (whole[:6] < 12).all()
    bgr = cv2.imdecode(np.frombuffer(stored.load("a-one")[0][1], np.uint8), cv2.IMREAD_COLOR)
    red = bgr.astype(int)[..., 2] - bgr.astype(int)[..., 0]
    assert red.max() > 120, "person frames keep red red"
    assert Boxes.load(out).table.equals(pd.read_parquet(out / "boxes.parquet"))


def test_stride_interpolates_and_always_sees_the_last_frame(items: list[ShardItem], tmp_path: Path) -> None:
    boxes, _, detector = run_step([i for i in items if i.clip_id == "a-one"], tmp_path, stride=4)
    assert sum(detector.batches) == 4
    assert boxes.table.frame.tolist() == list(range(10))
    np.testing.assert_allclose(boxes.table.x1, 8 + 2 * np.arange(10), atol=2)


def test_persons_limits_boxes_not_the_count(items: list[ShardItem], tmp_path: Path) -> None:
    boxes, out, _ = run_step([i for i in items if i.clip_id == "b-two"], tmp_path, persons=1)
    assert set(boxes.table.track) == {0}
    assert read_json(out / "people.json") == {"b-two": 2}


def test_switched_off_the_whole_frame_is_the_box(items: list[ShardItem], tmp_path: Path) -> None:
    boxes, out, detector = run_step(items[:3], tmp_path, enabled=False)
    assert detector.batches == []
    assert len(boxes.table) == 26
    assert (boxes.table[["x1", "y1", "x2", "y2", "score"]] == [0, 0, 96, 64, 1]).all().all()
    assert set(boxes.table.track) == {0}
    assert len(PersonFrames(out / "frames").load("b-two")) == 4


def test_the_step_keeps_each_frames_own_box(items: list[ShardItem], tmp_path: Path) -> None:
    boxes, out, _ = run_step(items[:1], tmp_path, crop="box", candidates=3)
    stored = PersonFrames(out / "frames").load("a-one")
    assert [frame for frame, _ in stored] == list(range(10)), "12 candidates, but the clip has 10 frames"
    corners = boxes.table.set_index("frame").loc[3, ["x1", "y1", "x2", "y2"]].to_numpy(float)
    area = (*corners[:2], *(corners[2:] - corners[:2]))
    video = load_clip(items[0].path)  # type: ignore[arg-type]
    assert stored[3][1] == encode_jpeg(cut_out(video[3], area, 48))


def test_large_clips_are_decoded_again_with_the_same_result(
    items: list[ShardItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_step(items[:2], tmp_path / "kept")[1]
    monkeypatch.setattr("hpnet.detect.step.KEEP_BYTES", 1000)
    second = run_step(items[:2], tmp_path / "again")[1]
    for clip_id in ("a-one", "b-two"):
        assert PersonFrames(first / "frames").load(clip_id) == PersonFrames(second / "frames").load(clip_id)


def test_memory_of_frames_is_bounded_and_changes_nothing(
    items: list[ShardItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, _, _ = run_step(items, tmp_path / "free")
    monkeypatch.setattr("hpnet.detect.step.BATCH_BYTES", 3 * 96 * 64 * 3)
    bounded, _, detector = run_step(items, tmp_path / "bounded")
    pd.testing.assert_frame_equal(free.table, bounded.table)
    assert free.failed == bounded.failed
    assert max(detector.batches) == 3
    monkeypatch.setattr("hpnet.detect.step.BATCH_BYTES", 1)
    assert set(run_step(items, tmp_path / "single")[2].batches) == {1}


def test_one_heavy_video_is_named_and_the_others_are_detected(
    items: list[ShardItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpnet.core.video.opening.MAX_FRAME_BYTES", 96 * 64 * 2)
    boxes, _, _ = run_step(items, tmp_path)
    assert "frames of 160 x 128" in boxes.failed["e-large"]
    assert set(boxes.table.clip_id) == {"a-one", "b-two", "d-short"}


def test_a_full_gpu_halves_the_batches_and_says_so(items: list[ShardItem], tmp_path: Path) -> None:
    class Crowded(ColourDetector):
        def detect(self, frames: Frames) -> list[Detection]:
            if len(frames) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().detect(frames)

    work = DetectWork(DetectParams(frame_size=48, frames=4), batch=6, given=Crowded())
    with pytest.warns(UserWarning, match="out of memory: batches are halved to 3 frames"):
        parts = run_shards(items, work, stage_dir=tmp_path / "crowded", key={}, shard_size=4)
    assert work.batch <= 2, "later batches start at the size that fits"
    roomy = run_step(items, tmp_path)[0]
    pd.testing.assert_frame_equal(merge(parts, tmp_path / "again").table, roomy.table)

    class Full(ColourDetector):
        def detect(self, frames: Frames) -> list[Detection]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    work = DetectWork(DetectParams(frame_size=48, frames=4), batch=1, given=Full())
    with pytest.raises(RuntimeError, match="no memory for one frame"):
        run_shards(items, work, stage_dir=tmp_path / "full", key={}, shard_size=4)


def test_a_video_that_changed_since_the_table_was_made_is_told_and_counts_as_it_is_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {
        "bytes": 1,
        "width": 8,
        "height": 8,
        "fps": 5.0,
        "frames": 1,
        "seconds": 0.2,
        "error": [*[""] * 3, "empty"],
    }
    files = [tmp_path / f"{name}.mp4" for name in "abcd"]
    for file in files:
        file.write_text(file.stem)
    table = pd.DataFrame({"clip_id": list("abcd"), "path": map(str, files), "digest": map(file_digest, files), **facts})
    kept = video_items(Videos(table))
    assert [item.clip_id for item in kept] == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
    files[1].write_text("B")
    files[2].unlink()
    items = video_items(Videos(table))
    assert [item.digest == before.digest for item, before in zip(items, kept, strict=True)] == [True, False, False]
    assert f"2 videos changed since `hpnet data`, such as {files[1]}: run it again" in capsys.readouterr().err


def test_a_clip_that_kills_its_process_is_recorded_as_failed(items: list[ShardItem], tmp_path: Path) -> None:
    killed = [replace(item, fault="killed it") if item.clip_id == "b-two" else item for item in items]
    boxes = run_step(killed, tmp_path)[0]
    assert boxes.failed["b-two"] == "killed it"
    assert not (boxes.table.clip_id == "b-two").any()
    assert (boxes.table.clip_id == "a-one").any()


def test_work_is_picklable_and_leaves_the_network_behind(items: list[ShardItem], tmp_path: Path) -> None:
    work = DetectWork(DetectParams(frame_size=48, frames=4), device="cpu")
    fresh = len(pickle.dumps(work))
    work(items[:1], tmp_path)  # builds the packaged network, megabytes
    assert len(pickle.dumps(work)) == fresh < 10_000
    assert pickle.loads(pickle.dumps(work)) == work


def test_metrics_count_and_measure() -> None:
    rows = [("a", f, 0, 0.0, 0.0, 10.0, 10.0, 0.9) for f in range(4)]
    columns = ["clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score"]
    boxes = Boxes(pd.DataFrame(rows, columns=columns), {"b": "file is missing", "c": NO_PERSON})
    truth = pd.DataFrame(
        [("a", f, 0, 0.0, 0.0, 10.0, 10.0) for f in range(4)]
        + [("a", 0, 1, *[np.nan] * 4), ("z", 0, 0, 0.0, 0.0, 1.0, 1.0)],
        columns=["clip_id", "frame", "person", "x1", "y1", "x2", "y2"],
    )
    figures = detection_metrics(boxes, {"a": 1, "c": 0}, ["a", "b", "c"], truth)
    assert figures["failed"] == {"count": 1, "reasons": {"file is missing": 1}}
    assert (figures["clips"], figures["without_person"], figures["boxes"]) == (3, 1, 4)
    assert figures["ap50"] == pytest.approx(1.0)
    assert figures["people_count_accuracy"] == 1.0
    assert figures["median_score"] == pytest.approx(0.45)  # of 0.9, and of nobody; the clip without a file is left out
    assert "score_ratio" not in figures
    assert detection_metrics(boxes, {"a": 1, "c": 0}, ["a", "b", "c"], None, 0.75)["score_ratio"] == pytest.approx(0.6)
    missed = pd.concat([truth, truth.iloc[:4].assign(clip_id="b")])
    assert detection_metrics(boxes, {"a": 2, "c": 0}, ["a", "b", "c"], missed)["ap50"] == pytest.approx(0.5, abs=0.02)
    assert detection_metrics(boxes, {"a": 2, "c": 0}, ["a", "b", "c"], missed)["people_count_accuracy"] == 0.0
    alarm = Boxes(pd.DataFrame([*rows, ("a", 9, 1, 0.0, 0.0, 5.0, 5.0, 0.95)], columns=columns))
    assert detection_metrics(alarm, {"a": 1}, ["a"], truth)["ap50"] < 0.9
    assert "ap50" not in detection_metrics(boxes, {"a": 1}, ["a"], None)
    assert "ap50" not in detection_metrics(boxes, {"a": 1}, ["a"], truth.iloc[:0])


# --- pretraining ------------------------------------------------------------------------------------------------------


def test_scene_shards_hold_what_was_rendered(tmp_path: Path) -> None:
    takes = Takes(frames=3, width=64, height=48, make=red_box_scene)
    files = render_scenes(tmp_path, 5, 40, takes=takes, shard_size=2)
    shards = open_shards(tmp_path)
    assert [s.file for s in shards] == files
    assert [seed for s in shards for seed in s.seeds] == [40, 41, 42, 43, 44]
    before = [f.stat().st_mtime_ns for f in files]
    render_scenes(tmp_path, 5, 40, workers=2, takes=takes, shard_size=2)
    assert [f.stat().st_mtime_ns for f in files] == before
    expected = red_box_scene(43, 3, 64, 48, 12)
    shard = shards[1]
    assert shard.captions[1] == "scene 43"
    np.testing.assert_array_equal(shard.boxes_xyxy_px(1), expected.boxes_xyxy_px)
    np.testing.assert_array_equal(shard.keypoints_px(1), expected.keypoints_px)
    np.testing.assert_array_equal(shard.visible(1), expected.visible)
    assert shard.boxes_xyxy_px(0).shape == (3, 1, 4)
    decoded = shard.frames(1)
    assert decoded.shape == (3, 48, 64, 3)
    box = expected.boxes_xyxy_px[0, 0].astype(int)
    inside = decoded[0, box[1] + 4 : box[3] - 4, box[0] + 4 : box[2] - 4]
    assert inside.reshape(-1, 3).mean(0) == pytest.approx(RED, abs=12)
    np.testing.assert_array_equal(shard.frames(1, [2]), decoded[2:])
    with pytest.raises(FileNotFoundError, match="holds no rendered scenes"):
        open_shards(tmp_path / "none")
    with pytest.raises(ValueError, match="expected at least 1"):
        render_scenes(tmp_path, 0, 0)


def test_rendering_in_parallel_gives_the_same_bytes(tmp_path: Path) -> None:
    takes = Takes(frames=2, width=64, height=48, make=red_box_scene)
    one = render_scenes(tmp_path / "1", 4, 0, takes=takes, shard_size=2)
    two = render_scenes(tmp_path / "2", 4, 0, 2, takes=takes, shard_size=2)
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in two]


def test_augmented_boxes_follow_the_pixels(tmp_path: Path) -> None:
    render_scenes(tmp_path, 24, 0, takes=Takes(frames=1, width=128, height=96, make=red_box_scene))
    data = load_images(open_shards(tmp_path), 1)
    plain = np.full_like(data.images, 60)
    for picture, boxes in zip(plain, data.boxes_xyxy_px, strict=True):
        x1, y1, x2, y2 = boxes[0].astype(int)
        picture[y1:y2, x1:x2] = (255, 0, 0)
    images, moved, targets = augment(
        torch.from_numpy(plain).permute(0, 3, 1, 2), torch.from_numpy(data.boxes_xyxy_px), (96, 128),
        torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert images.shape == (24, 3, 96, 128)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert targets[:, 0].float().mean() > 0.7
    assert not targets[:, 1:].any(), "padding is no target"
    checked = 0
    for picture, box, target in zip(images, moved[:, 0], targets[:, 0], strict=True):
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        if target and (x2 - x1) > 8 and (y2 - y1) > 8:
            inner = picture[:, y1:y2, x1:x2]
            contrast = picture[0] - picture[2]
            outside = torch.cat([contrast[:, : max(x1 - 4, 0)].reshape(-1), contrast[:, x2 + 4 :].reshape(-1)])
            level = (inner[0] - inner[2]).median()
            if level > 0.15 and len(outside) > 200:
                assert outside.median() < level / 2
                checked += 1
    assert checked >= 8


@pytest.mark.long
def test_training_lowers_the_loss_and_writes_a_loadable_network(tmp_path: Path) -> None:
    takes = Takes(frames=1, width=64, height=64, make=red_box_scene)
    render_scenes(tmp_path / "t", 24, TRAIN_SEED, takes=takes)
    render_scenes(tmp_path / "v", 4, VALIDATION_SEED, takes=takes)
    train, validation = open_shards(tmp_path / "t"), open_shards(tmp_path / "v")
    losses: list[float] = []
    settings = replace(SETTINGS, steps=40, batch=4, lr=2e-3)
    job = Job("cpu", on_step=lambda step, loss: losses.append(loss))
    done = train_detector(tmp_path / "out", Scenes(train, validation, frames_per_scene=1), settings, job, image_size=64)
    assert np.mean(losses[-2:]) < 0.85 * losses[0]
    card = read_json(tmp_path / "out" / "mannequin-yolo.json")
    assert (card["steps"], card["seed"], card["name"]) == (40, 0, "mannequin-yolo")
    assert set(card["quality"]) == {"ap50", "ap75"}
    assert done.parameters < 800_000
    load_network(packaged_config(), tmp_path / "out" / "mannequin-yolo.safetensors")
    with pytest.raises(ValueError, match="is in training and validation"):
        require_disjoint(train, train)


def test_shards_that_are_missing_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="render the pretraining scenes first"):
        SceneShard(tmp_path / "x.safetensors")


def test_packaged_weights_find_rendered_people() -> None:
    weights = ASSETS / PACKAGED
    if not weights.is_file():
        pytest.skip("the packaged weights are not trained yet")
    detector = build_detector("mannequin-yolo")
    hits = total = 0
    for seed in range(VALIDATION_SEED, VALIDATION_SEED + 6):
        scene = render_scene(seed, 2, 320, 240)
        for frame in range(2):
            boxes, scores = detector.detect(scene.frames[frame][None])[0]
            in_sight = scene.visible[frame].sum(-1) >= 8
            truths = scene.boxes_xyxy_px[frame][in_sight]
            overlap = iou_matrix(truths, boxes[scores > 0.25])
            total += len(truths)
            hits += int((overlap.max(1, initial=0) > 0.5).sum())
    assert total >= 6
    assert hits >= 0.8 * total
