"""Recommendation over multimodal knowledge graphs: from raw files to a published checkpoint."""

__version__ = "0.1.0"
