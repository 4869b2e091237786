"""Property tests try the same examples in every run; HYPOTHESIS_PROFILE=default searches at random."""

import os

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of minutes carry the marker ``long``: they run when the marker or HPNET_LONG_TESTS asks for them."""
    if os.environ.get("HPNET_LONG_TESTS") or "long" in str(config.getoption("-m")):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="minutes: pytest -m long, or HPNET_LONG_TESTS=1"))
