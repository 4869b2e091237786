"""Artifacts: what is saved comes back, and what is wrong is refused by name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.boxes import BOX_COLUMNS, Boxes
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.frames import PersonFrames
from hpnet.artifacts.poses import ClipPoses, PoseMeta, PoseStore
from hpnet.artifacts.scores import Scores
from hpnet.artifacts.trained_features import TrainedFeatures
from hpnet.core.skeleton import COCO17


def clip_table(*clip_ids: str, **columns: object) -> pd.DataFrame:
    base = {
        "path": "x.mp4", "label": 0, "subject": "1", "source": "1", "camera": 1, "setup": 1, "repetition": 1,
        "split": "train", "width": 64, "height": 48, "fps": 12.0, "frames": 3, "error": "",
    }  # fmt: skip
    return pd.DataFrame([{"clip_id": c, **base, **columns} for c in clip_ids])


CLASSES = pd.DataFrame({"label": [0, 1], "name": ["sit", "stand"], "prompt": ["sitting", "standing"]})


def poses(clip_id: str, frames: int, persons: int, seed: int = 0) -> ClipPoses:
    rng = np.random.default_rng(seed)
    return ClipPoses(
        clip_id,
        rng.random((frames, persons, 17, 2), np.float32) * 100,
        rng.random((frames, persons, 17), np.float32),
        rng.random((frames, persons, 2, 3), np.float32),
        rng.random((frames, persons)) > 0.3,
        {"h2s3": rng.random((frames, persons, 17, 3, 3, 4)).astype(np.float16)},
    )


def test_clips_round_trip_and_refusals(tmp_path: Path) -> None:
    clips = Clips(clip_table("a", "b"), CLASSES)
    clips.save(tmp_path)
    back = Clips.load(tmp_path)
    pd.testing.assert_frame_equal(back.table[["clip_id", "label", "split"]], clips.table[["clip_id", "label", "split"]])
    assert back.class_names == ["sit", "stand"]
    with pytest.raises(ValueError, match="'a' is listed twice"):
        Clips(clip_table("a", "a"), CLASSES)
    with pytest.raises(ValueError, match="split 'tset'"):
        Clips(clip_table("a", split="tset"), CLASSES)
    with pytest.raises(ValueError, match="label 5"):
        Clips(clip_table("a", label=5), CLASSES)
    with pytest.raises(FileNotFoundError, match="hpnet data"):
        Clips.load(tmp_path / "none")


def test_unlabelled_clips_and_errors_survive(tmp_path: Path) -> None:
    table = clip_table("a", "b", label=-1, split="")
    table.loc[1, "error"] = "file is empty (0 bytes)"
    Clips(table, CLASSES).save(tmp_path)
    back = Clips.load(tmp_path)
    assert list(back.usable().clip_id) == ["a"]
    assert back.table.error[1] == "file is empty (0 bytes)"


def test_boxes_round_trip_csv_and_inverted(tmp_path: Path) -> None:
    table = pd.DataFrame([("a", 0, 0, 1, 2, 30, 40, 0.9), ("a", 1, 0, 1, 2, 30, 40, 0.8)], columns=list(BOX_COLUMNS))
    Boxes(table, {"b": "no video"}).save(tmp_path)
    back = Boxes.load(tmp_path)
    np.testing.assert_allclose(back.table[list(BOX_COLUMNS[3:])], table[list(BOX_COLUMNS[3:])], rtol=1e-6)
    assert back.failed == {"b": "no video"}
    table.to_csv(tmp_path / "boxes.csv", index=False)
    assert len(Boxes.load(tmp_path / "boxes.csv").table) == 2
    header, *rows = (tmp_path / "boxes.csv").read_text().splitlines()
    (tmp_path / "boxes.csv").write_text("\n".join([header, *(f"{row},7" for row in rows)]))
    with pytest.raises(ValueError, match="more fields than the first"):
        Boxes.load(tmp_path / "boxes.csv")
    with pytest.raises(ValueError, match="clip 'a' frame 1: inverted box"):
        Boxes(table.assign(x2=[30, 0]))
    with pytest.raises(ValueError, match="'track' is missing"):
        Boxes(table.drop(columns="track"))


def test_person_frames(tmp_path: Path) -> None:
    clips = [("a", [(2, b"two"), (0, b"zero")]), ("b", []), ("c", [(1, b"1")])]
    PersonFrames.write(tmp_path / "frames-0.parquet", clips)
    frames = PersonFrames(tmp_path)
    assert frames.load("a") == [(0, b"zero"), (2, b"two")]
    assert frames.load("b") == []
    assert "c" in frames
    assert "b" not in frames


@pytest.mark.parametrize("frames", [1, 5])
def test_pose_store_gives_back_every_clip_whatever_its_persons(tmp_path: Path, frames: int) -> None:
    meta = PoseMeta("net", "digest", COCO17, (96, 128), {"h2s3": (4, 16, 12)}, window=3)
    clips = [poses("a", frames, 1, 1), poses("b", frames + 1, 2, 2), poses("c", frames, 3, 3)]
    parts = [PoseStore.write_shard(tmp_path, "shard-00000.safetensors", clips[:2], meta)]
    parts.append(PoseStore.write_shard(tmp_path, "shard-00001.safetensors", clips[2:], meta))
    PoseStore.write_index(tmp_path, pd.concat(parts), meta)
    store = PoseStore(tmp_path)
    assert store.meta == meta
    for clip in clips:
        back = store.load(clip.clip_id)
        for name in ("keypoints_px", "scores", "frame_to_crop", "valid"):
            np.testing.assert_array_equal(getattr(back, name), getattr(clip, name))
        np.testing.assert_array_equal(back.windows["h2s3"], clip.windows["h2s3"])
    assert store.load("a", taps=()).windows == {}
    with pytest.raises(ValueError, match="no clip 'z'"):
        store.load("z")


def test_poses_of_unequal_shapes_are_refused() -> None:
    good = poses("a", 4, 1)
    with pytest.raises(ValueError, match=r"clip 'a': scores is \(3, 1, 17\), expected \(4, 1, 17\)"):
        ClipPoses("a", good.keypoints_px, good.scores[:3], good.frame_to_crop, good.valid, {})


def test_features_round_trip_memory_mapped(tmp_path: Path) -> None:
    meta = FeatureMeta("pooled", "h2s3", 1, "mean", COCO17)
    index = pd.DataFrame({"clip_id": ["a", "a", "b"], "person": [0, 1, 0], "row": [0, 1, 2]})
    index["valid"] = [True, True, False]
    array = np.random.default_rng(0).random((3, 6, 17, 5)).astype(np.float16)
    Features(array, index, meta).save(tmp_path)
    back = Features.load(tmp_path)
    assert isinstance(back.array, np.memmap)
    np.testing.assert_array_equal(back.array, array)
    assert back.meta == meta
    with pytest.raises(ValueError, match="3 joints"):
        Features(array[:, :, :3], index, meta)
    with pytest.raises(ValueError, match="their index 2"):
        Features(array, index[:2], meta)


def test_scores_round_trip_and_refusals(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    scores = Scores(("a", "b", "c"), ("val", "test", "test"), np.array([0, 1, 3]), logits)
    scores.save(tmp_path / "scores.parquet")
    back = Scores.load(tmp_path / "scores.parquet")
    assert back.clip_ids == scores.clip_ids
    np.testing.assert_array_equal(back.logits, logits)
    assert back.split("test").clip_ids == ("b", "c")
    with pytest.raises(ValueError, match="clip 'a' is listed twice"):
        Scores(("a", "a"), ("", ""), np.zeros(2, np.int64), logits[:2])
    with pytest.raises(ValueError, match="clip 'b' has a score that is not finite"):
        Scores(("a", "b"), ("", ""), np.zeros(2, np.int64), np.array([[0, 1], [np.nan, 0]], np.float32))


def test_trained_features_round_trip_and_refusals(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    TrainedFeatures(("a", "b", "c"), array).save(tmp_path / "trained_features.parquet")
    back = TrainedFeatures.load(tmp_path / "trained_features.parquet")
    np.testing.assert_array_equal(back.of(["c", "a"]), array[[2, 0]])
    with pytest.raises(KeyError, match="d"):
        back.of(["d"])
    with pytest.raises(ValueError, match=r"2 clips, array \(3, 4\)"):
        TrainedFeatures(("a", "b"), array)
    with pytest.raises(ValueError, match="not finite"):
        TrainedFeatures(("a",), np.array([[np.inf]], np.float32))
    pd.DataFrame({"clip_id": ["a", "b"], "features": [[1.0], [1.0, 2.0]]}).to_parquet(tmp_path / "ragged.parquet")
    with pytest.raises(ValueError, match="different lengths"):
        TrainedFeatures.load(tmp_path / "ragged.parquet")
    pd.DataFrame({"clip_id": ["a"]}).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="'features' is missing"):
        TrainedFeatures.load(tmp_path / "none.parquet")
