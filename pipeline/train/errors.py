"""What is wrong with a classifier; nothing here imports torch."""

from __future__ import annotations

__all__ = ["CheckpointError"]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what is wrong with which file."""
