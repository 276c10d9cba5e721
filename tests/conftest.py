"""For all tests: torch on one thread, since tests share the machine with each other and more."""

import contextlib

with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)
