"""Statistics over time of the joints of a clip, in the whole and in parts of it. Pure functions.

Axes: N clips, C channels, T frames, V joints, M person slots, P parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

OVER_TIME = 3
"""Statistics of a channel of a joint: mean, standard deviation, mean absolute change."""
OF_DISTANCES = 2
"""Statistics of the distance of two joints in a part of the clip: mean, standard deviation."""
OF_WHOLE = 2
"""Those of the whole clip alone: smallest, change along a straight line."""
AT_REST = 0.3
"""How fast the clock of motion runs where nothing moves, as a share of its mean rate by motion."""


def parts_over_time(x: Tensor, parts: tuple[int, ...] = (1,)) -> Tensor:
    """Mean, standard deviation and mean absolute change from frame to frame in each part of the clip.

    Args:
        x: (N, C, T, V, M).
        parts: for each number so many equal parts, one after the other; 1: the whole.

    Returns:
        (N, 3 P, C, V, M), P the sum of ``parts``: the means of all parts, then the deviations, then the changes.
    """
    middle = x.mean(2)
    about = x - middle[:, :, None]
    shares = shares_of_parts(x, x.shape[2], parts)  # (T, P)
    means = torch.einsum("nctvm,tp->npcvm", about, shares)
    squares = torch.einsum("nctvm,tp->npcvm", about.square(), shares)
    sd = (squares - means.square()).clamp(min=0).sqrt()
    if x.shape[2] > 1:
        steps = (x[:, :, 1:] - x[:, :, :-1]).abs()
        change = torch.einsum("nctvm,tp->npcvm", steps, shares_of_parts(x, x.shape[2] - 1, parts))
    else:
        change = torch.zeros_like(means)
    return torch.cat([means + middle[:, None], sd, change], 1)


def areas(x: Tensor, planes: tuple[tuple[int, int], ...], parts: tuple[int, ...] = (1,)) -> Tensor:
    """Twice the signed area that every joint sweeps about its mean place, in each plane and part of the clip.

    A circle and the same circle the other way round have opposite areas, and means, deviations and changes that are the
    same.

    Args:
        x: (N, C, T, V, M).
        planes: Q pairs of channels.

    Returns:
        (N, P, Q, V, M); positive from the first channel towards the second.
    """
    first, second = [pair[0] for pair in planes], [pair[1] for pair in planes]
    about = x - x.mean(2, keepdim=True)
    step, middle = about[:, :, 1:] - about[:, :, :-1], (about[:, :, 1:] + about[:, :, :-1]) / 2
    swept = middle[:, first] * step[:, second] - middle[:, second] * step[:, first]  # (N, Q, T - 1, V, M)
    frames = swept.shape[2]
    counts = [frames / part for part in parts for _ in range(part)]
    weights = shares_of_parts(x, frames, parts) * torch.tensor(counts, dtype=x.dtype, device=x.device)
    return torch.einsum("nqtvm,tp->npqvm", swept, weights)


def of_distances(apart: Tensor, parts: tuple[int, ...] = (1,)) -> Tensor:
    """Mean and standard deviation in each part; smallest, and change from first to last frame along the straight line
    of least squares, in the whole.

    Args:
        apart: (N, T, Q) distances.

    Returns:
        (N, (2 P + 2) Q).
    """
    frames = apart.shape[1]
    shares = shares_of_parts(apart, frames, parts)  # (T, P)
    middle = apart.mean(1)
    about = apart - middle[:, None]
    means = torch.einsum("ntq,tp->npq", about, shares)
    squares = torch.einsum("ntq,tp->npq", about.square(), shares)
    sd = (squares - means.square()).clamp(min=0).sqrt()
    first = -0.5 if frames > 1 else 0.0
    times = torch.linspace(first, -first, frames, device=apart.device, dtype=apart.dtype)
    slope = (about * times[:, None]).sum(1) / times.square().sum().clamp(min=1e-12)  # (N, Q) per length of the clip
    return torch.cat([(means + middle[:, None]).flatten(1), sd.flatten(1), apart.amin(1), slope], 1)


def by_motion(x: Tensor) -> Tensor:
    """Each clip at as many times as it has frames, between which the joints move equally far: (N, C, T, V, M) -> same.

    Who waits before acting, or acts slowly, then looks like who does not. The clock advances from frame to frame by how
    far all joints of all people move, and by :data:`AT_REST` of its mean, so that it never stops; between frames
    features are interpolated. (For 3-D joints this is the arc length of the body's path.)
    """
    frames = x.shape[2]
    if frames < 3:
        return x
    moved = (x[:, :, 1:] - x[:, :, :-1]).square().sum(1).sqrt().sum((2, 3))  # (N, T - 1)
    pace = moved + AT_REST * moved.mean(1, keepdim=True) + 1e-6
    clock = torch.cat([torch.zeros_like(pace[:, :1]), (pace / pace.sum(1, keepdim=True)).cumsum(1)], 1)  # (N, T)
    pace = clock[:, 1:] - clock[:, :-1]
    wanted = torch.linspace(0, 1, frames, dtype=x.dtype, device=x.device)
    since = wanted[:, None] - clock[:, None]  # (N, T', T)
    one = torch.ones_like(since[:, :, :1])
    rising = torch.cat([one, 1 + since[:, :, 1:] / pace[:, None]], 2)
    falling = torch.cat([1 - since[:, :, :-1] / pace[:, None], one], 2)
    weights = torch.minimum(rising, falling).clamp(0, 1)  # (N, T', T), linear between two frames
    return torch.einsum("nctvm,nst->ncsvm", x, weights)


def shares_of_parts(like: Tensor, frames: int, parts: tuple[int, ...]) -> Tensor:
    """(T, P): the weight of every frame in the mean of each part; a frame on a border belongs to both sides in shares.

    Args:
        like: gives type and device.
    """
    columns = []
    for count in parts:
        length = frames / count
        for part in range(count):
            start, stop = part * length, (part + 1) * length
            columns.append([max(0.0, min(stop, t + 1) - max(start, t)) / length for t in range(frames)])
    return torch.tensor(columns, dtype=like.dtype, device=like.device).t()
