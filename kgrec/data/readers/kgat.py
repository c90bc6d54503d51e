"""KGAT's published sets: ``train.txt`` and ``test.txt``, a user and the items per line, and lists of the original ids.

Both files are read together: which interactions are held out is the split's to say.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.data.readers.base import RAW_INTERACTIONS, RatingsData, Reading, items_table, users_table
from kgrec.data.readers.files import SourceFile, need
from kgrec.errors import DataError


def recognise(names: Collection[str]) -> bool:
    """Whether the file names are this format's."""
    return {"train.txt", "item_list.txt"} <= set(names)


def has_items(names: Collection[str]) -> bool:
    """Whether the item file of this format is there."""
    return "item_list.txt" in names


def read(files: dict[str, SourceFile], reading: Reading) -> RatingsData:
    """Read the set. There are no ratings and no times; numbers become the published ids where a list maps them."""
    names = ["train.txt", *(["test.txt"] if "test.txt" in files else [])]
    users, items = _ids(files, "user_list.txt", reading), _ids(files, "item_list.txt", reading)
    tables = [table for name in names for table in _interactions(need(files, name), users, items, reading)]
    return RatingsData(
        pa.concat_tables([RAW_INTERACTIONS.empty_table(), *tables]),
        items_table({"item_id": items}),
        users_table({"user_id": users}),
    )


def read_items(files: dict[str, SourceFile], reading: Reading) -> pa.Table:
    """Read ``item_list.txt`` alone: ids without titles."""
    return items_table({"item_id": _ids(files, "item_list.txt", reading)})


def _ids(files: dict[str, SourceFile], name: str, reading: Reading) -> pa.Array:
    """Published id by number, from ``org_id remap_id ...`` lines whose numbers count from 0."""
    file = need(files, name)
    ids: list[str] = []
    for number, text in reading.lines(file):
        for at, line in enumerate(text.splitlines()):
            parts = line.split()
            if number + at == 1 and parts[:2] == ["org_id", "remap_id"]:
                continue
            if len(parts) < 2 or parts[1] != str(len(ids)):
                raise DataError(f"expected an id and the number {len(ids)}, got {line!r}", path=file, line=number + at)
            ids.append(parts[0])
    if len(set(ids)) != len(ids):
        raise DataError("lists an id twice", path=file)
    return pa.array(ids, pa.string())


def _interactions(file: SourceFile, users: pa.Array, items: pa.Array, reading: Reading) -> list[pa.Table]:
    """Interactions of one file; a line may name a user and no items."""
    tables, bad, total = [], 0, 0
    for number, text in reading.lines(file):
        line = pc.split_pattern(pa.array([text.removesuffix("\n")], pa.large_string()), "\n").values
        values = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(line))
        parts, parent = pc.list_flatten(values), pc.list_parent_indices(values).to_numpy()
        start = np.diff(parent, prepend=-1) > 0
        blank = pc.equal(parts, "")
        codes, wrong = _numbers(parts, blank)
        limit = np.where(start, len(users), len(items))
        wrong |= ~blank.to_numpy(zero_copy_only=False) & (codes >= limit)
        at = np.unique(parent[wrong])
        reason = "malformed row, expected the numbers of a listed user and of listed items"
        reading.reject(
            file, (number + at).tolist(), [reason] * len(at),
            [str(line[int(one)]) for one in at],
        )  # fmt: skip
        keep = ~start & ~np.isin(parent, at) & ~blank.to_numpy(zero_copy_only=False)
        user = codes[start][np.cumsum(start)[keep] - 1]
        rows = int(keep.sum())
        tables.append(
            pa.table(
                {
                    "user_id": users.take(pa.array(user)),
                    "item_id": items.take(pa.array(codes[keep])),
                    "rating": pa.nulls(rows, pa.float32()),
                    "timestamp": pa.nulls(rows, pa.int64()),
                    "file": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [str(file)]),
                    "line": pa.array(number + parent[keep]),
                },
                schema=RAW_INTERACTIONS,
            )
        )
        bad, total = bad + len(at), total + len(line)
    if total == 0:
        raise DataError("holds no rows", path=file)
    if bad:
        reading.check_share(file, bad, total)
    return tables


def _numbers(parts: pa.Array, blank: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Whole numbers of a string array, 0 elsewhere, and the mask of strings that are neither blank nor numbers."""
    good = pc.match_substring_regex(parts, r"^\d{1,18}$")
    codes = pc.cast(pc.if_else(good, parts, "0"), pa.int64()).to_numpy()
    return codes, ~(pc.or_(good, blank).to_numpy(zero_copy_only=False))
