"""Training of the packaged X-CLIP from scratch on rendered scenes and their captions, by contrast.

Videos are cut as the detect stage cuts person frames: one square around all people for the whole clip. A small vision
transformer that learns only from captions stays at chance for very long. So two helper tasks guide it during training:
the joints in each patch, and the words of the caption. The helpers are not kept.

Axes: N clips, F frames, M people, R stored pixels, S pixels of the network, G patches a side, L tokens, K texts.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from transformers import XCLIPModel

from ..core.allocator import tune_allocator
from ..core.device import resolve_device
from ..core.geometry import square_around, union_box
from ..core.skeleton import COCO17
from ..models.xclip import LOGIT_SCALE_MAX, VideoEncoder, reduced_config
from ..train.averaging import moving_average, remembering
from ..train.batches import endless_batches
from ..train.text import text_features, tokenize, train_tokenizer
from ..train.xclip import PACKAGED, load_xclip, save_xclip
from .card import Training, device_name, write_card
from .scenes import SceneShard
from .steps import Job, Scenes, Settings, train_steps

SETTINGS = Settings("X-CLIP", steps=2000, batch=48, lr=2e-3, weight_decay=0.05, betas=(0.9, 0.98), clip_norm=1.0)
AVERAGE = remembering(0.999, 200)
PADDING = 1.1
"""Of the square around the people, as in the detect stage."""
ROOM = 1.3
"""Side of a stored square in units of the square that the network sees: room to move and scale it."""

_COLOURS = "red|orange|yellow|green|blue|purple|pink|brown|black|white|grey"
_CLOTHES = (
    r"(?: in a [\w ]+? (?:shirt|top)| wearing a [\w ]+? shirt and \w+ trousers| in \w+ trousers"
    r"| dressed in [\w ]+? and \w+)"
)
_ONE = re.compile(rf"(?:a video of |in a room |we see )?(?:a person|somebody|someone){_CLOTHES}?(?: is)? (\w+ing\b.*)")
_TWO = re.compile(
    rf"(?:two people|two persons|a person{_CLOTHES} and a person{_CLOTHES})(?: are)? "
    r"(\w+ing\b.*(?:each other|together).*)"
)
_SWAP = {"left": "right", "right": "left"}


# --- captions ---------------------------------------------------------------------------------------------------------


def mirrored(caption: str) -> str:
    """The caption of the mirror image: left and right change places."""
    return re.sub(r"\b(left|right)\b", lambda found: _SWAP[found.group()], caption)


def action_caption(caption: str) -> str | None:
    """What is done, without who wears what, colours and hands: 'a person is lifting a dumbbell'.

    None for a caption that does not tell of one action (several people on their own, nobody).
    """
    for pattern, subject in ((_TWO, "two people are"), (_ONE, "a person is")):
        found = pattern.fullmatch(caption)
        if found and not re.search(r"\b(person|somebody|someone)\b", found.group(1)):
            phrase = re.sub(rf"\b(?:{_COLOURS}) ", "", found.group(1))
            phrase = re.sub(r" (?:with|in) (?:the (?:left|right) hand|both hands)\b", "", phrase)
            return f"{subject} {phrase}"
    return None


def _forms(caption: str) -> list[str]:
    """The caption and its mirror image's, whole and cut down to the action (whole again where it tells none)."""
    whole = [caption, mirrored(caption)]
    return whole + [action_caption(text) or text for text in whole]


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CaptionedVideos:
    """Square videos with captions.

    Attributes:
        frames: (N, F, R, R, 3) uint8 RGB; the network sees the middle R / ROOM of it, give or take.
        captions: N.
        joints: (N, F, M, 17, 2) float32, x and y in the stored square, -1 to 1 from edge to edge; NaN: not visible.
    """

    frames: NDArray[np.uint8]
    captions: tuple[str, ...]
    joints: NDArray[np.float32]


def load_videos(shards: Sequence[SceneShard], *, frames: int, size: int, threads: int = 8) -> CaptionedVideos:
    """Decode ``frames`` frames, uniform in time, of every scene and cut the square around its people.

    Args:
        size: R, stored pixels.
    """
    jobs = [(shard, scene) for shard in shards for scene in range(len(shard))]
    if not jobs:
        raise ValueError("load_videos: no scenes")
    cut = np.empty((len(jobs), frames, size, size, 3), dtype=np.uint8)
    people = max(shard.keypoints_px(scene).shape[1] for shard, scene in jobs)
    joints = np.full((len(jobs), frames, people, len(COCO17.joints), 2), np.nan, dtype=np.float32)

    def load(position: int) -> None:
        shard, scene = jobs[position]
        which = ((np.arange(frames) + 0.5) * shard.shape[0] / frames).astype(int).tolist()
        square = stored_square(shard.boxes_xyxy_px(scene), (shard.shape[2], shard.shape[1]))
        cut[position] = cut_squares(shard.frames(scene, which), square, size)
        found = shard.keypoints_px(scene)[which]  # (F, m, 17, 2)
        placed = 2 * (found - np.array(square[:2])) / square[2] - 1
        joints[position, :, : found.shape[1]] = np.where(shard.visible(scene)[which][..., None], placed, np.nan)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(load, range(len(jobs))))
    return CaptionedVideos(cut, tuple(shard.captions[scene] for shard, scene in jobs), joints)


def stored_square(boxes_xyxy_px: NDArray[np.float32], frame_size_px: tuple[int, int]) -> tuple[float, float, float]:
    """The square (x, y, side; pixels) to store: around all people (T, M, 4) of a clip, or the frame without people."""
    boxes = np.nan_to_num(boxes_xyxy_px.reshape(-1, 4))
    width, height = frame_size_px
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]
    if not len(boxes):
        return square_around(np.array([0, 0, width, height], dtype=np.float32), padding=ROOM)
    return square_around(union_box(boxes), padding=PADDING * ROOM)


def cut_squares(frames: NDArray[np.uint8], square_px: tuple[float, float, float], size: int) -> NDArray[np.uint8]:
    """Cut one square (x, y, side) out of frames (F, H, W, 3) and scale it: (F, size, size, 3), black outside."""
    x, y, side = square_px
    scale = size / side
    affine = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]], dtype=np.float64)
    # warpAffine has no area filter: shrink by halves first, so that thin things do not vanish.
    while scale < 0.5 and min(frames.shape[1:3]) > 1:
        frames = np.stack([cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in frames])
        affine[:, :2] *= 2
        scale *= 2
    return np.stack([cv2.warpAffine(f, affine, (size, size), flags=cv2.INTER_LINEAR) for f in frames]).astype(np.uint8)


# --- augmentation -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """Where the network's square lies in the stored one, (N,) each: stored = zoom * seen + shift, both in -1..1.

    A negative ``zoom_x`` mirrors.
    """

    zoom_x: Tensor
    zoom_y: Tensor
    shift_x: Tensor
    shift_y: Tensor


def random_placement(flipped: Tensor, generator: torch.Generator) -> Placement:
    """A random scale and shift around the square that the detect stage would cut; ``flipped`` (N,) bool mirrors."""
    draw = torch.rand(3, len(flipped), generator=generator)
    zoom = torch.exp(math.log(0.8) + draw[0] * math.log(1.25 / 0.8)) / ROOM
    shift_x, shift_y = 0.2 * draw[1:] - 0.1
    return Placement(torch.where(flipped, -zoom, zoom), zoom, shift_x, shift_y)


def augment(videos: Tensor, size: int, placement: Placement, generator: torch.Generator) -> Tensor:
    """The placed squares with random colour, blur and noise, each clip on its own and the same in all its frames.

    Args:
        videos: (N, F, R, R, 3) uint8.
        size: S.
        generator: on the CPU, so that the same seed gives the same choices on every device.

    Returns:
        (N, F, 3, S, S) float32 in 0..255.
    """
    count, device = len(videos), videos.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, generator=generator) * (high - low) + low).to(device)

    drawn = _crop(videos, size, placement)
    # (N, F, 3, S, S), every choice (N, 1, 1, 1, 1) or (N, 1, 3, 1, 1)
    mean = drawn.mean((1, 2, 3, 4), keepdim=True)
    grey = drawn.mean(2, keepdim=True)
    drawn = grey + (drawn - grey) * uniform(0.5, 1.4, 1, 1, 1, 1)
    drawn = mean + (drawn - mean) * uniform(0.6, 1.3, 1, 1, 1, 1)
    drawn = drawn * uniform(0.6, 1.35, 1, 1, 1, 1) * uniform(0.92, 1.08, 1, 3, 1, 1)
    soft = F.avg_pool2d(drawn.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(drawn)
    drawn = torch.where(uniform(0, 1, 1, 1, 1, 1) < 0.25, soft, drawn)
    strength = uniform(0, 12, 1, 1, 1, 1) * (uniform(0, 1, 1, 1, 1, 1) < 0.3)
    # Noise must not depend on the device either, but a picture of it per batch is enough.
    noise = torch.randn(3, size, size, generator=generator).to(device)
    return (drawn + strength * noise).clamp(0, 255)


def centre_crop(videos: Tensor, size: int) -> Tensor:
    """What the detect stage would have cut: (N, F, R, R, 3) uint8 -> (N, F, 3, S, S) float32 in 0..255."""
    zoom = torch.full((len(videos),), 1 / ROOM)
    return _crop(videos, size, Placement(zoom, zoom, torch.zeros_like(zoom), torch.zeros_like(zoom)))


def _crop(videos: Tensor, size: int, placement: Placement) -> Tensor:
    """Sample the placed squares of (N, F, R, R, 3) uint8; black outside."""
    count, frames = videos.shape[:2]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = placement.zoom_x, placement.shift_x
    theta[:, 1, 1], theta[:, 1, 2] = placement.zoom_y, placement.shift_y
    theta = theta.repeat_interleave(frames, 0).to(videos.device)
    # (N, F, R, R, 3) -> (N F, 3, R, R)
    flat = videos.flatten(0, 1).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, [len(flat), 3, size, size], align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).view(count, frames, 3, size, size)


def joints_in_patches(joints: Tensor, placement: Placement, side: int) -> Tensor:
    """Which joints lie in which patch of the placed square.

    Args:
        joints: (N, F, M, 17, 2), see :class:`CaptionedVideos`.
        side: G.

    Returns:
        (N, F, G * G, 17) float32 on the joints' device, 1 where anybody's joint is; left and right change places in
        mirrored clips.
    """
    zoom = torch.stack([placement.zoom_x, placement.zoom_y], -1)[:, None, None, None]
    shift = torch.stack([placement.shift_x, placement.shift_y], -1)[:, None, None, None]
    mirror = torch.tensor(COCO17.mirror)
    flipped = (placement.zoom_x < 0).to(joints.device)
    swapped = torch.where(flipped[:, None, None, None, None], joints[:, :, :, mirror], joints)
    cell = ((swapped - shift.to(joints.device)) / zoom.to(joints.device) + 1) / 2 * side  # (N, F, M, 17, 2)
    inside = ((cell >= 0) & (cell < side)).all(-1)  # false for NaN
    x, y = cell.nan_to_num(0).clamp(0, side - 1).long().unbind(-1)  # (N, F, M, 17)
    targets = torch.zeros(*joints.shape[:2], side * side, joints.shape[3], device=joints.device)
    # for every joint j of every person m: targets[n, f, y * side + x, j] = 1 where it is inside
    return targets.scatter_reduce_(2, y * side + x, inside.float(), "amax")


# --- loss and quality -------------------------------------------------------------------------------------------------


def contrastive_loss(scores: Tensor, owner: Tensor) -> Tensor:
    """Symmetric InfoNCE in which the videos of one text are all its positives.

    Args:
        scores: (N, K) scaled cosines of N videos and K different texts.
        owner: (N,) the text of each video.
    """
    to_text = F.cross_entropy(scores, owner)
    positives = F.one_hot(owner, scores.shape[1]).t().to(scores.dtype)  # (K, N)
    to_video = F.cross_entropy(scores.t(), positives / positives.sum(1, keepdim=True).clamp(min=1))
    return (to_text + to_video) / 2


class Helpers(torch.nn.Module):
    """The two helping tasks: joints of each patch token, words of the caption from F_u. Not part of the saved network.

    Args:
        word_weight: (vocabulary,) how much a word tells; see :meth:`_CaptionTable.word_weight`.
    """

    word_weight: Tensor

    def __init__(self, width: int, dim: int, word_weight: Tensor) -> None:
        super().__init__()
        self.joints = torch.nn.Linear(width, len(COCO17.joints))
        self.words = torch.nn.Linear(dim, len(word_weight))
        self.register_buffer("word_weight", word_weight)

    def forward(self, tokens: Tensor, video: Tensor, joints: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Sum of both losses.

        Args:
            tokens: (N, F, L, H).
            video: F_u, (N, D).
            joints: (N, F, L, 17), see :func:`joints_in_patches`.
            ids, mask: of the captions, (N, L').
        """
        # A joint is in about one patch of L, so that both answers weigh about the same.
        weight = torch.tensor(tokens.shape[2] / 4, device=tokens.device)
        found = F.binary_cross_entropy_with_logits(self.joints(tokens).float(), joints, pos_weight=weight)
        words = torch.zeros(len(ids), len(self.word_weight), device=ids.device).scatter_(1, ids, mask.float())
        words = words * self.word_weight
        words = words / words.sum(1, keepdim=True).clamp(min=1e-6)
        told = -(words * F.log_softmax(self.words(video).float(), 1)).sum(1).mean()
        return found + told


def initialise(model: Any) -> None:
    """Start a small network so that it knows places: sine and cosine positions, as large as the patches' own values.

    transformers' start (positions of sd 0.02, MIT's of sd 1) makes all places alike and all clips alike.
    """
    vision = model.vision_model.embeddings
    side = math.isqrt(vision.num_patches)
    quarter = vision.embed_dim // 4
    rates = torch.pi / 2 ** torch.linspace(0, 4, quarter).flip(0)  # half a wave over 16 ... over 1 patch
    steps = torch.arange(side).float()[:, None] * rates  # (G, quarter)
    waves = torch.cat([steps.sin(), steps.cos()], 1)  # (G, half)
    rows = waves[:, None].expand(-1, side, -1)
    columns = waves[None].expand(side, -1, -1)
    with torch.no_grad():
        vision.position_embedding.weight[1:] = 0.5 * torch.cat([rows, columns], -1).flatten(0, 1)
        model.mit.position_embedding.mul_(0.1)


def score_videos(model: Any, encoder: VideoEncoder, videos: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """exp(s) * cos of videos (N, F, 3, S, S) and texts (K, L), with video-specific prompts: (N, K).

    Args:
        encoder: the video side of ``model``.
    """
    video, patches = encoder(videos)
    return encoder.similarity(video, encoder.prompt(text_features(model, ids, mask), patches))


@torch.inference_mode()
def retrieval(model: Any, tokenizer: Tokenizer, data: CaptionedVideos, *, batch: int = 64) -> dict[str, float]:
    """Quality on held-out scenes, all shares 0..1 with their chance beside them.

    ``text_to_video`` and ``video_to_text``: R@1 among scenes of different captions. ``action``: the right one among all
    :func:`action_caption` of the scenes that tell one. At most 512 scenes each.
    """
    first: dict[str, int] = {}
    for i, caption in enumerate(data.captions):
        first.setdefault(caption, i)
    chosen = np.array(list(first.values())[:512])
    scores = _scores(model, tokenizer, data.frames[chosen], [data.captions[i] for i in chosen], batch)
    own = np.arange(len(chosen))
    quality = {
        "text_to_video_r1": float((scores.argmax(0) == own).mean()),
        "video_to_text_r1": float((scores.argmax(1) == own).mean()),
        "retrieval_chance": 1 / len(chosen),
    }
    told = [(i, action) for i, caption in enumerate(data.captions) if (action := action_caption(caption))][:512]
    if told:
        names = sorted({action for _, action in told})
        truth = np.array([names.index(action) for _, action in told])
        found = _scores(model, tokenizer, data.frames[[i for i, _ in told]], names, batch).argmax(1)
        quality |= {"action_top1": float((found == truth).mean()), "action_chance": 1 / len(names)}
    return quality


def _scores(
    model: Any, tokenizer: Tokenizer, frames: NDArray[np.uint8], texts: Sequence[str], batch: int
) -> NDArray[np.float32]:
    model.eval()
    size, device = int(model.config.vision_config.image_size), model.device
    encoder = VideoEncoder(model.config, model=model).to(device)
    ids, mask = (t.to(device) for t in tokenize(tokenizer, texts, _longest(model)))
    parts = []
    for start in range(0, len(frames), batch):
        videos = centre_crop(torch.from_numpy(frames[start : start + batch]).to(device), size)
        parts.append(score_videos(model, encoder, videos, ids, mask).float().cpu().numpy())
    return np.concatenate(parts)


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shares:
    """What a step teaches besides whole captions.

    Attributes:
        action: share of captions that are cut down to their action; see :func:`action_caption`.
        help: weight of the helping tasks, see :class:`Helpers`.
    """

    action: float = 0.5
    help: float = 1.0


def train_xclip(
    out: Path,
    scenes: Scenes,
    settings: Settings = SETTINGS,
    job: Job | None = None,
    shares: Shares | None = None,
    vocab_size: int = 1000,
    sizes: dict[str, int] | None = None,
) -> Training:
    """Train mannequin-xclip from scratch; write ``mannequin-xclip/`` (weights, config, tokenizer, card) into ``out``.

    All videos are held on the device as bytes: 0.6 MB a clip at 8 frames of 160 pixels.

    Args:
        scenes: of which the network takes as many frames as it has places for.
        sizes: of :func:`hpnet.models.xclip.reduced_config`.

    Returns:
        What the card says; its quality is that of the saved float16 weights.

    Raises:
        ValueError: a caption is too long.
        RuntimeError: the loss is no longer finite.
    """
    job = job or Job()
    began = time.monotonic()
    place = resolve_device(job.device)
    tune_allocator()
    torch.manual_seed(job.seed)
    captions = [caption for shard in scenes.train for caption in shard.captions]
    tokenizer = train_tokenizer({text for caption in captions for text in _forms(caption)}, vocab_size)
    config = reduced_config(vocab_size=tokenizer.get_vocab_size(), **(sizes or {}))
    size, frames = int(config.vision_config.image_size), int(config.vision_config.num_frames)
    stored = stored_pixels(size)
    data = load_videos(scenes.train, frames=frames, size=stored)
    model: Any = XCLIPModel(config)
    initialise(model)
    model.to(place)
    average = moving_average(model, AVERAGE, buffers=False)
    average.module.eval()
    fit_captions(model, average, tokenizer, data, settings, job, shares or Shares())
    folder = out / PACKAGED
    weights = save_xclip(folder, average.module, tokenizer)
    seconds = time.monotonic() - began
    checkpoint = load_xclip(str(folder))
    held_out = load_videos(scenes.validation, frames=frames, size=stored)
    training = Training(
        name=PACKAGED,
        command=job.command,
        data=scenes.described(),
        steps=settings.steps,
        seed=job.seed,
        seconds=seconds,
        device=device_name(place),
        quality=retrieval(checkpoint.model.to(place), tokenizer, held_out),
        parameters=sum(p.numel() for p in model.parameters()),
    )
    write_card(folder / "card.json", weights, training)
    return training


def fit_captions(
    model: Any,
    average: AveragedModel,
    tokenizer: Tokenizer,
    data: CaptionedVideos,
    settings: Settings,
    job: Job,
    shares: Shares,
) -> list[float]:
    """Train on captions, in bfloat16 on a GPU; ``average`` becomes the moving average of ``model``.

    Returns:
        The contrastive loss every ten steps.
    """
    generator = torch.Generator().manual_seed(job.seed)
    device, size = model.device, int(model.config.vision_config.image_size)
    encoder = VideoEncoder(model.config, model=model).to(device)
    side = size // int(model.config.vision_config.patch_size)
    texts = _CaptionTable(tokenizer, data.captions, _longest(model))
    videos, joints = torch.from_numpy(data.frames).to(device), torch.from_numpy(data.joints).to(device)
    width, dim = int(model.config.vision_config.hidden_size), encoder.text_dim
    helpers = Helpers(width, dim, texts.word_weight(tokenizer.get_vocab_size())).to(device)

    def loss_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        flipped = torch.rand(len(rows), generator=generator) < 0.5
        short = torch.rand(len(rows), generator=generator) < shares.action
        ids, mask, owner = (t.to(device) for t in texts.of(rows, flipped, short))
        placement = random_placement(flipped, generator)
        targets = joints_in_patches(joints[rows.to(device)], placement, side)
        inputs = augment(videos[rows.to(device)], size, placement, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            vectors, tokens = encoder.see(inputs)
            video, patches = encoder.integrate(vectors, tokens)
            scores = encoder.similarity(video, encoder.prompt(text_features(model, ids, mask), patches))
            helping = helpers(tokens, video, targets, ids[owner], mask[owner])
        contrast = contrastive_loss(scores, owner)
        return contrast + shares.help * helping, contrast

    @torch.no_grad()
    def bound_scale() -> None:
        model.logit_scale.clamp_(max=math.log(LOGIT_SCALE_MAX))

    model.train()
    rows = endless_batches(len(videos), settings.batch, generator, repeat=False)
    return train_steps([model, helpers], average, loss_of, rows, settings, job, bound_scale)


def stored_pixels(size: int) -> int:
    """R for an image size S: a little more than S * ROOM, so that zooming in loses nothing much."""
    return math.ceil(size * ROOM * 1.1 / 8) * 8


class _CaptionTable:
    """Every caption's four forms (whole or action alone, mirrored or not), tokenised once."""

    def __init__(self, tokenizer: Tokenizer, captions: Sequence[str], max_tokens: int) -> None:
        forms = [_forms(caption) for caption in captions]
        unique = sorted({text for row in forms for text in row})
        number = {text: i for i, text in enumerate(unique)}
        self.ids, self.mask = tokenize(tokenizer, unique, max_tokens)
        self.numbers = torch.tensor([[number[text] for text in row] for row in forms])  # (N, 4)

    def word_weight(self, vocabulary: int) -> Tensor:
        """(vocabulary,): minus the log of the share of captions that have a token; special tokens and unused ones 0."""
        words = torch.zeros(len(self.ids), vocabulary).scatter_(1, self.ids, self.mask.float())
        share = words[self.numbers[:, 0]].mean(0)
        weight = torch.where(share > 0, -share.clamp(min=1e-4).log(), torch.zeros_like(share))
        weight[-2:] = 0
        return weight

    def of(self, rows: Tensor, flipped: Tensor, short: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids (K, L) and mask (K, L) of the batch's different texts, and which of them each row has (n,)."""
        chosen = self.numbers[rows, flipped.long() + 2 * short.long()]
        unique, owner = torch.unique(chosen, return_inverse=True)
        return self.ids[unique], self.mask[unique], owner


def _longest(model: Any) -> int:
    return int(model.config.text_config.max_position_embeddings)
