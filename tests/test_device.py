"""Device and precision by name."""

import pytest
import torch

from hpnet.device import resolve_device, resolve_precision, tune_allocator


def test_names() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_precision("bfloat16") is torch.bfloat16
    with pytest.raises(ValueError, match="choose from float32"):
        resolve_precision("float8")
    with pytest.raises(ValueError, match="--device 'gpuu' is unknown"):
        resolve_device("gpuu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="use --device cpu"):
        resolve_device("cuda")


def test_large_blocks_still_work_after_tuning() -> None:
    tune_allocator()
    assert float(torch.ones(4_000_000).sum()) == 4_000_000
