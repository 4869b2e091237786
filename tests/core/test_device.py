"""Device and precision by name."""

import pytest
import torch

from hpnet.core.allocator import tune_allocator
from hpnet.core.device import has_fast_bfloat16, resolve_device, resolve_precision, training_precision


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


@pytest.mark.parametrize("name", ["meta", "mps", "xpu", "cpu:0", "cuda:", "cuda:-1", "cuda:01", "CUDA", ""])
def test_what_nothing_is_computed_on_is_unknown(name: str) -> None:
    with pytest.raises(ValueError, match=f"--device '{name}' is unknown; use auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_a_gpu_beyond_those_that_are_there_is_refused_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for count, seen in ((1, "1 GPU here, the last is cuda:0"), (4, "4 GPUs here, the last is cuda:3")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        for name in (f"cuda:{count}", "cuda:999"):
            with pytest.raises(ValueError, match=f"--device {name}: torch sees {seen}"):
                resolve_device(name)
        assert resolve_device(f"cuda:{count - 1}") == torch.device("cuda", count - 1)
    assert resolve_device("cuda") == torch.device("cuda")


def test_auto_is_bfloat16_where_there_are_instructions_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    for there, found in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there)
        assert training_precision("auto", cpu) == found
        assert training_precision("float32", cpu) == "float32"
        assert training_precision("bfloat16", cpu) == "bfloat16"
    for capability, fast in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert has_fast_bfloat16(gpu) is fast


def test_large_blocks_still_work_after_tuning() -> None:
    tune_allocator()
    assert float(torch.ones(4_000_000).sum()) == 4_000_000
