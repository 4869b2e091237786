"""The multimodal stream: frames, mixing, batches that do not depend on processes, training and loading again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from transformers import XCLIPModel

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.files import read_json
from hpnet.artifacts.frames import PersonFrames
from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import COCO17
from hpnet.core.streams import MULTIMODAL
from hpnet.models.xclip import reduced_config
from hpnet.train.augmentation import Mixture
from hpnet.train.datasets import ChannelStatistics
from hpnet.train.loop import Run
from hpnet.train.multimodal import (
    FrameBank,
    MultimodalBatch,
    MultimodalTask,
    augment_clip,
    load_multimodal,
    mix,
    optimizer_for,
    warn_of_constant_frames,
)
from hpnet.train.multimodal import train as train_multimodal
from hpnet.train.params import MultimodalParams
from hpnet.train.parts import Parts, has_batch_norm
from hpnet.train.run import Inputs
from hpnet.train.text import train_tokenizer
from hpnet.train.xclip import save_xclip

CLIPS, CLASSES = 18, 3
COLOURS = [(220, 30, 30), (30, 220, 30), (30, 30, 220)]
META = FeatureMeta("pooled", "h2s3", 1, "mean", COCO17)


def jpeg(colour: tuple[int, int, int], size: int = 48) -> bytes:
    image = np.full((size, size, 3), colour, np.uint8)
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


@pytest.fixture
def clips() -> Clips:
    names = [f"clip{i:02d}" for i in range(CLIPS)]
    table = pd.DataFrame(
        {
            "clip_id": names, "path": names, "label": np.arange(CLIPS) % CLASSES, "subject": "1", "source": "1",
            "camera": 1, "setup": 1, "repetition": 1, "split": ["train"] * 9 + ["val"] * 3 + ["test"] * 6,
            "width": 48, "height": 48, "fps": 12.0, "frames": 3, "error": "",
        }
    )  # fmt: skip
    classes = pd.DataFrame({"label": range(3), "name": ["nod", "bow", "jump"], "prompt": ["a person nods", "", ""]})
    return Clips(table, classes)


@pytest.fixture
def features() -> Features:
    """Two people in every clip but the last, where nobody is; the class is the mean of channel 0."""
    rng = np.random.default_rng(0)
    array = rng.normal(size=(2 * CLIPS, 6, 17, 4)).astype(np.float16)
    array[..., 0] += (np.arange(2 * CLIPS) // 2 % CLASSES)[:, None, None]
    index = pd.DataFrame(
        {
            "clip_id": [f"clip{i // 2:02d}" for i in range(2 * CLIPS)],
            "person": np.arange(2 * CLIPS) % 2,
            "row": range(2 * CLIPS),
            "valid": [True] * (2 * CLIPS - 2) + [False] * 2,
        }
    )
    return Features(array, index, META)


@pytest.fixture
def frames(tmp_path: Path) -> PersonFrames:
    folder = tmp_path / "frames"
    folder.mkdir()
    rows = [(f"clip{i:02d}", [(t, jpeg(COLOURS[i % CLASSES])) for t in range(3)]) for i in range(CLIPS - 1)]
    PersonFrames.write(folder / "frames-00000.parquet", rows)
    return PersonFrames(folder)


@pytest.fixture
def video(tmp_path: Path) -> str:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a person is bowing", "a person nods"] * 3, 320)
    config = reduced_config(
        vocab_size=tokenizer.get_vocab_size(), image_size=32, patch_size=16, frames=4, width=32, layers=1,
        text_width=32, text_layers=1, text_length=48,
    )  # fmt: skip
    save_xclip(tmp_path / "xclip", XCLIPModel(config), tokenizer)
    return str(tmp_path / "xclip")


def params(video: str, **changes: Any) -> MultimodalParams:
    graph = {"model": "gcn", "base_channels": 8, "blocks": 2}
    given = {
        "graph": graph, "video": video, "frames": 2, "epochs": 2, "batch_size": 4, "lr": 1e-3, "graph_scale": 10.0,
        "warmup_epochs": 0,
    }  # fmt: skip
    return MultimodalParams.model_validate({**given, **changes})


def train(
    tmp_path: Path,
    clips: Clips,
    features: Features,
    frames: PersonFrames,
    settings: MultimodalParams,
    name: str = "multimodal",
) -> dict[str, Any]:
    run = Run(1, tmp_path / ".work" / name, Accelerator(cpu=True), cache=tmp_path / "text")
    inputs = Inputs(clips, features, frames)
    return train_multimodal(MULTIMODAL, inputs, settings, run, out=tmp_path / name, card={})


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_frame_bank_decodes_rgb_and_gives_black_for_nobody(frames: PersonFrames, resident: int) -> None:
    names = [f"clip{i:02d}" for i in range(CLIPS)]
    bank = FrameBank(frames, names, frames=4, image_size=32, resident_bytes=resident)
    found = bank(np.array([1, CLIPS - 1]))
    assert found.shape == (2, 4, 3, 32, 32)
    assert found.dtype == torch.uint8
    assert found[0].float().mean((0, 2, 3)).numpy() == pytest.approx(COLOURS[1], abs=4)
    assert not found[1].any()
    assert bank.missing == (names[-1],)


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_training_sees_other_frames_every_epoch_and_validation_the_middle_ones(
    tmp_path: Path, clips: Clips, features: Features, resident: int
) -> None:
    grey = [[(t, jpeg((20 * t, 20 * t, 20 * t))) for t in range(6)] for _ in range(CLIPS)]
    PersonFrames.write(tmp_path / "frames-00000.parquet", [(f"clip{i:02d}", of) for i, of in enumerate(grey)])
    store = PersonFrames(tmp_path)
    made = task(clips, features, store, params("unused", flip=0.0, jitter=0.0))
    made.frames = FrameBank(store, made.clips.clip_ids, frames=2, image_size=32, resident_bytes=resident)

    def shown(batches: Any) -> dict[int, list[int]]:
        found = {}
        for indices, batch in batches:
            moments = (batch.frames.float().mean((2, 3, 4)) / 20).round().int().tolist()
            found |= dict(zip(indices.tolist(), moments, strict=True))
        return found

    epochs = [shown(made.train_batches(epoch)) for epoch in range(8)]
    assert epochs[3] == shown(made.train_batches(3)), "drawn from seed, epoch and clip"
    for clip in epochs[0]:
        assert len({tuple(epoch[clip]) for epoch in epochs}) > 2
        assert all(epoch[clip][0] in (0, 1, 2) and epoch[clip][1] in (3, 4, 5) for epoch in epochs)
    assert set(map(tuple, shown(made.eval_batches("val")).values())) == {(1, 4)}


def test_frames_that_cannot_vary_are_told(
    clips: Clips, frames: PersonFrames, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = Clips(clips.table.assign(frames=40), clips.classes)
    warn_of_constant_frames(longer, frames, 2)
    warn_of_constant_frames(clips, frames, 3)  # a clip is no longer than that
    warn_of_constant_frames(Clips(clips.table.assign(frames=0), clips.classes), frames, 3)  # nobody knows
    assert capsys.readouterr().err == ""
    warn_of_constant_frames(longer, frames, 3)
    told = capsys.readouterr().err
    assert "every epoch sees the same person frames: train.multimodal.frames is 3, and at most 3 of a clip" in told
    assert "raise detect.candidates" in told


def test_broken_jpeg_names_the_clip(tmp_path: Path) -> None:
    PersonFrames.write(tmp_path / "frames-00000.parquet", [("clip00", [(3, b"no jpeg")])])
    with pytest.raises(ValueError, match="clip00, frame 3 cannot be decoded"):
        FrameBank(PersonFrames(tmp_path), ["clip00"], frames=1, image_size=32)


def test_augment_clip_keeps_range_and_stays_still_without_jitter() -> None:
    clip = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    moved = augment_clip(clip, np.random.default_rng(0), 0.3)
    assert moved.shape == clip.shape
    assert moved.min() >= 0
    assert moved.max() <= 255
    assert not torch.allclose(moved, clip.float(), atol=5)
    torch.testing.assert_close(augment_clip(clip, np.random.default_rng(0), 0.0), clip.float(), rtol=0, atol=1e-3)


def test_mix_treats_every_modality_alike() -> None:
    valid = torch.tensor([[True, False], [True, True]])
    pooled = torch.randn(2, 3, 4, 5, 2) * valid[:, None, None, None, :]
    batch = MultimodalBatch(pooled, valid, torch.rand(2, 1, 3, 4, 4) * 255, torch.eye(2))
    mixed = mix(batch, Mixture(torch.tensor([1, 0]), 0.3))
    torch.testing.assert_close(mixed.pooled[0, ..., 0], 0.3 * pooled[0, ..., 0] + 0.7 * pooled[1, ..., 0])
    torch.testing.assert_close(mixed.pooled[0, ..., 1], pooled[1, ..., 1])
    torch.testing.assert_close(mixed.frames[1], 0.3 * batch.frames[1] + 0.7 * batch.frames[0])
    torch.testing.assert_close(mixed.targets, torch.tensor([[0.3, 0.7], [0.7, 0.3]]))
    assert mixed.valid.all()


def test_cutmix_takes_the_same_moment_of_every_modality() -> None:
    valid = torch.tensor([[True, False], [True, True]])
    pooled = torch.randn(2, 3, 8, 5, 2) * valid[:, None, None, None, :]
    batch = MultimodalBatch(pooled, valid, torch.rand(2, 4, 3, 4, 4) * 255, torch.eye(2))
    mixed = mix(batch, Mixture(torch.tensor([1, 0]), 0.75, (0.25, 0.5)))  # the second quarter is the other clip's
    torch.testing.assert_close(mixed.frames[0, 1], batch.frames[1, 1])
    torch.testing.assert_close(mixed.frames[0, [0, 2, 3]], batch.frames[0, [0, 2, 3]])
    torch.testing.assert_close(mixed.pooled[0, :, 2:4], pooled[1, :, 2:4])
    torch.testing.assert_close(mixed.pooled[0, :, [0, 1, 4, 5, 6, 7]], pooled[0, :, [0, 1, 4, 5, 6, 7]])
    torch.testing.assert_close(mixed.targets, torch.tensor([[0.75, 0.25], [0.25, 0.75]]))


def task(
    clips: Clips, features: Features, frames: PersonFrames, settings: MultimodalParams, **more: int
) -> MultimodalTask:
    from hpnet.train.clips import labelled_clips
    from hpnet.train.datasets import PersonFeatures, person_rows

    table = labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    people = PersonFeatures(features.array, rows, table.labels, torch.device("cpu"))
    bank = FrameBank(frames, table.clip_ids, frames=2, image_size=32)
    return MultimodalTask(table, people, bank, settings, features.meta, seed=5, **more)


def test_augmentation_does_not_depend_on_the_number_of_processes(
    clips: Clips, features: Features, frames: PersonFrames
) -> None:
    settings = params("unused")
    alone = {}
    for indices, batch in task(clips, features, frames, settings).train_batches(3):
        alone |= {int(i): (batch.frames[n], batch.pooled[n]) for n, i in enumerate(indices)}
    assert len(alone) == 9
    seen = set()
    for process in range(2):
        two = task(clips, features, frames, settings, process=process, processes=2)
        for indices, batch in two.train_batches(3):
            for n, i in enumerate(indices):
                seen.add(int(i))
                assert torch.equal(batch.frames[n], alone[int(i)][0])
                assert torch.equal(batch.pooled[n], alone[int(i)][1])
    assert seen == set(alone)


SIDED = ["turn left", "turn right", "bow to the left"]


@pytest.mark.parametrize("pooled", [True, False], ids=["with features", "without"])
def test_a_mirrored_clip_shows_its_partners_action(
    clips: Clips, features: Features, frames: PersonFrames, pooled: bool
) -> None:
    sided = Clips(clips.table, clips.classes.assign(name=SIDED))
    still, moving = ({"flip": flip, "jitter": 0.0, "mirror_pooled": True, "pooled": pooled} for flip in (0.0, 1.0))
    plain = task(sided, features, frames, params("unused", **still))
    flipped = task(sided, features, frames, params("unused", **moving))
    for (_, a), (_, b) in zip(plain.train_batches(0), flipped.train_batches(0), strict=True):
        for n, label in enumerate(a.targets.argmax(1).tolist()):
            moved = label != 2  # nobody bows to the right: such a clip stays as it is
            assert b.targets[n].argmax() == (1 - label if moved else label)
            torch.testing.assert_close(b.frames[n], a.frames[n].flip(-1) if moved else a.frames[n])


def test_flip_mirrors_frames_and_joints_together(clips: Clips, features: Features, frames: PersonFrames) -> None:
    plain = task(clips, features, frames, params("unused", flip=0.0, jitter=0.0))
    flipped = task(clips, features, frames, params("unused", flip=1.0, jitter=0.0, mirror_pooled=True))
    for (_, a), (_, b) in zip(plain.train_batches(0), flipped.train_batches(0), strict=True):
        torch.testing.assert_close(b.frames, a.frames.flip(-1))
        assert torch.equal(b.pooled, a.pooled[:, :, :, list(COCO17.mirror)])


def test_frames_alone_are_mirrored_and_mixed_where_the_released_way_is_asked_for(
    clips: Clips, features: Features, frames: PersonFrames
) -> None:
    still = {"jitter": 0.0, "flip": 0.0}
    plain = task(clips, features, frames, params("unused", **still))
    flipped = task(clips, features, frames, params("unused", jitter=0.0, flip=1.0, augmented="frames"))
    for (_, a), (_, b) in zip(plain.train_batches(0), flipped.train_batches(0), strict=True):
        torch.testing.assert_close(b.frames, a.frames.flip(-1))
        assert torch.equal(b.pooled, a.pooled)
    mixed = task(clips, features, frames, params("unused", **still, augmented="frames", mixup=0.8, cutmix=1.0))
    kinds = set()
    for epoch in range(4):
        for (_, a), (_, b) in zip(plain.train_batches(epoch), mixed.train_batches(epoch), strict=True):
            assert torch.equal(b.pooled, a.pooled)
            assert torch.equal(b.valid, a.valid)
            torch.testing.assert_close(b.targets.sum(1), torch.ones(len(b.targets)))
            same = (b.frames == a.frames.float()).float().mean().item()
            kinds.add("rectangle" if 0 < same < 1 else "other")
    assert "rectangle" in kinds


def test_colours_change_by_seed_and_off_is_as_before(clips: Clips, features: Features, frames: PersonFrames) -> None:
    def seen(**changes: Any) -> torch.Tensor:
        batches = task(clips, features, frames, params("unused", **changes)).train_batches(1)
        return torch.cat([batch.frames for _, batch in batches])

    plain, coloured = seen(), seen(colour=1.0, grey=0.0)
    assert torch.equal(plain, seen(colour=0.0, grey=0.0))
    assert torch.equal(coloured, seen(colour=1.0, grey=0.0))
    assert not torch.allclose(coloured, plain, atol=2)
    grey = seen(grey=1.0)
    torch.testing.assert_close(grey[:, :, 0], grey[:, :, 2])


def test_gradients_are_limited_and_channels_standardised_only_where_asked(
    clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    from hpnet.train.clips import labelled_clips
    from hpnet.train.multimodal import make
    from hpnet.train.xclip import load_xclip

    def ready(**changes: Any) -> Any:
        run = Run(1, Path("unused"), Accelerator(cpu=True))
        inputs = Inputs(clips, features, frames)
        return make(
            inputs, params(video, **changes), run, load_xclip(video, 2), torch.zeros(3, 32), labelled_clips(clips)
        )

    ours, released = ready(), ready(clip_norm=None, standardise=False)
    assert ours.course.clip_norm == 5.0
    assert released.course.clip_norm is None
    assert (ours.model.pooled_mean[0] - 1).abs() < 0.3
    assert not released.model.pooled_mean.any()
    assert (released.model.pooled_sd == 1).all()
    assert torch.equal(ours.model.video.visual_projection.weight, released.model.video.visual_projection.weight)


def test_halves_of_a_batch_have_its_gradients_where_there_is_no_batch_norm(
    clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    from hpnet.train.multimodal import build_model
    from hpnet.train.xclip import load_xclip

    settings = params(video, pooled=False, batch_size=8, mixup=0.5)
    statistics = ChannelStatistics(torch.zeros(4), torch.ones(4))
    sizes = {"in_channels": 4, "num_persons": 2, "statistics": statistics}
    model = build_model(load_xclip(video, 2), torch.randn(3, 32), settings, META, **sizes).train()
    made = task(clips, features, frames, settings)
    _, batch = next(made.train_batches(0))
    gradients = []
    for largest in (None, 3):
        parts, found = Parts(), 0.0
        parts.largest = largest
        model.zero_grad()
        for part, share in parts.of(batch, len(batch.targets)):
            loss = share * made.loss(model, part)
            loss.backward()
            found += loss.item()
        gradients.append(([p.grad.clone() for p in model.parameters() if p.grad is not None], found))
    (whole, loss), (halved, same) = gradients
    assert len(whole) > 20
    assert same == pytest.approx(loss, abs=1e-6)
    torch.testing.assert_close(halved, whole, rtol=1e-5, atol=1e-6)
    assert not has_batch_norm(model)
    assert has_batch_norm(build_model(load_xclip(video, 2), torch.randn(3, 32), params(video), META, **sizes))


@pytest.mark.parametrize("kind", ["pooled", "simcc"])
def test_beside_features_that_are_not_mirrored_only_frames_without_a_side_are(
    clips: Clips, features: Features, frames: PersonFrames, kind: str
) -> None:
    sided = Clips(clips.table, clips.classes.assign(name=["turn left", "turn right", "bow"]))
    features = Features(features.array, features.index, FeatureMeta(kind, "", 1, "mean", COCO17))
    plain = task(sided, features, frames, params("unused", flip=0.0, jitter=0.0))
    flipped = task(sided, features, frames, params("unused", flip=1.0, jitter=0.0))
    for (_, a), (_, b) in zip(plain.train_batches(0), flipped.train_batches(0), strict=True):
        assert torch.equal(b.pooled, a.pooled)
        assert torch.equal(b.targets, a.targets)
        for n, label in enumerate(a.targets.argmax(1).tolist()):
            torch.testing.assert_close(b.frames[n], a.frames[n].flip(-1) if label == 2 else a.frames[n])


def test_evaluation_covers_every_clip_of_a_split(clips: Clips, features: Features, frames: PersonFrames) -> None:
    seen = [i for indices, _ in task(clips, features, frames, params("unused")).eval_batches("test") for i in indices]
    assert seen == list(range(12, 18))


def test_training_learns_scores_every_clip_and_loads_again(
    tmp_path: Path, clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    settings = params(video, epochs=12, mixup=0.2, flip=0.0)
    metrics = train(tmp_path, clips, features, frames, settings)
    scores = Scores.load(tmp_path / "multimodal" / "scores.parquet")
    assert scores.clip_ids == tuple(f"clip{i:02d}" for i in range(9, 18))
    assert metrics["clips_without_frames"] == 1
    assert metrics["test"]["top1"] > 0.6
    model = load_multimodal(tmp_path / "multimodal")
    people = task(clips, features, frames, settings)
    with torch.inference_mode():
        for indices, batch in people.eval_batches("test"):
            logits = people.logits(model, batch)
            rows = [scores.clip_ids.index(f"clip{i:02d}") for i in indices]
            np.testing.assert_allclose(logits.numpy(), scores.logits[rows], rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_scores(
    tmp_path: Path, clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    for name in ("a", "b"):
        train(tmp_path, clips, features, frames, params(video), name)
    first, second = (Scores.load(tmp_path / name / "scores.parquet") for name in ("a", "b"))
    np.testing.assert_array_equal(first.logits, second.logits)


def test_label_texts_are_those_of_the_parameter(
    tmp_path: Path, clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    file = tmp_path / "own.json"
    file.write_text('{"nod": ["the head sinks", "the chin goes down"], "bow": "the back bends", "jump": "up"}')
    for name, text, prompted in (("a", "names", True), ("b", str(file), False)):
        train(tmp_path, clips, features, frames, params(video, epochs=1, text=text, prompts=prompted), name)
    cards = [read_json(tmp_path / name / "config.json") for name in "ab"]
    assert cards[0]["texts"] == [["nod"], ["bow"], ["jump"]]
    assert cards[1]["texts"][0] == ["the head sinks", "the chin goes down"]
    assert [card["network"]["prompts"] for card in cards] == [True, False]
    assert load_multimodal(tmp_path / "b").label_text.shape == (3, 32)
    with pytest.raises(ValueError, match=r"text\n.*expected names, sentences, descriptions, or the path of a file"):
        params(video, text="sentence")


def test_groups_have_their_rates(clips: Clips, features: Features, video: str) -> None:
    from hpnet.train.datasets import ChannelStatistics
    from hpnet.train.multimodal import build_model
    from hpnet.train.xclip import load_xclip

    settings = params(video, lr=1e-4, message_scale=10.0, graph_scale=100.0, frozen_layers=1)
    checkpoint = load_xclip(video, 2)
    blank = ChannelStatistics(torch.zeros(4), torch.ones(4))
    model = build_model(checkpoint, torch.zeros(3, 32), settings, META, in_channels=4, num_persons=2, statistics=blank)
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {names[id(p)]: g["lr"] for g in optimizer_for(model, settings).param_groups for p in g["params"]}
    assert rates["video.visual_projection.weight"] == pytest.approx(1e-4)
    assert rates["video.mit.position_embedding"] == pytest.approx(1e-3)
    assert rates["fusion.scale.0.weight"] == pytest.approx(1e-2)
    assert rates["smclm.networks.s.classifier.weight"] == pytest.approx(1e-2)
    assert "video.vision_model.embeddings.patch_embedding.weight" not in rates
    assert set(rates) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(".prompts_" in name for name in rates)
    settings = params(video, lr=1e-4, graph_scale=100.0, fusion_scale=10.0, frozen_layers=1)
    rates = {names[id(p)]: g["lr"] for g in optimizer_for(model, settings).param_groups for p in g["params"]}
    assert rates["fusion.scale.0.weight"] == pytest.approx(1e-3)
    assert rates["smclm.networks.s.classifier.weight"] == pytest.approx(1e-2)


def test_checkpointed_layers_give_the_same_gradients_and_paths_are_dropped_only_in_training(video: str) -> None:
    from hpnet.train.datasets import ChannelStatistics
    from hpnet.train.multimodal import build_model
    from hpnet.train.xclip import load_xclip

    checkpoint, blank = load_xclip(video, 2), ChannelStatistics(torch.zeros(4), torch.ones(4))
    frames = torch.randint(0, 256, (3, 2, 3, 32, 32), dtype=torch.uint8)

    def encoder(**options: Any) -> Any:
        sizes: dict[str, Any] = {"in_channels": 4, "num_persons": 2, "statistics": blank}
        return build_model(checkpoint, torch.zeros(3, 32), params(video, **options), META, **sizes).video.train()

    def gradient(model: Any) -> torch.Tensor:
        torch.manual_seed(5)
        model(frames)[0].square().sum().backward()
        return model.vision_model.embeddings.patch_embedding.weight.grad

    plain = gradient(encoder())
    torch.testing.assert_close(gradient(encoder(checkpointing=True)), plain)
    dropping = encoder(drop_path=0.9)
    assert not torch.allclose(gradient(dropping), plain)
    torch.testing.assert_close(gradient(encoder(drop_path=0.9, checkpointing=True)), gradient(encoder(drop_path=0.9)))
    with torch.no_grad():
        torch.testing.assert_close(dropping.eval()(frames)[0], encoder().eval()(frames)[0])


def test_accumulation_scales_every_rate_and_averaged_weights_are_kept(
    tmp_path: Path, clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    settings = params(video, accumulate=2, lr_batch=4, ema=0.9, mixup=0.5, cutmix=0.5, epochs=1)
    metrics = train(tmp_path, clips, features, frames, settings)
    own = train(tmp_path, clips, features, frames, settings.model_copy(update={"ema": 0.0}), name="own")
    assert metrics["test"]["clips"] == own["test"]["clips"]
    scores = [Scores.load(tmp_path / name / "scores.parquet").logits for name in ("multimodal", "own")]
    assert np.isfinite(scores[0]).all()
    assert np.abs(scores[0] - scores[1]).max() > 1e-4  # the average lags behind


def test_frames_of_other_clips_are_refused(tmp_path: Path, clips: Clips, features: Features, video: str) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    PersonFrames.write(folder / "frames-00000.parquet", [("another", [(0, jpeg(COLOURS[0]))])])
    with pytest.raises(ValueError, match=r"none of the 9 training clips, such as 'clip00', has person frames"):
        train(tmp_path, clips, features, PersonFrames(folder), params(video))


def test_a_damaged_config_is_named(
    tmp_path: Path, clips: Clips, features: Features, frames: PersonFrames, video: str
) -> None:
    train(tmp_path, clips, features, frames, params(video, epochs=1))
    (tmp_path / "multimodal" / "config.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"config\.json is not what the stage writes \('network'\): run that stage again"
    ):
        load_multimodal(tmp_path / "multimodal")
    (tmp_path / "multimodal" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing: run `hpnet train multimodal` first"):
        load_multimodal(tmp_path / "multimodal")


def test_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing: run `hpnet train multimodal`"):
        load_multimodal(tmp_path / "multimodal")
