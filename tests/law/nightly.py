"""How much tests try: little in every run, much in the nightly one (`make nightly`)."""

import os

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly" or "SEMC_LAW_EXAMPLES" in os.environ


def examples(usual: int, nightly: int) -> int:
    """How many examples a law is tried on."""
    return nightly if NIGHTLY else usual
