"""CTR-GCN layer by layer as its paper draws it, for comparison: the subsets one after another, everything float32.

Chen et al., ICCV 2021, Fig. 3 and Eq. (5) to (10), with the order of the published network where the paper leaves it
open: psi and phi act on every frame and are averaged then, every branch of the temporal module has its own 1x1
convolution, every person slot is computed. Written from the paper; takes the weights of :class:`hpnet.models.CTRGCN`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.ctrgcn import CTRGCN, Block, ChannelTopologyGraphConv, SpatialModule, TemporalModule


class PlainSubset(nn.Module):
    """Eq. (5) to (10) for one subset of the graph."""

    def __init__(self, conv: ChannelTopologyGraphConv, subset: int) -> None:
        super().__init__()
        inputs, (_, width, reduced) = conv.transform.in_channels, conv.xi_weight.shape
        self.psi, self.phi = nn.Conv2d(inputs, reduced, 1), nn.Conv2d(inputs, reduced, 1)
        self.transform, self.xi = nn.Conv2d(inputs, width, 1), nn.Conv2d(reduced, width, 1)
        for mine, theirs in ((self.psi, conv.psi), (self.phi, conv.phi), (self.transform, conv.transform)):
            _take(mine, theirs, slice(subset * mine.out_channels, (subset + 1) * mine.out_channels))
        assert self.xi.bias is not None
        _copy(self.xi.weight, conv.xi_weight[subset])
        _copy(self.xi.bias, conv.xi_bias[subset])

    def forward(self, x: Tensor, topology: Tensor, alpha: Tensor) -> Tensor:
        """(P, C, T, V), A (V, V) -> (P, C', T, V)."""
        psi, phi = self.psi(x).mean(2), self.phi(x).mean(2)  # (P, r, V)
        correlation = torch.tanh(psi.unsqueeze(-1) - phi.unsqueeze(-2))  # Eq. (6): (P, r, V, V)
        refined = topology + alpha * self.xi(correlation)  # Eq. (8), (9): (P, C', V, V)
        out: Tensor = torch.einsum("pcij,pctj->pcti", refined, self.transform(x))  # Eq. (5), (10)
        return out


class PlainSpatial(nn.Module):
    """The subsets' sum, batch norm, shortcut."""

    def __init__(self, module: SpatialModule) -> None:
        super().__init__()
        graph = module.graph
        self.subsets = nn.ModuleList(PlainSubset(graph, s) for s in range(graph.subsets))
        self.topology, self.alpha = (
            nn.Parameter(graph.topology.detach().clone()),
            nn.Parameter(graph.alpha.detach().clone()),
        )
        self.norm, self.shortcut = module.norm, module.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', T, V)."""
        total: Tensor | None = None
        for subset, topology in zip(self.subsets, self.topology, strict=True):
            z = subset(x, topology, self.alpha)
            total = z if total is None else total + z
        return torch.relu(self.norm(total) + self.shortcut(x))


class PlainTemporal(nn.Module):
    """Four branches, each with a 1x1 convolution and batch norms of its own, one after another."""

    def __init__(self, module: TemporalModule) -> None:
        super().__init__()
        width, channels, (conv, norm, _) = module.width, module.width * (len(module.dilated) + 2), module.reduce
        heads = []
        for branch in range(len(module.dilated) + 1):
            part = slice(branch * width, (branch + 1) * width)
            head = nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            _take(head[0], conv, part)
            _take(head[1], norm, part)
            heads.append(head)
        tails = [*module.dilated, module.maximum]
        branches = [nn.Sequential(*head, *tail) for head, tail in zip(heads, tails, strict=True)]
        self.branches = nn.ModuleList([*branches, module.point])

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C, ceil(T / stride), V)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class PlainBlock(nn.Module):
    """Spatial module, temporal module, residual connection."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.spatial, self.temporal = PlainSpatial(block.spatial), PlainTemporal(block.temporal)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', ceil(T / stride), V)."""
        y = self.temporal(self.spatial(x))
        return torch.relu(y if self.residual is None else y + self.residual(x))


class PlainCTRGCN(nn.Module):
    """The whole network; takes over ``model``'s weights (and modules, so give it a model of its own)."""

    def __init__(self, model: CTRGCN) -> None:
        super().__init__()
        persons, size = model.norm.weight.shape
        self.norm = nn.BatchNorm1d(persons * size)
        for name in ("weight", "bias", "running_mean", "running_var"):
            _copy(getattr(self.norm, name), getattr(model.norm, name))
        self.blocks = nn.Sequential(*(PlainBlock(block) for block in model.blocks))  # type: ignore[arg-type]
        self.classifier = model.classifier

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> logits (N, K)."""
        clips, channels, frames, joints, persons = x.shape
        # (N, C, T, V, M) -> (N, M, V, C, T) -> (N, M V C, T)
        flat = x.permute(0, 4, 3, 1, 2).reshape(clips, persons * joints * channels, frames)
        normed = self.norm(flat).view(clips * persons, joints, channels, frames)
        y = self.blocks(normed.permute(0, 2, 3, 1).contiguous())  # (N M, V, C, T) -> (N M, C, T, V)
        logits: Tensor = self.classifier(y.view(clips, persons, y.shape[1], -1).mean((1, 3)))
        return logits


def _take(mine: nn.Module, theirs: nn.Module, part: slice) -> None:
    """Copy the rows ``part`` of every tensor of a layer."""
    for name, value in {**dict(mine.named_parameters()), **dict(mine.named_buffers())}.items():
        source = getattr(theirs, name)
        _copy(value, source[part] if source.ndim else source)


def _copy(mine: Tensor, theirs: Tensor) -> None:
    with torch.no_grad():
        mine.copy_(theirs.reshape(mine.shape))
