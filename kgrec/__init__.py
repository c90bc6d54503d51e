"""Recommendation over multimodal knowledge graphs: from raw files to a published checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kgrec.version import __version__

if TYPE_CHECKING:
    from kgrec.serving.recommender import PublishedModel, Recommendation, load


__all__ = ["PublishedModel", "Recommendation", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """``kgrec.load`` and its classes are imported on first use, so that ``import kgrec`` costs nothing."""
    if name in __all__:
        from kgrec.serving import recommender

        return getattr(recommender, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
