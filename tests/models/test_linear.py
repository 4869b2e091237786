"""The linear classifier of statistics over time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hpnet.models.linear import KINDS, Linear, Mirror, View
from hpnet.models.over_time import parts_over_time


def network(persons: int = 3, positions: tuple[int, ...] = (0, 1), joints: int = 5, channels: int = 4) -> Linear:
    """Random weights; nothing is constant."""
    torch.manual_seed(0)
    view = View(positions=positions)
    made = Linear(in_channels=channels, num_classes=6, num_joints=joints, num_persons=persons, view=view).eval()
    for value in (made.mean, made.scale, made.weight, made.bias):
        value.copy_(torch.randn_like(value))
    return made


def clips(persons: int = 3, frames: int = 7, count: int = 4) -> tuple[Tensor, Tensor]:
    """Everybody, two people in two places, one person, nobody."""
    torch.manual_seed(1)
    valid = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)[:count, :persons]
    return torch.randn(count, 4, frames, 5, persons) * valid[:, None, None, None], valid


@pytest.mark.parametrize("positions", [(), (0, 1)])
def test_the_order_of_people_does_not_matter(positions: tuple[int, ...]) -> None:
    model, (x, valid) = network(positions=positions), clips()
    expected = model(x, valid)
    for order in ([1, 0, 2], [2, 1, 0], [1, 2, 0]):
        torch.testing.assert_close(model(x[..., order], valid[:, order]), expected, rtol=1e-4, atol=1e-3)


def test_an_absent_person_says_nothing_whatever_its_slot_holds() -> None:
    model, (x, valid) = network(), clips()
    noise = torch.randn_like(x) * ~valid[:, None, None, None]
    values, known = model.statistics(x + noise * 0, valid)
    assert known.tolist() == [[True, True], [True, True], [True, False], [False, False]]
    assert not values[3].any()
    assert not values[2, model.own :].any()
    assert not model.forward_features(x, valid)[3].any()  # the logits of nobody are the biases
    torch.testing.assert_close(model(x, valid)[3], model.bias.data)


@pytest.mark.parametrize("persons", [1, 3])
@pytest.mark.parametrize("frames", [1, 2])
def test_one_person_and_one_frame_are_enough(persons: int, frames: int) -> None:
    model, (x, valid) = network(persons), clips(persons, frames)
    logits = model(x, valid)
    assert logits.shape == (4, 6)
    assert logits.isfinite().all()
    torch.testing.assert_close(model(x), model(x, torch.ones(4, persons, dtype=torch.bool)))


def test_people_who_approach_are_told_from_people_who_part() -> None:
    """Two points on a line; each by itself moves alike, and who is who does not matter."""
    frames = torch.linspace(0, 1, 9)
    x = torch.zeros(2, 2, 9, 1, 2)
    x[0, 0, :, 0] = torch.stack([frames, 3 - frames], 1)
    x[1, 0, :, 0] = torch.stack([1 - frames, 2 + frames], 1)
    model = Linear(in_channels=2, num_classes=2, num_joints=1, num_persons=2, view=View(positions=(0, 1)))
    values, _ = model.statistics(x)
    mean, sd, least, approach = values[:, -4:].T
    torch.testing.assert_close(mean, torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(least, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(approach, torch.tensor([-2.0, 2.0]))
    assert sd[0] == pytest.approx(float(sd[1]))
    torch.testing.assert_close(model.statistics(x + 5)[0], values)  # wherever the origin is


def test_an_input_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"input is \(2, 4, 7, 5, 2\), expected \(N, 4, T, 5, 3\)"):
        network()(torch.zeros(2, 4, 7, 5, 2))


ALL = View(
    positions=(0, 1, 2), centred=False, parts=(1, 2), clocks=("time", "motion"), planes=((0, 1), (0, 2)), distances=True
)


def test_all_that_can_be_read_does_not_depend_on_the_order_of_people() -> None:
    x, valid = clips()
    model = Linear(in_channels=4, num_classes=6, num_joints=5, num_persons=3, view=ALL)
    assert model.own == 2 * (3 * 3 * 4 + 3 * 2) * 5 + 2 * 3 * 10
    assert model.shared == model.own + (2 * 3 + 2) * 25
    values, _ = model.statistics(x, valid)
    assert values.shape == (4, len(model.mean))
    for order in ([1, 0, 2], [2, 0, 1]):
        again, _ = model.statistics(x[..., order], valid[:, order])
        torch.testing.assert_close(again, values, rtol=1e-4, atol=1e-4)
    assert not values[3].any()
    assert [int((model.kinds == kind).sum()) for kind in range(len(KINDS))] == [2 * 2 * 42 * 5, 2 * 60, 200]


def test_distances_within_a_person_do_not_change_when_the_person_turns() -> None:
    x, valid = clips()
    model = Linear(in_channels=4, num_classes=6, num_joints=5, num_persons=3, view=ALL)
    turned = x.clone()
    turned[:, 0], turned[:, 2] = -x[:, 2], x[:, 0]
    first, second = (model.statistics(each, valid)[0] for each in (x, turned))
    same = model.kinds > 0
    torch.testing.assert_close(first[:, same], second[:, same], rtol=1e-4, atol=1e-4)
    assert (first[:3, ~same] - second[:3, ~same]).abs().max() > 0.1


def test_people_with_axes_that_face_each_other_are_brought_together() -> None:
    """One stands 1 m before the middle and the other 2 m before it, each by their own axes: 3 m apart."""
    x = torch.zeros(1, 3, 4, 1, 2)
    x[:, 2, :, 0, 0], x[:, 2, :, 0, 1] = -1, -2
    x[:, 0, :, 0, 0], x[:, 0, :, 0, 1] = 0.5, -0.5  # to one's left and the other's right: the same side
    view = View(positions=(0, 1, 2), centred=False, facing=True)
    model = Linear(in_channels=3, num_classes=2, num_joints=1, num_persons=2, view=view)
    mean, sd, least, approach = model.statistics(x)[0][0, -4:].tolist()
    assert (mean, least) == (pytest.approx(3), pytest.approx(3))
    assert max(abs(sd), abs(approach)) < 1e-3
    with pytest.raises(ValueError, match="3 people in 3 coordinates, expected two at most in three"):
        Linear(in_channels=3, num_classes=2, num_joints=1, num_persons=3, view=view)


def test_a_card_keeps_what_is_read_and_may_be_older_than_that() -> None:
    assert View.of({"in_channels": 4, **ALL.to_json()}) == ALL
    assert View.of({"in_channels": 4, "positions": [0, 1]}) == View(positions=(0, 1))


@pytest.mark.parametrize("view", [pytest.param(View(positions=(0, 1)), marks=pytest.mark.long), ALL])
def test_it_can_be_exported(view: View) -> None:
    x, valid = clips()
    model = Linear(in_channels=4, num_classes=6, num_joints=5, num_persons=3, view=view).eval()
    for value in (model.mean, model.scale, model.weight, model.bias):
        value.copy_(torch.randn_like(value))
    number = torch.export.Dim("clips", min=2)
    program = torch.export.export(model, (x, valid), dynamic_shapes=({0: number}, {0: number}))
    torch.testing.assert_close(program.module()(x[:3], valid[:3]), model(x[:3], valid[:3]), rtol=1e-4, atol=1e-4)


def test_a_clip_and_its_mirror_image_get_the_same_logits() -> None:
    """Channels 0 and 1 have a second reading in 2 and 3; 4 and 5 are x and y."""
    torch.manual_seed(0)
    view = View(positions=(4, 5), mirror=Mirror(twice=2, joints=(0, 2, 1, 4, 3), negated=(4,)))
    model = Linear(in_channels=6, num_classes=3, num_joints=5, num_persons=2, view=view)
    for value in (model.mean, model.scale, model.weight, model.bias):
        value.copy_(torch.randn_like(value))
    assert model.own == 3 * 4 * 5
    x, valid = torch.randn(3, 6, 7, 5, 2), torch.tensor([[1, 1], [1, 0], [0, 0]], dtype=torch.bool)
    x = x * valid[:, None, None, None]
    seen = torch.cat([x[:, 2:4], x[:, :2], x[:, 4:, :, [0, 2, 1, 4, 3]] * torch.tensor([-1, 1]).view(1, 2, 1, 1, 1)], 1)
    torch.testing.assert_close(model(seen, valid), model(x, valid), rtol=1e-4, atol=1e-4)
    turned = x.clone()
    turned[:, 4] *= -1
    assert not torch.allclose(model(turned, valid)[0], model(x, valid)[0])


def test_a_second_reading_is_not_read_for_itself() -> None:
    model = Linear(in_channels=5, num_classes=3, num_joints=5, num_persons=1, view=View(mirror=Mirror(twice=2)))
    x = torch.randn(2, 5, 7, 5, 1)
    values, _ = model.statistics(x)
    other = x.clone()
    other[:, 2:4] = torch.randn(2, 2, 7, 5, 1)
    torch.testing.assert_close(model.statistics(other)[0], values)
    torch.testing.assert_close(values, parts_over_time(x[:, [0, 1, 4]])[..., 0].flatten(1))
