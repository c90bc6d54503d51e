"""Extraction as a Ray Data job: one row is a dump, or a part of one, and each machine of the cluster reads whole parts.

A part becomes the same chunks wherever it is read, so the store is that of one machine reading the parts in turn. The
folder of chunks lies on a file system all machines share; parts may lie anywhere fsspec reaches. A dump is split at line
ends: ``igzip -dc dump.gz | split -C 20G --filter 'igzip > $FILE.gz' - part.``
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec.errors import ConfigError, DataError
from kgrec.progress import get_logger, item_progress

if TYPE_CHECKING:
    from kgrec.kg.store import ExtractSettings

log = get_logger(__name__)


def extract_with_ray(parts: Sequence[str], folder: Path, settings: ExtractSettings) -> None:
    """Write the chunks of all ``parts`` under ``folder``, those of part ``k`` in ``folder/<k>``.

    Ray connects to the cluster named by ``RAY_ADDRESS``, or starts on this machine. A part asks for as many CPUs as it has
    scanning threads.

    :param parts: paths or URLs that every machine can open
    :param folder: on a file system that every machine mounts at the same place; finished chunks there are kept
    :raises DataError: of the first part found that cannot be read; all finished chunks stay
    :raises ConfigError: if Ray is not installed, or a machine does not share ``folder``
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("extract.engine ray needs Ray: pip install 'kgrec[ray]'") from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    folder = Path(folder).resolve()
    chosen = settings.model_dump_json()
    rows = [
        {"part": number, "source": part if "://" in part else str(Path(part).resolve())}
        for number, part in enumerate(map(str, parts))
    ]

    def extract(row: dict[str, Any]) -> dict[str, Any]:
        from kgrec.kg.store import ExtractSettings, extract_source

        try:
            own = ExtractSettings.model_validate_json(chosen)
            extract_source(row["source"], folder / f"{row['part']:03d}", own)
        except DataError as error:
            return row | {"failure": str(error), "line": error.line or 0}
        return row | {"failure": "", "line": 0}

    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(extract, num_cpus=settings.workers)
    with item_progress("reading parts", len(rows), "parts") as bar:
        for row in data.iter_rows():
            if row["failure"]:
                error = DataError(row["failure"])
                error.path, error.line = row["source"], row["line"] or None
                raise error
            if not (folder / f"{row['part']:03d}" / "done.json").exists():
                raise ConfigError(
                    f"{folder} is not shared with the machine that read {row['source']}; name one that is"
                )
            log.info("part is read", source=row["source"])
            bar.advance()
