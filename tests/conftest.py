"""Before anything imports Triton: its kernels run in its interpreter, which needs no GPU. Profiles of hypothesis."""

import os

from hypothesis import settings

os.environ.setdefault("TRITON_INTERPRET", "1")

settings.register_profile("nightly", max_examples=1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
