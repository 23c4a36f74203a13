"""Before anything imports Triton: its kernels run in its interpreter, which needs no GPU."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
