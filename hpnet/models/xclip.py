"""X-CLIP's video side, on transformers' classes.

Ni et al., "Expanding Language-Image Pretrained Models for General Video Recognition", ECCV 2022. Frames pass a vision
transformer whose layers exchange one message token per frame; a multi-frame integration transformer (MIT) makes one
vector of them: F_u of HP-Net, Eq. (10). The prompt generator fits label texts to the video at hand.
Axes: N clips, F frames, S pixels, L patches, K texts, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import XCLIPConfig, XCLIPModel

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_SD = (0.229, 0.224, 0.225)
LOGIT_SCALE_MAX = 100.0

VIDEO_PARTS = (
    "vision_model", "visual_projection", "mit", "prompts_visual_layernorm", "prompts_visual_projection",
    "prompts_generator", "logit_scale",
)  # fmt: skip
"""The parts of transformers' ``XCLIPModel`` besides its text encoder; :class:`VideoEncoder` keeps their names."""


def reduced_config(
    *,
    vocab_size: int,
    image_size: int = 80,
    patch_size: int = 16,
    frames: int = 4,
    width: int = 96,
    layers: int = 4,
    text_width: int = 64,
    text_layers: int = 2,
    text_length: int = 77,
) -> XCLIPConfig:
    """An X-CLIP of the packaged size: 1.1 million parameters. Heads are 32 channels wide."""
    return XCLIPConfig(
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": text_width,
            "intermediate_size": 4 * text_width,
            "num_hidden_layers": text_layers,
            "num_attention_heads": text_width // 32,
            "max_position_embeddings": text_length,
            "bos_token_id": vocab_size - 2,
            "eos_token_id": vocab_size - 1,
            "pad_token_id": vocab_size - 1,
        },
        vision_config={
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 32,
            "mit_hidden_size": width,
            "mit_intermediate_size": 4 * width,
            "mit_num_hidden_layers": 1,
            "mit_num_attention_heads": width // 32,
            "image_size": image_size,
            "patch_size": patch_size,
            "num_frames": frames,
        },
        projection_dim=width,
        prompt_layers=1,
        prompt_num_attention_heads=width // 32,
    )


def with_frames(config: XCLIPConfig, frames: int) -> XCLIPConfig:
    """The same network for another number of frames per clip; see :func:`resample_frame_positions` for its weights."""
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1")
    raw = config.to_dict()
    raw["vision_config"]["num_frames"] = frames
    return XCLIPConfig.from_dict(raw)


def resample_frame_positions(state: dict[str, Tensor], frames: int) -> dict[str, Tensor]:
    """Linearly resample MIT's position embedding (1, F, D) in a state dict to another number of frames."""
    name = "mit.position_embedding"
    if state[name].shape[1] == frames:
        return state
    # (1, F, D) -> (1, D, F) -> (1, D, F') -> (1, F', D)
    moved = F.interpolate(state[name].transpose(1, 2).float(), size=frames, mode="linear", align_corners=False)
    return {**state, name: moved.transpose(1, 2).contiguous()}


def with_drop_path(config: XCLIPConfig, probability: float) -> dict[str, Any]:
    """The configuration as a dict, with a probability of skipping a layer's message path in training (0: as it is)."""
    raw: dict[str, Any] = config.to_dict()
    if probability:
        raw["vision_config"]["drop_path_rate"] = probability
    return raw


class VideoEncoder(nn.Module):
    """Frames -> F_u, and label texts fitted to a clip.

    Args:
        config: of the whole X-CLIP. The text encoder is not part of this module: its label features are computed once.
        mean, sd: of the RGB channels, in 0..1.
        model: an ``XCLIPModel`` of that configuration whose parts to share; None: new weights.
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        config: XCLIPConfig,
        mean: Sequence[float] = IMAGE_MEAN,
        sd: Sequence[float] = IMAGE_SD,
        model: Any = None,
    ) -> None:
        super().__init__()
        self.config: Any = config
        whole: Any = XCLIPModel(config) if model is None else model
        self.vision_model = whole.vision_model
        self.visual_projection = whole.visual_projection
        self.mit = whole.mit
        self.prompts_visual_layernorm = whole.prompts_visual_layernorm
        self.prompts_visual_projection = whole.prompts_visual_projection
        self.prompts_generator = whole.prompts_generator
        self.logit_scale = whole.logit_scale
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(sd).view(1, 3, 1, 1), persistent=False)

    @property
    def image_size(self) -> int:
        """S, pixels."""
        return int(self.config.vision_config.image_size)

    @property
    def frames(self) -> int:
        """F."""
        return int(self.config.vision_config.num_frames)

    @property
    def text_dim(self) -> int:
        """D."""
        return int(self.config.projection_dim)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. (10).

        Args:
            frames: (N, F, 3, S, S) RGB, uint8 or float in 0..255.

        Returns:
            F_u (N, D), and the patches' mean over frames (N, L, D) for :meth:`prompt`.
        """
        expected = (self.frames, 3, self.image_size, self.image_size)
        if tuple(frames.shape[1:]) != expected:
            raise ValueError(f"frames are {tuple(frames.shape)}, expected (N, {', '.join(map(str, expected))})")
        return self.integrate(*self.see(frames))

    def see(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The vision transformer alone: frames as above -> a vector per frame (N, F, H), patch tokens (N, F, L, H)."""
        count = len(frames)
        pixels = (frames.flatten(0, 1).float() / 255 - self.mean) / self.sd  # (N F, 3, S, S)
        seen = self.vision_model(pixel_values=pixels)
        tokens = seen.last_hidden_state[:, 1:]  # (N F, L, H)
        vectors: Tensor = seen.pooler_output.view(count, self.frames, -1)
        return vectors, tokens.view(count, self.frames, *tokens.shape[1:])

    def integrate(self, vectors: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Frames to one clip: (N, F, H), (N, F, L, H) -> F_u (N, D), patches (N, L, D)."""
        video: Tensor = self.mit(self.visual_projection(vectors)).pooler_output
        patches: Tensor = self.prompts_visual_layernorm(tokens) @ self.prompts_visual_projection  # (N, F, L, D)
        return video, patches.mean(1)

    def prompt(self, text: Tensor, patches: Tensor) -> Tensor:
        """Label texts (K, D) with X-CLIP's video-specific prompts for patches (N, L, D): (N, K, D)."""
        text = text.expand(len(patches), -1, -1)  # (K, D) -> (N, K, D)
        prompted: Tensor = text + self.prompts_generator(text, patches)
        return prompted

    def similarity(self, video: Tensor, text: Tensor) -> Tensor:
        """exp(s) * cos, Eq. (12): video (N, D), text (N, K, D) -> (N, K) float32, also under autocast.

        exp(s) is at most 100, as in CLIP (Radford et al., ICML 2021): in training s itself is clipped, because a limit
        on exp(s) would leave s without a gradient.
        """
        largest = math.log(LOGIT_SCALE_MAX)
        if self.training:
            with torch.no_grad():
                self.logit_scale.clamp_(max=largest)
        # autocast is not for tensors without numbers (meta), whose operations are only counted
        plain = nullcontext() if video.is_meta else torch.autocast(video.device.type, enabled=False)
        with plain:
            video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
            scale = (self.logit_scale if self.training else self.logit_scale.clamp(max=largest)).exp()
            scores: Tensor = scale * torch.einsum("nd,nkd->nk", video, text)
        return scores

    def freeze_prompts(self) -> None:
        """Keep the parts that :meth:`prompt` needs as they are during training, where no text is prompted."""
        self.prompts_visual_projection.requires_grad_(False)
        for module in (self.prompts_visual_layernorm, self.prompts_generator):
            module.requires_grad_(False)

    def freeze_layers(self, count: int) -> None:
        """Keep the first ``count`` vision layers, and with them the patch embedding, as they are during training.

        Raises:
            ValueError: there are fewer layers.
        """
        layers = self.vision_model.encoder.layers
        if not 0 <= count <= len(layers):
            raise ValueError(f"frozen_layers is {count}, this network has 0..{len(layers)}")
        if count:
            for module in (self.vision_model.embeddings, self.vision_model.pre_layernorm, *layers[:count]):
                module.requires_grad_(False)

    def checkpoint_layers(self, again: bool = True) -> None:
        """Keep only the vision layers' inputs for the backward pass, and compute the rest again there; or all of it."""
        for layer in self.vision_model.encoder.layers:
            layer.gradient_checkpointing = again
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def video_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What of an ``XCLIPModel``'s state dict belongs to a :class:`VideoEncoder`."""
    return {k: v for k, v in state.items() if k.partition(".")[0] in VIDEO_PARTS}
