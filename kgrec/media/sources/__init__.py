"""Sources of pictures, texts and clips behind one interface."""

from kgrec.media.sources.base import (
    Credential,
    Found,
    Modality,
    Nothing,
    Outcome,
    Reply,
    Request,
    Search,
    Source,
    Subject,
)

__all__ = [
    "Credential", "Found", "Modality", "Nothing", "Outcome", "Reply", "Request", "Search", "Source", "Subject",
]  # fmt: skip
