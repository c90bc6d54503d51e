"""Commands work on a pipeline's outputs in the current directory unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from kgrec.errors import DataError


def stage_folder(word: str) -> Path:
    """The folder a stage wrote, ``artifacts/<number>_<word>`` below the current directory.

    :raises DataError: if there is none, or more than one
    """
    found = sorted(path for path in Path("artifacts").glob(f"*_{word}") if path.is_dir())
    if len(found) != 1:
        has = f"has {len(found)} folders" if found else "has no folder"
        raise DataError(f"{has} artifacts/*_{word}; name the folder, or run where a pipeline ran", path=Path.cwd())
    return found[0]
