"""Label texts: texts of classes, tokens and their features from the frozen text encoder of X-CLIP, computed once.

F_text of HP-Net, Eq. (6). Axes: K texts, L tokens, D channels.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from ..artifacts.clips import Clips
from ..artifacts.descriptions import read_descriptions
from ..artifacts.files import writing
from ..core.reading import decoding
from ..work.shards import seal, sealed

START_TOKEN = "<|startoftext|>"
END_TOKEN = "<|endoftext|>"


def words(name: str) -> str:
    """A class name as text: only separators and capitals are replaced (``brush_teeth``, ``takeOffHat``)."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    plain = " ".join(re.sub(r"[^\w']+|_+", " ", plain).lower().split())
    if not plain:
        raise ValueError(f"class name {name!r} has no letter or digit for a prompt")
    return plain


def prompt(name: str) -> str:
    """The caption of an action from its class name, for data sets without prompts in ``classes.csv``."""
    return f"a person performing the action {words(name)}"


def class_texts(clips: Clips, text: str) -> list[tuple[str, ...]]:
    """One or more texts per class, in label order.

    Args:
        text: one of :data:`hpnet.train.TEXTS`, or the path of a file (:mod:`hpnet.artifacts.descriptions`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a class has no text, or the file has another class; names it.
    """
    names = clips.class_names
    if text == "names":
        return [(words(name),) for name in names]
    if text == "sentences":
        given = [str(sentence).strip() for sentence in clips.classes["prompt"]]
        return [(sentence or prompt(name),) for name, sentence in zip(names, given, strict=True)]
    if text == "descriptions":
        found = dict(zip(names, clips.descriptions(), strict=True))
        source, remedy = (
            "classes.csv",
            "use a file of your own, or `sentences`; after an upgrade run `hpnet data` again",
        )
    else:
        found = read_descriptions(Path(text))
        source, remedy = text, "give every class of classes.csv a description, under its name there"
    missing = [name for name in names if not found.get(name)]
    unknown = [name for name in found if name not in names]
    if missing or unknown:
        what = [f"has no description of {_some(missing)}"] if missing else []
        what += [f"describes {_some(unknown)}, which classes.csv does not have"] if unknown else []
        raise ValueError(f"train.multimodal.text: {source} {' and '.join(what)}\n{remedy}")
    return [found[name] for name in names]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more


def train_tokenizer(captions: Iterable[str], vocab_size: int = 1000) -> Tokenizer:
    """A small lower-case byte-pair tokenizer like CLIP's: it can encode any text; the end token has the highest id.

    X-CLIP's text encoder reads a text at its highest token id, so the end token must be that; it is also the padding.

    Args:
        captions: texts to learn the merges from; the order does not matter.
        vocab_size: maximum number of tokens, including start and end; at least 300.
    """
    if vocab_size < 300:
        raise ValueError(
            f"vocab_size is {vocab_size}, expected at least 300 (256 bytes, the two special tokens and merges)"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(sorted(captions), trainer)
    tokenizer.add_special_tokens([START_TOKEN, END_TOKEN])
    ids = {token: tokenizer.token_to_id(token) for token in (START_TOKEN, END_TOKEN)}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START_TOKEN} $A {END_TOKEN}", special_tokens=list(ids.items())
    )
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> tuple[Tensor, Tensor]:
    """Token ids (K, L) int64 and attention mask (K, L) int64, padded to the longest text with the end token.

    Args:
        max_tokens: the text encoder's longest text. A longer one is an error, because a cut could make two labels
            equal.

    Raises:
        ValueError: a text is too long, or there is none.
    """
    if not texts:
        raise ValueError("there is no text to tokenize")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    longest = max(range(len(rows)), key=lambda i: len(rows[i]))
    width = len(rows[longest])
    if width > max_tokens:
        raise ValueError(
            f"text {texts[longest]!r} has {width} tokens, the text encoder reads {max_tokens}: shorten it where "
            f"train.multimodal.text takes it from"
        )
    end = tokenizer.token_to_id(END_TOKEN)
    if end is None:
        raise ValueError(f"the tokenizer has no {END_TOKEN} token, where X-CLIP reads the text feature")
    ids = torch.full((len(rows), width), end, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def text_features(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Projected text features (K, D) of transformers' ``XCLIPModel``, not normalised."""
    features: Tensor = model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
    return features


def label_features(model: Any, tokenizer: Tokenizer, texts: Sequence[str], cache: Path | None = None) -> Tensor:
    """F_text (K, D) float32, Eq. (6), from the frozen text encoder, of K texts.

    Args:
        model: an ``XCLIPModel``.
        cache: folder of features by content: the file's name is a hash of the encoder's weights, the tokenizer and the
            texts; a damaged file is computed again. None: no cache.

    Raises:
        ValueError: a text is longer than the encoder reads.
    """
    ids, mask = tokenize(tokenizer, texts, int(model.config.text_config.max_position_embeddings))
    stem = "" if cache is None else _content_hash(model, tokenizer, texts)
    known = None if cache is None else sealed(cache, stem)
    if known is not None:
        with decoding(known, "delete it"):
            return torch.from_numpy(np.load(known, allow_pickle=False))
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        features = text_features(model, ids.to(model.device), mask.to(model.device)).float().cpu().numpy()
    model.train(was_training)
    if cache is not None:
        with writing(cache / f"{stem}.{os.getpid()}.npy.part") as part, part.open("wb") as out:
            np.save(out, features)
        seal(part, stem)
    return torch.from_numpy(features)


def averaged(features: Tensor, counts: Sequence[int]) -> Tensor:
    """One feature per class (K, D): the mean of the normalised features of its texts, at the mean length of all.

    If every class has one text, its feature is returned unchanged.

    Args:
        features: (texts, D), class by class.
        counts: K, texts of each class.
    """
    if all(count == 1 for count in counts):
        return features
    parts = torch.tensor_split(F.normalize(features, dim=-1), np.cumsum(counts)[:-1].tolist())
    means = torch.stack([part.mean(0) for part in parts])  # (K, D)
    return F.normalize(means, dim=-1) * features.norm(dim=-1).mean()


def _content_hash(model: Any, tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    value = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(("text_model.", "text_projection.")):
            value.update(name.encode() + b"\0")
            value.update(tensor.detach().float().cpu().numpy().tobytes())
    value.update(json.dumps([model.config.text_config.to_json_string(), tokenizer.to_str(), list(texts)]).encode())
    return value.hexdigest()[:32]
