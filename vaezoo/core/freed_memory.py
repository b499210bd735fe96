"""Memory that a process has freed and uses again."""

import torch

KEPT = 31 * 2**20
"""Bytes. glibc's malloc keeps freed blocks of up to 32 MB."""


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory, so that the intermediates of each block, step or product are not fetched
    anew, page by page. No result depends on it.

    malloc keeps blocks up to the size of the largest one freed so far (mallopt(3), M_MMAP_THRESHOLD), so this function
    allocates and frees a large one without touching it.
    """
    torch.empty(KEPT, dtype=torch.uint8)
