"""The hub is huggingface.co, where CLIP weights are published. What was fetched once is used without asking it
again."""

from __future__ import annotations

from pathlib import Path

from kgrec.features.encoders.base import unavailable


def from_hub(name: str, repository: str, files: list[str]) -> Path:
    """Folder with ``files`` of ``repository``, from the local hub cache or else from the hub.

    :param name: the encoder's name, for the error
    :param files: file names or patterns; the first must exist
    :raises EncoderUnavailable: if a file is neither cached nor reachable; the hub is asked once, briefly, before a
        download with retries is begun
    """
    import httpx
    from huggingface_hub import constants, snapshot_download

    if folder := cached(repository, files[0]):
        return folder
    try:
        httpx.head(f"{constants.ENDPOINT}/{repository}", timeout=10, follow_redirects=True)
    except httpx.HTTPError as error:
        reason = f"{repository} is not in the local hub cache and {constants.ENDPOINT} cannot be reached ({error})"
        raise unavailable(name, reason) from None
    try:
        folder = Path(snapshot_download(repository, allow_patterns=files))
    except Exception as error:  # the hub's client raises errors of many unrelated classes
        raise unavailable(name, f"download of {repository} failed ({type(error).__name__}: {error})") from error
    if not (folder / files[0]).is_file():
        raise unavailable(name, f"{repository} has no {files[0]}")
    return folder


def cached(repository: str, file: str) -> Path | None:
    """Folder of ``repository`` in the local hub cache, if ``file`` is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found).parent if isinstance(found, str) else None
