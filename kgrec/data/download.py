"""A download brings the content of an address into a content-addressed cache, once: resumed, checked, renamed last.

The cache holds ``sha256/<two digits>/<digest>`` (contents), ``urls/<digest of the address>.json`` (what an address
gave, and when) and ``partial/`` (what is under way). Deleting any of it costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx

from kgrec.data.io import read_json, sha256_file, write_json
from kgrec.errors import DataError
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: how often an address is asked before giving up, and the seconds between (doubled each time)
ATTEMPTS, PAUSE = 4, 1.0
_LATER = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Download:
    """A content in the cache: its file, its SHA-256, and when it was downloaded (ISO 8601, UTC)."""

    path: Path
    sha256: str
    time: str


def utc(seconds: float) -> str:
    """A moment as ISO 8601 in UTC, in whole seconds."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def download(url: str, cache: Path, sha256: str | None = None, timeout: float = 30.0) -> Download:
    """The content of ``url``, from the cache if it is there.

    :param sha256: digest the content must have; without it the cache answers for an address it has seen
    :param timeout: seconds without an answer or a byte after which an attempt is given up
    :raises DataError: if the address does not answer, answers with an error, or gives other content than ``sha256``
    """
    key = hashlib.sha256(url.encode()).hexdigest()
    index = cache / "urls" / f"{key}.json"
    seen: dict[str, Any] = read_json(index) if index.exists() else {}
    digest = sha256 or seen.get("sha256")
    if digest and (stored := _content(cache, digest)).exists():
        if sha256_file(stored) == digest:
            return Download(stored, digest, seen.get("time") or utc(stored.stat().st_mtime))
        log.warning("damaged cache entry is fetched again", url=url)
        stored.unlink()

    partial = cache / "partial" / key
    partial.parent.mkdir(parents=True, exist_ok=True)
    _retry(url, partial, timeout)
    digest = sha256_file(partial)
    size = partial.stat().st_size
    _validator(partial).unlink(missing_ok=True)
    if sha256 is not None and digest != sha256:
        partial.unlink()
        raise checksum_error(url, sha256, digest)
    stored = _content(cache, digest)
    stored.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, stored)
    moment = utc(time.time())
    write_json({"url": url, "sha256": digest, "bytes": size, "time": moment}, index)
    return Download(stored, digest, moment)


def checksum_error(name: object, expected: str, got: str) -> DataError:
    """The error of a file whose content is not what the recipe says."""
    return DataError(
        f"checksum mismatch: expected sha256 {expected}, got {got}; the file is damaged or another version; "
        "fetch it again, or correct sha256 in fetch.sources if you trust it",
        path=name,
    )


def _content(cache: Path, digest: str) -> Path:
    return cache / "sha256" / digest[:2] / digest


def _validator(partial: Path) -> Path:
    """Beside a partial file, the ETag or date of the version it is a part of."""
    return partial.with_name(partial.name + ".version")


def _retry(url: str, partial: Path, timeout: float) -> None:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            _stream(url, partial, timeout)
            return
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            problem = f"HTTP {status} {error.response.reason_phrase}".strip()
            if status == 416:
                partial.unlink(missing_ok=True)
            elif status not in _LATER:
                break
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            problem = str(error)
            break
    raise DataError(
        f"cannot be downloaded ({problem}); check the address in fetch.sources and the network, "
        "or download it by other means and give it as path",
        path=url,
    )


def _stream(url: str, partial: Path, timeout: float) -> None:
    """One attempt. Continues a partial file if the server confirms that it is a part of the same version."""
    version = _validator(partial)
    have = partial.stat().st_size if partial.exists() and version.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.read_text(encoding="utf-8")}
    with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
        response.raise_for_status()
        resumed = response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {have}-")
        if not resumed:
            have = 0
            version.unlink(missing_ok=True)
            etag = response.headers.get("etag", "")
            if known := (etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")):
                version.write_text(known, encoding="utf-8")
        left = response.headers.get("content-length")
        total = have + int(left) if left else None
        with open(partial, "ab" if resumed else "wb") as file, item_progress(f"fetch {url}", total, "B") as bar:
            bar.advance(have)
            for block in response.iter_raw():
                file.write(block)
                bar.advance(len(block))
