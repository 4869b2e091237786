"""The stored numbers are those of the released code, and the seeded weights are those that it was given."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tests import golden
from tests.golden.make import make

PARITY = Path(__file__).resolve().parents[3] / "shared" / "data" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="the released outputs are not beside this checkout")


def test_files_are_tiny_and_each_is_explained() -> None:
    files = sorted(golden.FOLDER.glob("*.npz"))
    readme = (golden.FOLDER / "README.md").read_text(encoding="utf-8")
    assert [file.name for file in files if f"`{file.name}`" not in readme] == []
    assert max(file.stat().st_size for file in files) < 10_000


@needs_parity
def test_files_are_what_the_released_code_gave() -> None:
    made = make(PARITY)
    assert {file.stem for file in golden.FOLDER.glob("*.npz")} == {*made, "cspnext"}  # which OpenMMLab's code gave
    for name, arrays in made.items():
        stored = golden.load(name)
        assert set(stored) == set(arrays)
        for key, value in arrays.items():
            np.testing.assert_array_equal(stored[key], value, err_msg=f"{name}: {key}")


@needs_parity
def test_keys_of_the_released_pose_network() -> None:
    shapes = json.loads((PARITY / "keys.json").read_text())
    assert len(shapes) == golden.HRNET_TENSORS
    assert golden.digest_of_shapes(shapes) == golden.HRNET_DIGEST


@needs_parity
@pytest.mark.parametrize("file", ["keys", "ctrgcn_keys", "trmm_keys", "film_keys"])
def test_seeded_weights_are_those_of_the_released_runs(file: str) -> None:
    spec = importlib.util.spec_from_file_location("make_weights", PARITY / "make_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shapes = json.loads((PARITY / f"{file}.json").read_text())
    for key, shape in list(shapes.items())[:: max(1, len(shapes) // 200)]:
        expected = module.tensor(key, shape, golden.SEED)
        found = golden.seeded_tensor(key, shape)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=key)
