"""Stage ``media``: find, check and pack the picture and the text of every item and entity."""

from __future__ import annotations

from kgrec.media.collect import collect_media
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    items: PathOption,
    links: PathOption,
    entities: PathOption,
    posters: PathOption,
    texts: PathOption,
    out: PathOption,
    params: PathOption = PARAMS,
) -> None:
    """Collect pictures and texts."""
    settings = load_params(params).media
    write_report("media", out, collect_media(items, links, entities, posters, texts, out, settings))


if __name__ == "__main__":
    run(main)
