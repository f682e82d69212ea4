"""What is particular about Tantivy's failures."""

from __future__ import annotations


def is_engine_failure(error: BaseException) -> bool:
    """Whether the engine failed: a ValueError, an OSError, or a panic of its own, which is no Exception."""
    return isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException"
