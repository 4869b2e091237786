"""A linear classifier of statistics over time, for data sets of few clips.

What it sees of a clip: the mean, the standard deviation and the mean absolute change from frame to frame of every
channel of every joint, of the whole clip and, where asked, of parts of it, at even times or at even amounts of motion;
the areas that joints circle, and how far the joints of a person are from each other. Of several people it takes the
mean over them and the range (largest minus smallest), and where channels are positions also how far the joints of two
people are from each other, how near they come and how they approach. Nothing depends on the order of people. Where the
mirror image of a clip is known, everything is the mean over the clip and its mirror image. Everything is standardised,
and one matrix gives the logits.

Axes: N clips, C channels, T frames, V joints, M person slots, P parts, D statistics, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from itertools import combinations, combinations_with_replacement
from typing import Any

import torch
from torch import Tensor, nn

from .over_time import OF_DISTANCES, OF_WHOLE, OVER_TIME, areas, by_motion, of_distances, parts_over_time

KINDS = ("movement", "distances", "between")
"""What statistics are of: channels of joints, distances within a person, distances between two people."""


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


@dataclass(frozen=True)
class View:
    """What is read of a clip.

    Attributes:
        positions: the channels that are coordinates, in one unit and with one origin for all people of a clip; none:
            nothing is known of how people stand to each other, beyond the range of every channel.
        centred: positions are taken about the mean of all people, joints and frames of the clip, because their origin
            says nothing, such as a corner of the picture.
        people: how many of the M are read, from the first slot on; 0: all.
        parts: for each number a clip is cut into so many equal parts; 1: the whole.
        clocks: ``time``, ``motion`` (:func:`hpnet.models.over_time.by_motion`), or both, one after the other.
        planes: pairs of channels in which the areas count that joints circle.
        distances: also how far the joints of a person are from each other, at the last clock.
        facing: two people have axes of their own that face each other: what is (x, y, z) to one is (-x, y, -z) to the
            other.
        mirror: the mirror image of a clip; the second reading of its channels is not read for itself.
    """

    positions: tuple[int, ...] = ()
    centred: bool = True
    people: int = 0
    parts: tuple[int, ...] = (1,)
    clocks: tuple[str, ...] = ("time",)
    planes: tuple[tuple[int, int], ...] = ()
    distances: bool = False
    facing: bool = False
    mirror: Mirror = Mirror()

    @classmethod
    def of(cls, sizes: dict[str, Any]) -> View:
        """From a card, which may be of a time that knew less."""
        plain = {field.name: sizes[field.name] for field in fields(cls) if field.name in sizes}
        for name in ("positions", "parts", "clocks"):
            if name in plain:
                plain[name] = tuple(plain[name])
        plain["planes"] = tuple((int(first), int(second)) for first, second in plain.get("planes", ()))
        known = plain.get("mirror") or {"twice": 0, "joints": (), "negated": ()}
        plain["mirror"] = Mirror(int(known["twice"]), tuple(known["joints"]), tuple(known["negated"]))
        return cls(**plain)

    def to_json(self) -> dict[str, Any]:
        """For a card; the inverse of :meth:`of`."""
        return {**asdict(self), "planes": [list(pair) for pair in self.planes]}

    @property
    def per_channel(self) -> int:
        """Statistics of a channel of a joint, areas aside."""
        return OVER_TIME * sum(self.parts) * len(self.clocks)

    @property
    def per_plane(self) -> int:
        """Areas of a joint in a plane."""
        return sum(self.parts) * len(self.clocks)

    @property
    def per_limb(self) -> int:
        """Statistics of the distance of two joints of a person; 0 where it is not read."""
        return OF_DISTANCES * sum(self.parts) if self.distances and self.positions else 0

    @property
    def per_pair(self) -> int:
        """Statistics of the distance of two joints of two people; 0 where their places are not known."""
        return OF_DISTANCES * sum(self.parts) + OF_WHOLE if self.positions else 0


class Linear(nn.Module):
    """Statistics over time -> logits. Fitted as a whole by :mod:`hpnet.train.linear`; nothing is trained by steps.

    Args:
        in_channels: C.
        num_classes: K.
        num_joints: V.
        num_persons: M.
        view: what is read of a clip.

    Attributes:
        channels: how many are read, without second readings.
        positions, planes: as in the view, counted among those.
        own: how many statistics are of a person by themselves.
        shared: how many are of several people; 0 where one is read.
        kinds: (D,) the place in :data:`KINDS` of every statistic.

    Raises:
        ValueError: people that face each other, but not two of them in three coordinates.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, *, in_channels: int, num_classes: int, num_joints: int, num_persons: int, view: View | None = None
    ) -> None:
        super().__init__()
        self.sizes = (in_channels, num_joints, num_persons)
        self.view = view = view or View()
        self.people = view.people or num_persons
        if view.facing and view.positions and (len(view.positions) != 3 or num_persons > 2):
            raise ValueError(
                f"{num_persons} people in {len(view.positions)} coordinates, expected two at most in three: others "
                "cannot face each other"
            )
        twice = view.mirror.twice
        self.channels = in_channels - twice
        self.positions = tuple(channel - twice for channel in view.positions)
        self.planes = tuple((first - twice, second - twice) for first, second in view.planes)
        moving = (view.per_channel * self.channels + view.per_plane * len(view.planes)) * num_joints
        self.own = moving + view.per_limb * (num_joints * (num_joints - 1) // 2)
        self.shared = 0 if self.people == 1 else self.own + view.per_pair * num_joints**2
        size = self.own + self.shared
        self.kinds = torch.zeros(size, dtype=torch.int64)
        self.kinds[moving : self.own] = self.kinds[self.own + moving : 2 * self.own] = KINDS.index("distances")
        self.kinds[2 * self.own :] = KINDS.index("between")
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
        twice = self.view.mirror.twice
        values = self._of_one(torch.cat([x[:, :twice], x[:, 2 * twice :]], 1), there)
        if self.view.mirror.joints:
            values = (values + self._of_one(self._mirrored(x), there)) / 2
        people = there.sum(1)  # (N,)
        return values, torch.stack([people > 0, people > 1], 1)

    def _mirrored(self, x: Tensor) -> Tensor:
        """The channels of the mirror images of clips, (N, C, T, V, M) -> (N, C - twice, T, V, M)."""
        twice = self.view.mirror.twice
        rest = x[:, 2 * twice :, :, list(self.view.mirror.joints)]
        if self.view.mirror.negated:
            signs = torch.ones(rest.shape[1], device=x.device, dtype=x.dtype)
            signs[[channel - 2 * twice for channel in self.view.mirror.negated]] = -1
            rest = rest * signs.view(1, -1, 1, 1, 1)
        return torch.cat([x[:, twice : 2 * twice], rest], 1)

    def _of_one(self, x: Tensor, there: Tensor) -> Tensor:
        """Statistics (N, D) of channels (N, C', T, V, M') and the people who are there (N, M')."""
        people = there.sum(1)  # (N,)
        x = self._centred(x, there)
        each = self._of_each(x)
        found = [(each * there[:, None]).sum(2) / people.clamp(min=1)[:, None]]  # (N, D')
        if self.shared:
            several = (people > 1).to(x.dtype)[:, None]  # (N, 1)
            low = each.masked_fill(there[:, None] == 0, torch.inf).amin(2)
            high = each.masked_fill(there[:, None] == 0, -torch.inf).amax(2)
            found.append(torch.where(several > 0, high - low, 0))
            if self.positions:
                found.append(self._between(x, there) * several)
        return torch.cat(found, 1)

    def _of_each(self, x: Tensor) -> Tensor:
        """Of every person by themselves, (N, D', M): statistics of all clocks, areas of all clocks, distances."""
        view = self.view
        clocks = [by_motion(x) if clock == "motion" else x for clock in view.clocks]
        # (N, S, C, V, M) -> (N, D', M)
        found = [parts_over_time(each, view.parts).flatten(1, 3) for each in clocks]
        if self.planes:
            found += [areas(each, self.planes, view.parts).flatten(1, 3) for each in clocks]
        if view.per_limb:
            places = clocks[-1][:, list(self.positions)]  # (N, X, T, V, M)
            rows, columns = _pairs(combinations(range(self.sizes[1]), 2))
            apart = (places[:, :, :, rows] - places[:, :, :, columns]).square().sum(1, keepdim=True).add(1e-12).sqrt()
            # (N, 1, T, Q, M) -> (N, S, 1, Q, M) -> (N, S Q, M), of S without the changes
            found.append(parts_over_time(apart, view.parts)[:, : view.per_limb].flatten(1, 3))
        return torch.cat(found, 1)

    def _centred(self, x: Tensor, there: Tensor) -> Tensor:
        """Positions about the mean of all people, joints and frames of the clip; zeros where nobody is there."""
        weight = there[:, None, None, None]  # (N, 1, 1, 1, M)
        if not self.positions or not self.view.centred:
            return x * weight
        total = (x * weight).sum((2, 3, 4), keepdim=True)
        count = (there.sum(1).clamp(min=1) * x.shape[2] * x.shape[3]).view(-1, 1, 1, 1, 1)
        chosen = torch.zeros(x.shape[1], device=x.device, dtype=x.dtype)
        chosen[list(self.positions)] = 1
        return (x - total / count * chosen.view(1, -1, 1, 1, 1)) * weight

    def _between(self, x: Tensor, there: Tensor) -> Tensor:
        """How two people stand to each other, (N, S V V): the mean over pairs who are there, in any order."""
        view = self.view
        places = x[:, list(self.positions)]  # (N, X, T, V, M)
        if view.facing:
            turn = torch.tensor([-1, 1, -1], dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
            places = torch.stack([places[..., 0], *[turn * other for other in places[..., 1:].unbind(-1)]], -1)
        joints = self.sizes[1]
        rows, columns = _pairs(combinations_with_replacement(range(joints), 2))
        lower, upper = _pairs(combinations(range(joints), 2))
        total = x.new_zeros(x.shape[0], view.per_pair * joints**2)
        pairs = x.new_zeros(x.shape[0], 1)
        for i, j in combinations(range(x.shape[4]), 2):
            # (N, X, T, V, 1) - (N, X, T, 1, V) -> (N, T, V, V)
            apart = (places[..., i, None] - places[..., None, :, j]).square().sum(1).add(1e-12).sqrt()
            mirrored = apart.transpose(2, 3)
            alike = ((apart + mirrored) / 2)[:, :, rows, columns]  # (N, T, V (V + 1) / 2)
            unlike = ((apart - mirrored).abs() / 2)[:, :, lower, upper]  # (N, T, V (V - 1) / 2)
            both = (there[:, i] * there[:, j])[:, None]  # (N, 1)
            total = total + of_distances(torch.cat([alike, unlike], 2), view.parts) * both
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


def _pairs(of_joints: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The first joints of pairs, and the second ones."""
    found = list(of_joints)
    return [first for first, _ in found], [second for _, second in found]
