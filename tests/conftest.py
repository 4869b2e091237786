"""Property tests try the same examples in every run; HYPOTHESIS_PROFILE=default searches at random."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
