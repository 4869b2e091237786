"""A trained topology stream -> ONNX."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import torch
from torch import nn

from ..artifacts.files import read_object
from ..train.topology import load_topology

INSTALL = "pip install onnx onnxscript"
OPSET = 20


def export_onnx(stream: Path, out: Path) -> Path:
    """Write ``model.onnx`` and ``config.json`` of a stream folder into ``out``; the path of the model.

    Inputs are ``features`` (N, C, T, V, M) float32, pooled features as ``features.npy`` has them, and ``valid`` (N, M)
    bool; the output is ``logits`` (N, K). N is free, the other sizes are those of training.

    Raises:
        FileNotFoundError: the stream was not trained.
        ModuleNotFoundError: the packages that write ONNX are missing; says how to install them.
    """
    model = load_topology(stream)
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"exporting to ONNX needs {' and '.join(missing)}: {INSTALL}", name=missing[0])
    card = read_object(stream / "config.json")
    sizes = card["sizes"]
    persons = int(sizes["num_persons"])
    # three clips: a number that differs from all other sizes
    features = torch.zeros(3, int(sizes["in_channels"]), int(card["frames"]), int(sizes["num_joints"]), persons)
    valid = torch.ones(3, persons, dtype=torch.bool)
    out.mkdir(parents=True, exist_ok=True)
    clips = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        _Plain(model).eval(),
        (features, valid),
        input_names=["features", "valid"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamic_shapes={"features": {0: clips}, "valid": {0: clips}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(out / "model.onnx"), external_data=False)
    shutil.copyfile(stream / "config.json", out / "config.json")
    return out / "model.onnx"


class _Plain(nn.Module):
    """The model with the argument names of the exported graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(features, valid)
        return logits
