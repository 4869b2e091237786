"""How far a step of the optimiser moves the fusion module, for several rates, in the first epochs of a training.

    python benchmarks/fusion_steps.py 2 lr=1e-4,fusion_scale=300 lr=8e-6,adam_epsilon=1e-3,fusion_scale=750

Run in a project after `dvc repro pool`. The first number is of epochs; then one list per setting, of values of section
`train.multimodal`. Prints, for every epoch: the mean loss; of the fusion module the median size of a gradient (after
clipping), the change of its weights in a step, and its weights at the end (root mean squares). Nothing is validated.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from hpnet.core.device import resolve_device
from hpnet.project.folder import Project
from hpnet.train.clips import labelled_clips
from hpnet.train.loop import Run, make_accelerator
from hpnet.train.multimodal import load_xclip, make
from hpnet.train.params import MultimodalParams
from hpnet.train.run import Folders
from hpnet.train.text import averaged, class_texts, label_features


def values(text: str) -> dict[str, Any]:
    """'lr=1e-4,fusion_scale=300' as values."""
    return {name: float(value) for name, value in (pair.split("=") for pair in text.split(","))}


def size(tensors: list[Tensor]) -> float:
    """Root mean square of all numbers."""
    return float(torch.cat([one.detach().flatten() for one in tensors]).square().mean().sqrt())


def steps(project: Project, params: MultimodalParams, epochs: int, seed: int) -> None:
    """Train for some epochs and print what the steps are like."""
    places = Folders(project.data, project.artifacts / "pool", project.artifacts / "detect" / "frames")
    inputs, table = places.load(frames=True), labelled_clips(places.load(frames=False).clips)
    checkpoint = load_xclip(params.video, params.frames)
    texts = class_texts(inputs.clips, params.text)
    encoded = label_features(checkpoint.model, checkpoint.tokenizer, [one for of in texts for one in of], None)
    with tempfile.TemporaryDirectory() as work:
        run = Run(seed, Path(work), make_accelerator(resolve_device("auto")))
        ready = make(inputs, params, run, checkpoint, averaged(encoded, [len(of) for of in texts]), table)
    ready.model.to(run.accelerator.device).train()
    rates = [group["lr"] for group in ready.optimizer.param_groups]
    fusion = [value for name, value in ready.model.named_parameters() if name.startswith("fusion.")]
    for epoch in range(epochs):
        losses, gradients, moved = [], [], []
        for step, (_, batch) in enumerate(ready.task.train_batches(epoch)):
            factor = ready.course.schedule(epoch + (step + 0.5) / ready.task.steps_per_epoch)
            for group, rate in zip(ready.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            ready.optimizer.zero_grad()
            loss = ready.task.loss(ready.model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            if ready.course.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(ready.model.parameters(), ready.course.clip_norm)
            before = [value.detach().clone() for value in fusion]
            seen = torch.cat([value.grad.flatten().abs() for value in fusion if value.grad is not None])
            gradients.append(float(seen[seen > 0].median()) if (seen > 0).any() else 0.0)
            ready.optimizer.step()
            moved.append(size([value - old for value, old in zip(fusion, before, strict=True)]))
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.2f}, gradient {np.median(gradients):.1e}, "
            f"step {np.median(moved):.1e}, weights {size(fusion):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    here = Project(Path())
    section = here.read_params().train.multimodal
    for asked in sys.argv[2:]:
        print(yaml.safe_dump(values(asked), default_flow_style=True, width=1000).strip(), flush=True)
        changed = MultimodalParams.model_validate({**section.model_dump(), **values(asked)})
        steps(here, changed, int(sys.argv[1]), seed=1)
