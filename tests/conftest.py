"""Property tests try the same examples in every run; HYPOTHESIS_PROFILE=default searches at random."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def roomy_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process sees 100 GB free, because what a test expects of ``hpnet doctor`` must not depend on the machine."""
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of minutes carry the marker ``long``: they run when the marker or HPNET_LONG_TESTS asks for them."""
    if os.environ.get("HPNET_LONG_TESTS") or "long" in str(config.getoption("-m")):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="minutes: pytest -m long, or HPNET_LONG_TESTS=1"))
