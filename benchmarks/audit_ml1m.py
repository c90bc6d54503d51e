"""How well ``kgrec audit`` tells right links of MovieLens-1M from wrong ones, with KB4Rec's links as the truth.

    python benchmarks/audit_ml1m.py --data DIR [--links FILE --items FILE]

``DIR`` is laid out as ``pipeline/recipes/ml-1m.yaml`` says. KB4Rec's links are audited as they are, under other numberings,
and with a share of them mixed up; the audit sees titles and years alone, the least a catalogue has. Then it is said how often
right links agree, part by part, with directors, actors and IMDb ids of the metadata: what ``Expected`` is set by. With
``--links`` and ``--items`` that link file is audited too, against the same dump.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import structlog

from kgrec.data.metadata import add_metadata
from kgrec.data.readers import Reading, ReadSettings
from kgrec.data.readers.files import SourceFile
from kgrec.data.readers.items import read_items
from kgrec.kg.audit import PARTS, Audit, audit_links, read_link_table
from kgrec.kg.linking.works import TYPES_OF
from kgrec.kg.precision import Levels, levels
from kgrec.kg.profiles import read_profiles

ITEMS, TRUTH, DUMP = "ml-1m/ml-1m.zip", "freebase/ml2fb.txt", "freebase/freebase-film-rdf.gz"
TEXTS = ("imdb-ml-1m/omdb_metadata.jsonl.gz", "imdb-ml-1m/links.csv")
HIDDEN = ("imdb_id", "director", "writer", "actor")

Links = dict[str, str]

#: numbering -> item ids in its order, from those of the catalogue in theirs
NUMBERINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "ids + 1": lambda ids: [str(int(one) + 1) for one in ids],
    "ids - 1": lambda ids: [str(int(one) - 1) for one in ids],
    "gaps closed": lambda ids: [str(at) for at, _ in enumerate(ids, start=1)],
    "another order": lambda ids: random.Random(5).sample(ids, len(ids)),
    "+ 1 from 2000 on": lambda ids: [str(int(one) + (int(one) >= 2000)) for one in ids],
}
MIXED = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--links", type=Path)
    options.add_argument("--items", type=Path)
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    items = read_items(given.data / ITEMS)
    table = read_link_table(given.data / TRUTH)
    catalogue = set(items["item_id"].to_pylist())
    every = dict(zip(table["item_id"].to_pylist(), table["entity_id"].to_pylist(), strict=True))
    right = {item: entity for item, entity in every.items() if item in catalogue}
    profiles = read_profiles(given.data / DUMP, set(every.values()), items, TYPES_OF["film"])

    row("links", "wrong", "flagged", "right", "flagged", "truth", "estimate", "95 % interval", "refused")
    show("as published", right, right, items, profiles)
    ids = sorted(right, key=int)
    for name, number in NUMBERINGS.items():
        links = dict(zip(number(ids), (right[one] for one in ids), strict=True))
        show(name, links, right, items, profiles)
    for share in MIXED:
        draw = random.Random(int(1000 * share))
        spoilt = [item for item in ids if draw.random() < share]
        mixed = dict(zip(spoilt, draw.sample([right[one] for one in spoilt], len(spoilt)), strict=True))
        show(f"{share:.1%} drawn", right | mixed, right, items, profiles)

    files = {path.name.removesuffix(".gz"): SourceFile(path.name.removesuffix(".gz"), path)
             for path in (given.data / one for one in TEXTS)}  # fmt: skip
    audit = audit_links(_table(right), add_metadata(items, files, Reading(ReadSettings())), profiles)
    print()
    row("right links", *Levels._fields, "known")
    for part in (*PARTS, "others"):
        counted = np.bincount(levels(part, audit.rows[f"agreement_{part}"]) + 1, minlength=4)[1:]
        row(part, *(f"{one / max(counted.sum(), 1):.4f}" for one in counted), str(counted.sum()))
    if given.links and given.items:
        links, others = read_link_table(given.links), read_items(given.items)
        around = read_profiles(given.data / DUMP, set(links["entity_id"].to_pylist()), others, TYPES_OF["film"])
        audit = audit_links(links, others, around)
        print(f"\n{given.links.name}: {audit.metrics}\n{audit.mismatch}")


def show(name: str, links: Links, right: Links, items: pa.Table, profiles: pa.Table) -> None:
    """Audit ``links`` and print how its flags and its estimate meet the truth."""
    for one in HIDDEN:
        empty = pa.array([[]] * profiles.num_rows, pa.list_(pa.string()))
        profiles = profiles.set_column(profiles.column_names.index(one), one, empty)
    audit: Audit = audit_links(_table(links), items, profiles)
    rows = [one for one in audit.rows.to_pylist() if one["status"] != "unknown item"]
    good = [one["flag"] for one in rows if right.get(one["item_id"]) == one["entity_id"]]
    bad = [one["flag"] for one in rows if right.get(one["item_id"]) != one["entity_id"]]
    found = audit.metrics
    row(
        name, str(len(bad)), str(sum(bad)), str(len(good)), str(sum(good)), f"{len(good) / len(rows):.4f}",
        f"{found['estimated_precision']:.4f}", f"{found['precision_low']:.4f} – {found['precision_high']:.4f}",
        "yes" if audit.mismatch else "no",
    )  # fmt: skip


def row(first: str, *others: str) -> None:
    """Print one line of a table."""
    print(
        f"{first:<18}" + "".join(f"{one:>9}" if at != 6 else f"{one:>19}" for at, one in enumerate(others)), flush=True
    )


def _table(links: Links) -> pa.Table:
    return pa.table({"item_id": list(links), "entity_id": list(links.values())})


if __name__ == "__main__":
    main()
