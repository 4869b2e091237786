"""TRMM and the fusion rules that Table XII compares it with: label-text features, changed by pooled features.

Every rule is a module ``rule(text, condition) -> change`` whose result is *added* to the text features:
F'_text = F_text + rule(F_text, F_c) (HP-Net, Eq. 7). Cross-attention alone sees F_c before its mean over joints. Axes:
N clips, K classes, V joints, D text channels, E condition channels.
Every rule starts close to no change at all: the last layer of each projection starts ``START`` times as large as usual,
so that training begins from what the video-text model knows and the change is learned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..core.choices import load
from . import FUSIONS

START = 0.1


def refine_pooled(rows: Tensor, columns: Tensor, condition: Tensor) -> Tensor:
    """Eq. (9) with line 7 of Algorithm 1: tanh of an outer difference, multiplied with F_c.

    The paper prints [P3(F_c) - P4(F_c)] o F_c and Algorithm 1 makes the difference a matrix,
    tanh(P3(F_c).unsqueeze(-1) - P4(F_c).unsqueeze(-2)), without its sizes. It fits F_text when P3 has the D channels
    of the text and P4 the E channels of F_c: the (D, E) matrix times F_c elementwise, broadcast over D, and the mean
    over E leaves one vector of D channels that is added to every class.

    Args:
        rows: P3(F_c), (N, D).
        columns: P4(F_c), (N, E).
        condition: F_c, (N, E).

    Returns:
        (N, D).
    """
    relation = torch.tanh(rows.unsqueeze(-1) - columns.unsqueeze(-2))  # (N, D, E)
    return torch.einsum("nde,ne->nd", relation, condition) / condition.shape[1]


def refine_text(rows: Tensor, columns: Tensor, text: Tensor) -> Tensor:
    """The released refinement: channels of the text mixed by the tanh of an outer difference.

    Args:
        rows, columns: projections of the text, averaged over classes, (N, D) each.
        text: (N, K, D).

    Returns:
        (N, K, D).
    """
    relation = torch.tanh(rows.unsqueeze(-1) - columns.unsqueeze(-2))  # (N, D, D)
    return torch.einsum("nij,nkj->nki", relation, text)


class FiLM(nn.Module):
    """Feature-wise linear modulation (Perez et al., AAAI 2018): gamma * text + beta, both linear in the condition.

    Added to the text it is the usual (1 + gamma) * text + beta. Parameter names and outputs are the released ones.
    """

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.fc_gamma = _two_linears(condition_dim, text_dim)
        self.fc_beta = _two_linears(condition_dim, text_dim)

    def forward(self, text: Tensor, condition: Tensor) -> Tensor:
        """(N, K, D), (N, E) -> (N, K, D)."""
        gamma = self.fc_gamma(condition).unsqueeze(1)  # (N, 1, D)
        beta = self.fc_beta(condition).unsqueeze(1)  # (N, 1, D)
        change: Tensor = gamma * text + beta
        return change


class ReleasedTRMM(nn.Module):
    """TRMM as the authors released it (``refine: text``): FiLM, plus a refinement of the text by itself."""

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.fc_gamma = _two_linears(condition_dim, text_dim)
        self.fc_beta = _two_linears(condition_dim, text_dim)
        self.fc1 = _two_linears(text_dim, text_dim, nn.ReLU())
        self.fc2 = _two_linears(text_dim, text_dim, nn.ReLU())

    def forward(self, text: Tensor, condition: Tensor) -> Tensor:
        """(N, K, D), (N, E) -> (N, K, D)."""
        gamma = self.fc_gamma(condition).unsqueeze(1)  # (N, 1, D)
        beta = self.fc_beta(condition).unsqueeze(1)  # (N, 1, D)
        rows, columns = self.fc1(text).mean(1), self.fc2(text).mean(1)  # (N, D) each
        change: Tensor = gamma * text + beta + refine_text(rows, columns, text)
        return change


class PrintedTRMM(nn.Module):
    """TRMM as printed (``refine: pooled``): Eq. (7) to (9), four independent projections P1 to P4 of F_c.

    Each projection is two linear layers followed by a ReLU. See :func:`refine_pooled` for the sizes of P3 and P4.
    """

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.scale = _two_linears(condition_dim, text_dim, nn.ReLU())  # P1
        self.shift = _two_linears(condition_dim, text_dim, nn.ReLU())  # P2
        self.rows = _two_linears(condition_dim, text_dim, nn.ReLU())  # P3
        self.columns = _two_linears(condition_dim, condition_dim, nn.ReLU())  # P4

    def forward(self, text: Tensor, condition: Tensor) -> Tensor:
        """(N, K, D), (N, E) -> (N, K, D)."""
        # Eq. (8): psi = P1(F_c) F_text + P2(F_c)
        psi = self.scale(condition).unsqueeze(1) * text + self.shift(condition).unsqueeze(1)  # (N, K, D)
        eta = refine_pooled(self.rows(condition), self.columns(condition), condition)  # (N, D), Eq. (9)
        change: Tensor = psi + eta.unsqueeze(1)
        return change


class CrossAttention(nn.Module):
    """Label texts ask, the joints answer: multi-head attention (Vaswani et al., 2017) of K queries over V joints.

    The paper does not say what its keys are. F_c alone would be one key, and its weight would always be 1.

    Args:
        num_joints: V, at least 2; which of them a key is, it is told by a learned vector.
        heads: attention heads; D is a multiple.
    """

    def __init__(self, text_dim: int, condition_dim: int, num_joints: int, heads: int = 4) -> None:
        super().__init__()
        if num_joints < 2:
            raise ValueError(
                f"cross-attention needs joints to choose from, but there is {num_joints}: use film or trmm"
            )
        self.norm = nn.LayerNorm(text_dim)
        self.joint_norm = nn.LayerNorm(condition_dim, bias=False)
        self.joint_embedding = nn.Parameter(torch.empty(num_joints, condition_dim).normal_(std=0.02))
        self.attention = nn.MultiheadAttention(
            text_dim, heads, kdim=condition_dim, vdim=condition_dim, batch_first=True
        )
        with torch.no_grad():
            self.attention.out_proj.weight.mul_(START)

    def forward(self, text: Tensor, condition: Tensor) -> Tensor:
        """(N, K, D), F_c before its mean over joints (N, V, E) -> (N, K, D)."""
        keys = self.joint_norm(condition) + self.joint_embedding
        change: Tensor = self.attention(self.norm(text), keys, condition, need_weights=False)[0]
        return change


def trmm(text_dim: int, condition_dim: int, num_joints: int, refine: str) -> nn.Module:
    """TRMM, as printed or as released."""
    forms: dict[str, Callable[[int, int], nn.Module]] = {"pooled": PrintedTRMM, "text": ReleasedTRMM}
    if refine not in forms:
        raise ValueError(f"unknown refine {refine!r}: choose from {', '.join(forms)}")
    return forms[refine](text_dim, condition_dim)


def film(text_dim: int, condition_dim: int, num_joints: int, refine: str) -> nn.Module:
    """Scale and shift."""
    return FiLM(text_dim, condition_dim)


def cross_attention(text_dim: int, condition_dim: int, num_joints: int, refine: str) -> nn.Module:
    """Text looks at the joints."""
    return CrossAttention(text_dim, condition_dim, num_joints)


def none(text_dim: int, condition_dim: int, num_joints: int, refine: str) -> None:
    """The text as it is."""
    return


def build_fusion(
    name: str, *, text_dim: int, condition_dim: int, num_joints: int, refine: str = "pooled"
) -> nn.Module | None:
    """A fusion rule by name; ``none`` is None, the text as it is.

    Args:
        text_dim: D.
        condition_dim: E.
        num_joints: V.
        refine: form of TRMM, ``pooled`` as printed or ``text`` as released.

    Raises:
        ValueError: an unknown name or form (lists the choices), or cross-attention over a single joint.
    """
    make = load(FUSIONS, name, "fusion")
    fusion: nn.Module | None = make(text_dim, condition_dim, num_joints, refine)
    return fusion


def _two_linears(inputs: int, outputs: int, *activation: nn.Module) -> nn.Sequential:
    """A projection layer: two linears, then the activation; the second starts small (see the module's text)."""
    first, second = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
    with torch.no_grad():
        second.weight.mul_(START)
        second.bias.mul_(START)
    return nn.Sequential(first, second, *activation)
