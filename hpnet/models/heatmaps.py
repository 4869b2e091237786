"""Table X's baselines: images made of joint heatmaps, and convolutional networks that see them.

Heatmap volume: Duan, Zhao, Chen, Lin and Dai, "Revisiting Skeleton-based Action Recognition" (PoseConv3D), CVPR 2022.
Heatmap evolution: Liu and Yuan, "Recognizing Human Actions as the Evolution of Pose Estimation Maps", CVPR 2018.

Both take 2-D keypoints (x, y, score) and draw the heatmaps themselves, so that what is stored stays small. Axes:
N clips, T frames, V joints, M people, H rows and W columns of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.skeleton import Skeleton
from .classifier import initialise
from .persons import all_valid

CHANNELS = 3
"""Of a keypoint: x, y, score."""
PADDING = 0.25
"""Free space around the people, as a share of their square (PoseConv3D's cropping)."""
CLASSIFIER_SD = 0.01
"""Of a new classifier's weights, as in VGG and PoseConv3D."""


# --- from keypoints to images: pure functions -------------------------------------------------------------------------


@dataclass(frozen=True)
class Square:
    """A square for every clip around all that its people do: left upper corner (N, 2) and side (N,)."""

    corner: Tensor
    side: Tensor


def enclosing_square(keypoints: Tensor, valid: Tensor) -> Square:
    """The square around every valid, scored keypoint of a clip, in the keypoints' own unit; the unit square for nobody.

    Args:
        keypoints: (N, 3, T, V, M): x, y, score.
        valid: (N, M) bool.
    """
    seen = (keypoints[:, 2] > 0) & valid[:, None, None, :]  # (N, T, V, M)
    place = keypoints[:, :2]  # (N, 2, T, V, M)
    low = place.masked_fill(~seen.unsqueeze(1), torch.inf).flatten(2).amin(2)  # (N, 2)
    high = place.masked_fill(~seen.unsqueeze(1), -torch.inf).flatten(2).amax(2)
    anyone = seen.flatten(1).any(1)  # (N,)
    low = torch.where(anyone[:, None], low, torch.zeros_like(low))
    high = torch.where(anyone[:, None], high, torch.ones_like(high))
    side = (high - low).amax(1).clamp(min=1e-3) * (1 + PADDING)  # (N,)
    return Square((low + high) / 2 - side[:, None] / 2, side)


def heatmap_volume(keypoints: Tensor, valid: Tensor, *, size: int = 64, sigma: float = 0.6) -> Tensor:
    """Gaussians at the keypoints, times their scores; the maximum over people: PoseConv3D, Eq. (1).

    Args:
        keypoints: (N, 3, T, V, M): x, y (any unit; see :func:`enclosing_square`), score.
        valid: (N, M) bool; others are not drawn.
        size: side of a map, cells.
        sigma: of the Gaussian, cells.

    Returns:
        (N, V, T, size, size), 0 to the greatest score.
    """
    square = enclosing_square(keypoints, valid)
    corner, side = square.corner[:, :, None, None, None], square.side[:, None, None, None, None]
    place = (keypoints[:, :2] - corner) / side * (size - 1)  # (N, 2, T, V, M), cells
    score = keypoints[:, 2].clamp(min=0) * valid[:, None, None, :]  # (N, T, V, M)
    cells = torch.arange(size, device=keypoints.device, dtype=keypoints.dtype)
    # a Gaussian in the plane is the product of one along x and one along y: (N, 2, T, V, M, size)
    bell = torch.exp(-((cells - place.unsqueeze(-1)) ** 2) / (2 * sigma**2))
    clips, _, frames, joints, _ = keypoints.shape
    volume = keypoints.new_zeros(clips, frames, joints, size, size)
    for person in range(keypoints.shape[4]):
        columns, rows = bell[:, 0, :, :, person], bell[:, 1, :, :, person]  # (N, T, V, W), (N, T, V, H)
        drawn = (score[..., person, None] * rows).unsqueeze(4) * columns.unsqueeze(3)  # (N, T, V, H, W)
        volume = torch.maximum(volume, drawn)
    return volume.transpose(1, 2)  # (N, T, V, H, W) -> (N, V, T, H, W)


def rank_pooling_weights(length: int) -> Tensor:
    """Weights (L,) of approximate rank pooling: Bilen et al., "Dynamic Image Networks", CVPR 2016, section 2.

    alpha_t = 2 (L - t + 1) - (L + 1) (H_L - H_{t-1}), H_t being the t-th harmonic number: the gradient step that
    makes the means of longer prefixes rank higher.
    """
    harmonic = torch.cat([torch.zeros(1, dtype=torch.float64), (1 / torch.arange(1, length + 1).double()).cumsum(0)])
    t = torch.arange(1, length + 1)
    return (2 * (length - t + 1) - (length + 1) * (harmonic[length] - harmonic[t - 1])).float()


def evolution_image(volume: Tensor) -> Tensor:
    """Spatial rank pooling of the body's heatmap, frame by frame; the frames side by side are the evolution image.

    Sparse maps are pooled along space, not time: down the rows (what is left is a profile along x) and across the
    columns (a profile along y), so that the order in time stays visible as one axis of the image.

    Args:
        volume: (N, V, T, H, W), H = W.

    Returns:
        (N, 2, H, T): profiles along x and y, scaled to a largest absolute value of 1 in every clip.
    """
    body = volume.mean(1)  # (N, T, H, W): the body as a whole, not its parts
    weights = rank_pooling_weights(body.shape[3]).to(body)
    along_x, along_y = weights @ body, body @ weights  # (N, T, W), (N, T, H)
    image = torch.stack([along_x, along_y], dim=1).transpose(2, 3)  # (N, 2, T, H) -> (N, 2, H, T)
    return image / image.flatten(1).abs().amax(1).clamp(min=1e-6)[:, None, None, None]


# --- the networks -----------------------------------------------------------------------------------------------------


class KeypointClassifier(nn.Module):
    """Keypoints -> ``draw`` -> ``encode`` -> linear classifier; all people of a clip are in one image.

    The interface is the topology networks': (N, 3, T, V, M) and a mask to (N, K). Keypoints must come as they are: raw
    (not standardised), joints (not bones or motion).

    Raises:
        ValueError: ``in_channels`` is not 3.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_persons: int,
        skeleton: Skeleton,
        feature_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if in_channels != CHANNELS:
            raise ValueError(
                f"heatmap networks draw keypoints (x, y, score), but the features have {in_channels} channels: "
                f"set pool.kind to 'pose2d'"
            )
        self.sizes = (CHANNELS, skeleton.num_joints, num_persons)
        self.feature_dim = feature_dim
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(feature_dim, num_classes)

    def draw(self, keypoints: Tensor, valid: Tensor) -> Tensor:
        """(N, 3, T, V, M), mask (N, M) -> what ``encode`` sees."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        """What ``draw`` gave -> (N, D)."""
        raise NotImplementedError

    def forward_features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, 3, T, V, M), mask (N, M) or None for all -> (N, D), zeros for a clip of nobody."""
        channels, joints, persons = self.sizes
        if x.ndim != 5 or (x.shape[1], x.shape[3], x.shape[4]) != self.sizes:
            raise ValueError(f"input is {tuple(x.shape)}, expected (N, {channels}, T, {joints}, {persons})")
        if valid is None:
            return self.encode(self.draw(x, all_valid(x)))
        valid = valid.to(x.device)
        somebody = valid.any(1)  # (N,)
        features = x.new_zeros(len(x), self.feature_dim)
        if not somebody.any():
            return features
        encoded = self.encode(self.draw(x[somebody], valid[somebody]))
        return features.index_put((somebody,), encoded.to(features.dtype))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, 3, T, V, M), mask (N, M) or None -> logits (N, K)."""
        logits: Tensor = self.classifier(self.dropout(self.forward_features(x, valid)))
        return logits


class Bottleneck(nn.Module):
    """A residual bottleneck of SlowOnly: 1x1x1 (3x1x1 where time is seen), 1x3x3, 1x1x1 to four times the width."""

    def __init__(self, in_channels: int, width: int, kernel_frames: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        out_channels = 4 * width
        self.body = nn.Sequential(
            nn.Conv3d(in_channels, width, (kernel_frames, 1, 1), padding=(kernel_frames // 2, 0, 0), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, width, (1, 3, 3), stride, (0, 1, 1), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, out_channels, 1, bias=False),
            nn.BatchNorm3d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels or stride != (1, 1, 1):
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm3d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 4 width, T', H', W')."""
        return torch.relu(self.body(x) + self.shortcut(x))


class HeatmapVolume(KeypointClassifier):
    """PoseConv3D: a shallow, narrow SlowOnly-R50 on (V, T, H, W) volumes.

    Published: width 32, stages of 4, 6 and 3 bottlenecks, time seen from the second stage on, 48 frames, 2.0 M
    parameters; 20.6 G operations with maps of 64 x 64 cells. base_channels 64 and blocks 10 give that: 20.4 G
    multiply-accumulates of convolutions, and 15.6 G at the 56 x 56 of PoseConv3D's training.

    Args:
        base_channels: twice the width of the first convolution.
        blocks: 10 for the published depth; fewer thin every stage out in proportion.
        size: side of a map, cells.
    """

    depths = (4, 6, 3)

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_persons: int,
        skeleton: Skeleton,
        base_channels: int = 64,
        blocks: int = 10,
        dropout: float = 0.0,
        size: int = 64,
    ) -> None:
        width = base_channels // 2
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            num_persons=num_persons,
            skeleton=skeleton,
            feature_dim=4 * width * 2 ** (len(self.depths) - 1),
            dropout=dropout,
        )
        self.size = size
        self.stem = nn.Sequential(
            nn.Conv3d(skeleton.num_joints, width, (1, 7, 7), padding=(0, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.MaxPool3d((1, 3, 3), 1, (0, 1, 1)),
        )
        layers: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(_thinned(self.depths, blocks)):
            last = stage == len(self.depths) - 1
            for number in range(depth):
                stride = (1, 1, 1) if number else (2 if last else 1, 2, 2)
                layers.append(Bottleneck(channels, width * 2**stage, 3 if stage else 1, stride))
                channels = 4 * width * 2**stage
        self.stages = nn.Sequential(*layers)
        initialise(self, CLASSIFIER_SD)

    def draw(self, keypoints: Tensor, valid: Tensor) -> Tensor:
        """(N, 3, T, V, M), mask (N, M) -> (N, V, T, H, W)."""
        return heatmap_volume(keypoints, valid, size=self.size)

    def encode(self, images: Tensor) -> Tensor:
        """(N, V, T, H, W) -> (N, D)."""
        encoded: Tensor = self.stages(self.stem(images)).mean((2, 3, 4))
        return encoded


class HeatmapEvolution(KeypointClassifier):
    """A VGG-19 (Simonyan and Zisserman, ICLR 2015) with batch norm on evolution images of 224 x 224.

    With 120 classes it has Table X's 140.1 M parameters and 19.6 G multiply-accumulates; the backbone is inferred from
    these two numbers. Liu and Yuan's second image, of joint coordinates, is no heatmap and left out.

    Args:
        base_channels: width of the first convolution; all others follow.
        blocks: 10 for the published depth; fewer thin every stage out in proportion.
        size: side of a map before pooling, cells.
        image_size: side of the network's input, a multiple of 32.
    """

    depths = (2, 2, 4, 4, 4)
    factors = (1, 2, 4, 8, 8)

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_persons: int,
        skeleton: Skeleton,
        base_channels: int = 64,
        blocks: int = 10,
        dropout: float = 0.0,
        size: int = 56,
        image_size: int = 224,
    ) -> None:
        hidden = 64 * base_channels
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            num_persons=num_persons,
            skeleton=skeleton,
            feature_dim=hidden,
            dropout=dropout,
        )
        cells, rest = divmod(image_size, 2 ** len(self.depths))
        if rest or not cells:
            raise ValueError(f"image_size is {image_size}, expected a multiple of {2 ** len(self.depths)}")
        self.size, self.image_size = size, image_size
        layers: list[nn.Module] = []
        channels = 2
        for depth, factor in zip(_thinned(self.depths, blocks), self.factors, strict=True):
            for _ in range(depth):
                width = base_channels * factor
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.Linear(channels * cells**2, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        for module in self.hidden:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        initialise(self, CLASSIFIER_SD)

    def draw(self, keypoints: Tensor, valid: Tensor) -> Tensor:
        """(N, 3, T, V, M), mask (N, M) -> (N, 2, image_size, image_size): y is space, x is time."""
        image = evolution_image(heatmap_volume(keypoints, valid, size=self.size))
        return F.interpolate(image, size=(self.image_size, self.image_size), mode="bilinear", align_corners=False)

    def encode(self, images: Tensor) -> Tensor:
        """(N, 2, H, W) -> (N, D)."""
        encoded: Tensor = self.hidden(self.convolutions(images).flatten(1))
        return encoded


def _thinned(depths: tuple[int, ...], blocks: int) -> list[int]:
    """Stage depths for ``blocks`` out of 10, at least one each."""
    return [max(1, round(depth * blocks / 10)) for depth in depths]
