"""Fusion rules: the released TRMM and FiLM to the number, TRMM as printed against a loop, starts near no change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from hpnet.models import FUSIONS
from hpnet.models.trmm import CrossAttention, FiLM, PrintedTRMM, ReleasedTRMM, build_fusion
from tests import golden

PARITY = Path(__file__).resolve().parents[3] / "shared" / "data" / "parity"
RULES = [("trmm", "pooled"), ("trmm", "text"), ("film", "pooled"), ("cross_attention", "pooled")]
RELEASED = pytest.mark.parametrize(("name", "module"), [("trmm", ReleasedTRMM), ("film", FiLM)])


def released_output(name: str, module: type[nn.Module]) -> NDArray[np.float32]:
    """What our form of a released rule gives for the released seeded weights and inputs."""
    rule = module(512, 768)
    rule.load_state_dict(golden.released_state(name))
    with torch.no_grad():
        return rule(golden.seeded_input(78, (3, 31, 512)), golden.seeded_input(79, (3, 768))).numpy()


@RELEASED
def test_released_forms_agree_to_the_number(name: str, module: type[nn.Module]) -> None:
    expected = golden.load(name)
    found = released_output(name, module).reshape(-1)[expected["where"]]
    np.testing.assert_allclose(found, expected["values"], rtol=0, atol=1e-4)


@pytest.mark.skipif(not PARITY.is_dir(), reason="the released outputs are not beside this checkout")
@RELEASED
def test_released_forms_agree_in_every_number(name: str, module: type[nn.Module]) -> None:
    with np.load(PARITY / f"{name}_seed1.npz") as file:
        np.testing.assert_allclose(released_output(name, module), file["out"], rtol=0, atol=1e-4)


def test_printed_form_is_equations_7_to_9() -> None:
    torch.manual_seed(0)
    rule = PrintedTRMM(4, 6)
    text, condition = torch.randn(2, 3, 4), torch.randn(2, 6)

    def project(layers: nn.Module, n: int) -> list[float]:
        first, second, _ = layers  # type: ignore[misc]
        return torch.relu(second(first(condition[n]))).tolist()

    with torch.no_grad():
        found = rule(text, condition)
        for n in range(2):
            scale, shift = project(rule.scale, n), project(rule.shift, n)
            rows, columns = project(rule.rows, n), project(rule.columns, n)
            for d in range(4):
                eta = np.mean([np.tanh(rows[d] - columns[e]) * float(condition[n, e]) for e in range(6)])
                for k in range(3):
                    expected = scale[d] * float(text[n, k, d]) + shift[d] + eta
                    assert float(found[n, k, d]) == pytest.approx(expected, abs=1e-5)


def test_film_is_scale_and_shift() -> None:
    torch.manual_seed(3)
    rule = FiLM(4, 6)
    text, condition = torch.randn(2, 3, 4), torch.randn(2, 6)
    with torch.no_grad():
        found, gamma, beta = rule(text, condition), rule.fc_gamma(condition), rule.fc_beta(condition)
    for n, k, d in np.ndindex(2, 3, 4):
        expected = float(gamma[n, d]) * float(text[n, k, d]) + float(beta[n, d])
        assert float(found[n, k, d]) == pytest.approx(expected, abs=1e-6)


def test_released_form_is_film_and_a_mixture_of_the_texts_channels() -> None:
    torch.manual_seed(4)
    rule, film = ReleasedTRMM(4, 6), FiLM(4, 6)
    film.load_state_dict({key: value for key, value in rule.state_dict().items() if key in film.state_dict()})
    text, condition = 5 * torch.randn(2, 3, 4), torch.randn(2, 6)
    with torch.no_grad():
        refined = rule(text, condition) - film(text, condition)
        rows, columns = rule.fc1(text).mean(1).numpy(), rule.fc2(text).mean(1).numpy()
    for n, k, i in np.ndindex(2, 3, 4):
        expected = sum(np.tanh(rows[n, i] - columns[n, j]) * float(text[n, k, j]) for j in range(4))
        assert float(refined[n, k, i]) == pytest.approx(expected, abs=1e-5)


def test_last_layers_start_at_a_tenth() -> None:
    torch.manual_seed(5)
    usual = 1 / 32**0.5  # torch's bound of a linear layer's uniform start
    first, second = FiLM(32, 48).fc_gamma
    assert float(first.weight.detach().abs().max()) == pytest.approx(1 / 48**0.5, rel=0.05)
    for parameter in (second.weight, second.bias):
        assert 0.07 * usual < float(parameter.detach().abs().max()) <= 0.1 * usual


def test_what_cross_attention_answers_depends_on_what_each_text_asks() -> None:
    torch.manual_seed(6)
    rule = build_fusion("cross_attention", text_dim=8, condition_dim=7, num_joints=5)
    assert isinstance(rule, CrossAttention)
    text, condition = torch.randn(2, 3, 8), torch.randn(2, 5, 7)
    change = rule(text, condition)
    assert not torch.allclose(change[:, :1], change[:, 1:], rtol=0, atol=1e-3)
    change.square().sum().backward()
    parameters = dict(rule.named_parameters())
    idle = {name for name, p in parameters.items() if p.grad is None or float(p.grad.abs().max()) < 1e-6}
    assert not idle
    key_bias = parameters["attention.in_proj_bias"].grad[8:16]  # type: ignore[index]
    assert float(key_bias.abs().max()) < 1e-6  # a softmax does not see what is added to all of its terms


def test_cross_attention_by_loops() -> None:
    torch.manual_seed(7)
    rule = CrossAttention(8, 6, 4, heads=2)
    text, condition = torch.randn(2, 3, 8), torch.randn(2, 4, 6)
    attention = rule.attention
    query_bias, key_bias, value_bias = attention.in_proj_bias.chunk(3)
    with torch.no_grad():
        found = rule(text, condition)
        query = rule.norm(text) @ attention.q_proj_weight.T + query_bias
        key = (rule.joint_norm(condition) + rule.joint_embedding) @ attention.k_proj_weight.T + key_bias
        value = condition @ attention.v_proj_weight.T + value_bias
        for n, k in np.ndindex(2, 3):
            heads = []
            for part in (slice(0, 4), slice(4, 8)):
                weights = torch.stack([query[n, k, part] @ key[n, v, part] / 2 for v in range(4)]).softmax(0)
                heads.append(sum(weights[v] * value[n, v, part] for v in range(4)))
            expected = attention.out_proj(torch.cat(heads))
            torch.testing.assert_close(found[n, k], expected, rtol=1e-4, atol=1e-5)


def test_cross_attention_refuses_a_single_joint() -> None:
    with pytest.raises(ValueError, match="needs joints to choose from, but there is 1: use film or trmm"):
        CrossAttention(8, 6, 1)
    assert CrossAttention(8, 6, 2)(torch.ones(1, 3, 8), torch.ones(1, 2, 6)).shape == (1, 3, 8)


def test_which_joint_it_is_starts_as_a_fiftieth_of_what_it_shows() -> None:
    torch.manual_seed(8)
    assert float(CrossAttention(8, 300, 17).joint_embedding.detach().std()) == pytest.approx(0.02, rel=0.1)


def condition_of(name: str, clips: int, channels: int) -> torch.Tensor:
    """F_c, for cross-attention before its mean over five joints."""
    return torch.randn(clips, 5, channels) if name == "cross_attention" else torch.randn(clips, channels)


def test_printed_projections_are_four_and_end_in_relu() -> None:
    rule = PrintedTRMM(8, 24)
    projections = [rule.scale, rule.shift, rule.rows, rule.columns]
    assert len({id(p) for layers in projections for p in layers.parameters()}) == 16
    for layers in projections:
        assert [type(m).__name__ for m in layers] == ["Linear", "Linear", "ReLU"]


@pytest.mark.parametrize(("name", "refine"), RULES)
def test_start_is_close_to_no_change_and_learns(name: str, refine: str) -> None:
    torch.manual_seed(1)
    rule = build_fusion(name, text_dim=32, condition_dim=48, num_joints=5, refine=refine)
    assert rule is not None
    text = torch.nn.functional.normalize(torch.randn(5, 7, 32), dim=-1) * 32**0.5
    condition = condition_of(name, 5, 48).relu()
    change = rule(text, condition)
    assert change.shape == text.shape
    assert float(change.detach().norm() / text.norm()) < 0.35
    assert not torch.allclose(change[0], change[1])
    change.square().sum().backward()
    gradients = [p.grad for p in rule.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0


@pytest.mark.parametrize(("name", "refine"), RULES)
def test_clips_do_not_mix(name: str, refine: str) -> None:
    torch.manual_seed(2)
    rule = build_fusion(name, text_dim=32, condition_dim=12, num_joints=5, refine=refine)
    assert rule is not None
    text, condition = torch.randn(4, 2, 32), condition_of(name, 4, 12)
    with torch.no_grad():
        together = rule(text, condition)
        alone = torch.cat([rule(text[i : i + 1], condition[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_names() -> None:
    assert set(FUSIONS) == {"trmm", "film", "cross_attention", "none"}
    assert build_fusion("none", text_dim=8, condition_dim=8, num_joints=5) is None
    with pytest.raises(ValueError, match=r"'trm'.*trmm, film, cross_attention, none"):
        build_fusion("trm", text_dim=8, condition_dim=8, num_joints=5)
    with pytest.raises(ValueError, match=r"'both'.*pooled, text"):
        build_fusion("trmm", text_dim=8, condition_dim=8, num_joints=5, refine="both")
