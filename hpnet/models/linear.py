"""A linear classifier of statistics over time, for data sets of few clips.

What it sees of a clip: the mean, the standard deviation and the mean absolute change from frame to frame of every
channel of every joint. Of several people it takes the mean over them and the range (largest minus smallest), and where
channels are positions also how far the joints of two people are from each other, how near they come and how they
approach. Nothing depends on the order of people. Where the mirror image of a clip is known, everything is the mean over
the clip and its mirror image. Everything is standardised, and one matrix gives the logits.

Axes: N clips, C channels, T frames, V joints, M person slots, D statistics, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

OVER_TIME = 3
"""Statistics of a channel of a joint: mean, standard deviation, mean absolute change."""
OF_DISTANCES = 4
"""Statistics of the distance of two joints: mean, standard deviation, smallest, change along a straight line."""


@dataclass(frozen=True)
class Mirror:
    """How the mirror image of a clip follows from its features.

    Attributes:
        twice: channels 0 to ``twice`` were read in the crop, and the ``twice`` channels after them in the mirrored
            crop, at the joints that have the same names in the mirrored picture.
        joints: for each joint its counterpart on the other side; empty: the mirror image is not looked at.
        negated: channels that change their sign (x of a pose); not among the first ``2 * twice``.
    """

    twice: int = 0
    joints: tuple[int, ...] = ()
    negated: tuple[int, ...] = ()


class Linear(nn.Module):
    """Statistics over time -> logits. Fitted as a whole by :mod:`hpnet.train.linear`; nothing is trained by steps.

    Args:
        in_channels: C.
        num_classes: K.
        num_joints: V.
        num_persons: M.
        positions: the channels that are coordinates, in one unit and with one origin for all people of a clip; none:
            nothing is known of how people stand to each other, beyond the range of every channel.
        people: how many of the M are read, from the first slot on; 0: all.
        mirror: the mirror image of a clip; the second reading of its channels is not read for itself.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_joints: int,
        num_persons: int,
        positions: tuple[int, ...] = (),
        people: int = 0,
        mirror: Mirror = Mirror(),
    ) -> None:
        super().__init__()
        self.sizes = (in_channels, num_joints, num_persons)
        self.mirror = mirror
        self.channels = in_channels - mirror.twice
        self.positions = tuple(channel - mirror.twice for channel in positions)
        self.people = people or num_persons
        self.own = OVER_TIME * self.channels * num_joints
        between = OF_DISTANCES * num_joints**2 if self.positions else 0
        self.shared = 0 if self.people == 1 else self.own + between
        size = self.own + self.shared
        self.feature_dim = num_classes
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.zeros(size))
        self.weight = nn.Parameter(torch.zeros(num_classes, size), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(num_classes), requires_grad=False)

    def statistics(self, x: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What is known of clips and their mirror images, not standardised.

        Args:
            x: (N, C, T, V, M) float.
            valid: (N, M) bool, which people are there; None: all.

        Returns:
            (N, D), zeros where nothing is known, and (N, 2) bool: whether a person is there, which the first ``own``
            columns are of, and whether several are, which the others are of.
        """
        channels, joints, persons = self.sizes
        if x.ndim != 5 or (x.shape[1], x.shape[3], x.shape[4]) != self.sizes:
            raise ValueError(f"input is {tuple(x.shape)}, expected (N, {channels}, T, {joints}, {persons})")
        valid = torch.ones(x.shape[0], persons) if valid is None else valid
        there = valid[:, : self.people].to(x.device, x.dtype)  # (N, M')
        x = x[..., : self.people]
        twice = self.mirror.twice
        values = self._of_one(torch.cat([x[:, :twice], x[:, 2 * twice :]], 1), there)
        if self.mirror.joints:
            values = (values + self._of_one(self._mirrored(x), there)) / 2
        people = there.sum(1)  # (N,)
        return values, torch.stack([people > 0, people > 1], 1)

    def _mirrored(self, x: Tensor) -> Tensor:
        """The channels of the mirror images of clips, (N, C, T, V, M) -> (N, C - twice, T, V, M)."""
        twice = self.mirror.twice
        rest = x[:, 2 * twice :, :, list(self.mirror.joints)]
        if self.mirror.negated:
            signs = torch.ones(rest.shape[1], device=x.device, dtype=x.dtype)
            signs[[channel - 2 * twice for channel in self.mirror.negated]] = -1
            rest = rest * signs.view(1, -1, 1, 1, 1)
        return torch.cat([x[:, twice : 2 * twice], rest], 1)

    def _of_one(self, x: Tensor, there: Tensor) -> Tensor:
        """Statistics (N, D) of channels (N, C', T, V, M') and the people who are there (N, M')."""
        people = there.sum(1)  # (N,)
        x = self._centred(x, there)
        # (N, 3, C, V, M) -> (N, D', M)
        each = over_time(x).flatten(1, 3)
        found = [(each * there[:, None]).sum(2) / people.clamp(min=1)[:, None]]  # (N, D')
        if self.shared:
            several = (people > 1).to(x.dtype)[:, None]  # (N, 1)
            low = each.masked_fill(there[:, None] == 0, torch.inf).amin(2)
            high = each.masked_fill(there[:, None] == 0, -torch.inf).amax(2)
            found.append(torch.where(several > 0, high - low, 0))
            if self.positions:
                found.append(self._between(x, there) * several)
        return torch.cat(found, 1)

    def _centred(self, x: Tensor, there: Tensor) -> Tensor:
        """Positions about the mean of all people, joints and frames of the clip, wherever their origin is."""
        if not self.positions:
            return x
        weight = there[:, None, None, None]  # (N, 1, 1, 1, M)
        total = (x * weight).sum((2, 3, 4), keepdim=True)
        count = (there.sum(1).clamp(min=1) * x.shape[2] * x.shape[3]).view(-1, 1, 1, 1, 1)
        chosen = torch.zeros(x.shape[1], device=x.device, dtype=x.dtype)
        chosen[list(self.positions)] = 1
        return (x - total / count * chosen.view(1, -1, 1, 1, 1)) * weight

    def _between(self, x: Tensor, there: Tensor) -> Tensor:
        """How two people stand to each other, (N, 4 V V): the mean over pairs who are there, in any order."""
        places = x[:, list(self.positions)]  # (N, P, T, V, M)
        joints = x.shape[3]
        rows, columns = torch.triu_indices(joints, joints)
        above = rows != columns
        total = x.new_zeros(x.shape[0], OF_DISTANCES * joints**2)
        pairs = x.new_zeros(x.shape[0], 1)
        for i, j in combinations(range(x.shape[4]), 2):
            # (N, P, T, V, 1) - (N, P, T, 1, V) -> (N, T, V, V)
            apart = (places[..., i, None] - places[..., None, :, j]).square().sum(1).add(1e-12).sqrt()
            mirrored = apart.transpose(2, 3)
            alike = ((apart + mirrored) / 2)[:, :, rows, columns]  # (N, T, V (V + 1) / 2)
            unlike = ((apart - mirrored).abs() / 2)[:, :, rows[above], columns[above]]  # (N, T, V (V - 1) / 2)
            both = (there[:, i] * there[:, j])[:, None]  # (N, 1)
            total = total + of_distances(torch.cat([alike, unlike], 2)) * both
            pairs = pairs + both
        return total / pairs.clamp(min=1)

    def standardised(self, values: Tensor, known: Tensor) -> Tensor:
        """:meth:`statistics` -> (N, D), mean 0 and variance 1 on the clips that it was fitted to; 0 where not known."""
        z = (values - self.mean) * self.scale
        masks = [known[:, :1].expand(-1, self.own), known[:, 1:].expand(-1, self.shared)]
        return z * torch.cat(masks, 1)

    def forward_features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> (N, K), the weighted sums; zeros for a clip of nobody."""
        return self.standardised(*self.statistics(x, valid)) @ self.weight.t()

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> logits (N, K)."""
        return self.forward_features(x, valid) + self.bias


def over_time(x: Tensor) -> Tensor:
    """Mean, standard deviation and mean absolute change from frame to frame: (N, C, T, V, M) -> (N, 3, C, V, M)."""
    mean = x.mean(2)
    sd = (x - mean[:, :, None]).square().mean(2).sqrt()
    change = (x[:, :, 1:] - x[:, :, :-1]).abs().mean(2) if x.shape[2] > 1 else torch.zeros_like(mean)
    return torch.stack([mean, sd, change], 1)


def of_distances(apart: Tensor) -> Tensor:
    """Mean, standard deviation, smallest, and change from first to last frame along the straight line of least squares.

    Args:
        apart: (N, T, Q) distances.

    Returns:
        (N, 4 Q).
    """
    frames = apart.shape[1]
    mean = apart.mean(1)
    sd = (apart - mean[:, None]).square().mean(1).sqrt()
    first = -0.5 if frames > 1 else 0.0
    times = torch.linspace(first, -first, frames, device=apart.device, dtype=apart.dtype)
    slope = (apart * times[:, None]).sum(1) / times.square().sum().clamp(min=1e-12)  # (N, Q) per length of the clip
    return torch.cat([mean, sd, apart.amin(1), slope], 1)
