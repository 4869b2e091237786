"""Properties that hold for any input: streams, fusion, protocols, and predictions whatever their batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import COCO17, HAND21, RELEASED17, UCLA20
from hpnet.data.protocols import label_and_split
from hpnet.fuse.applied import fuse_as_fitted
from hpnet.fuse.fusion import fuse
from hpnet.models.streams import STREAM_TRANSFORMS, transform

SKELETONS = st.sampled_from([COCO17, HAND21, UCLA20, RELEASED17])
STREAMS = st.sampled_from(list(STREAM_TRANSFORMS))


def features(seed: int, joints: int, frames: int = 4) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(2, 3, frames, joints, 2))


@given(SKELETONS, STREAMS, st.integers(0, 99), st.floats(-5, 5))
def test_streams_are_linear_and_the_same_in_numpy_and_torch(skeleton, stream, seed, factor) -> None:
    a, b = features(seed, skeleton.num_joints), features(seed + 1, skeleton.num_joints)
    mixed = transform(stream, a + factor * b, skeleton.parents)
    parts = transform(stream, a, skeleton.parents) + factor * transform(stream, b, skeleton.parents)
    np.testing.assert_allclose(mixed, parts, atol=1e-9)
    np.testing.assert_array_equal(transform(stream, torch.from_numpy(a), skeleton.parents).numpy(),
                                  transform(stream, a, skeleton.parents))  # fmt: skip


@given(st.sampled_from([COCO17, HAND21, UCLA20]), st.integers(0, 99))
def test_bones_do_not_see_a_shift_and_give_the_joints_back(skeleton, seed) -> None:
    x = features(seed, skeleton.num_joints)
    shift = np.random.default_rng(seed).normal(size=(2, 3, 4, 1, 2))
    bones = transform("hpb", x, skeleton.parents)
    np.testing.assert_allclose(transform("hpb", x + shift, skeleton.parents), bones, atol=1e-9)
    (root,) = [j for j, p in enumerate(skeleton.parents) if j == p]
    for joint in range(skeleton.num_joints):
        total, at = x[:, :, :, root].copy(), joint
        while at != root:
            total += bones[:, :, :, at]
            at = skeleton.parents[at]
        np.testing.assert_allclose(total, x[:, :, :, joint], atol=1e-9)


@given(SKELETONS, st.integers(0, 99))
def test_motion_sums_to_where_it_ends_and_of_bones_is_bones_of_motion(skeleton, seed) -> None:
    x = features(seed, skeleton.num_joints)
    motion = transform("hpjm", x, skeleton.parents)
    np.testing.assert_allclose(x[:, :, 0] + motion.sum(2), x[:, :, -1], atol=1e-9)
    assert not motion[:, :, -1].any()
    both = transform("hpbm", x, skeleton.parents)
    np.testing.assert_allclose(both, transform("hpb", motion, skeleton.parents), atol=1e-9)


def scores(seed: int, clips: int, classes: int) -> Scores:
    draw = np.random.default_rng(seed)
    ids = tuple(f"c{n:03d}" for n in range(clips))
    splits = tuple("val" if n % 2 else "test" for n in range(clips))
    logits = draw.normal(size=(clips, classes)).astype(np.float32)
    return Scores(ids, splits, np.arange(clips, dtype=np.int64) % classes, logits)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 50), st.sampled_from(["weighted", "balanced"]), st.floats(0.1, 5), st.floats(-3, 3))
def test_fusion_answers_do_not_depend_on_order_scale_or_offsets(seed, rule, scale, offset) -> None:
    parts = {"hpj": scores(seed, 40, 5), "hpb": scores(seed + 1, 40, 5)}
    weights = {"hpj": 0.7, "hpb": 0.3}
    plain = fuse(parts, rule, weights, tau=0.0)
    np.testing.assert_allclose(
        fuse(dict(reversed(parts.items())), rule, weights, tau=0.0).scores.logits, plain.scores.logits, atol=1e-4
    )
    scaled = fuse(parts, rule, {k: scale * w for k, w in weights.items()}, tau=0.0)
    if rule == "weighted":
        np.testing.assert_allclose(scaled.scores.logits, scale * plain.scores.logits, rtol=1e-3, atol=1e-4)
    moved = {s: Scores(p.clip_ids, p.splits, p.labels, p.logits + np.float32(offset)) for s, p in parts.items()}
    again = fuse(moved, rule, weights, tau=0.0).scores.logits
    difference = again - plain.scores.logits
    np.testing.assert_allclose(difference, difference[:, :1].repeat(5, 1), atol=1e-3)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 50), st.sampled_from(["weighted", "balanced"]))
def test_fused_alike_one_by_one_or_together(seed, rule) -> None:
    parts = {"hpj": scores(seed, 40, 5), "multimodal": scores(seed + 1, 40, 5)}
    stored = fuse(parts, rule, class_frequency=[3, 1, 4, 1, 5]).to_json()
    together = fuse_as_fitted(stored, {s: p.logits for s, p in parts.items()})
    single = np.concatenate([fuse_as_fitted(stored, {s: p.logits[[n]] for s, p in parts.items()}) for n in range(40)])
    np.testing.assert_allclose(single, together, atol=1e-9)


NTU = st.tuples(st.integers(1, 32), st.integers(1, 3), st.integers(1, 106), st.integers(1, 2), st.integers(1, 120))


@settings(deadline=None, max_examples=30)
@given(st.lists(NTU, min_size=1, max_size=30, unique=True), st.sampled_from(["", ".avi", "_rgb.avi", ".skeleton"]))
def test_ntu_names_say_what_they_say_and_sides_share_no_subject(clips, ending) -> None:
    names = [f"S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}" for s, c, p, r, a in clips]
    table = label_and_split("ntu120-xsub", [name + ending for name in names])
    assert table.clip_id.tolist() == names
    for row, (setup, camera, subject, repetition, action) in zip(table.itertuples(), clips, strict=True):
        found = (row.setup, row.camera, row.subject, row.repetition, row.label)
        assert found == (setup, camera, str(subject), repetition, action - 1)
    used = table[table.split != ""]
    assert (used.groupby("subject").split.nunique() == 1).all()
    views = label_and_split("ntu120-xset", names)
    assert set(views.setup[views.split == "test"] % 2) <= {1}


@pytest.mark.parametrize("protocol", ["ntu60-xsub", "ntu120-xset", "smarthome-cs", "uav-human-v1", "nw-ucla"])
@given(name=st.text(max_size=40))
@settings(deadline=None, max_examples=20)
def test_any_other_name_is_refused_with_the_pattern(protocol, name) -> None:
    with pytest.raises(ValueError, match="does not parse|is not an action"):
        label_and_split(protocol, [name])
