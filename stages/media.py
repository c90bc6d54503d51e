"""Stage ``media``: find, check and pack the picture, the text and the clips of every item and entity."""

from __future__ import annotations

from kgrec.media.collect import MediaFolders, collect_media
from kgrec.media.subjects import Catalogue
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    items: PathOption,
    links: PathOption,
    entities: PathOption,
    keys: PathOption,
    posters: PathOption,
    texts: PathOption,
    audio: PathOption,
    video: PathOption,
    responses: PathOption,
    out: PathOption,
    params: PathOption = PARAMS,
) -> None:
    """Collect pictures, texts and clips."""
    settings = load_params(params).media
    catalogue = Catalogue(items, links, entities, keys)
    counts = collect_media(catalogue, MediaFolders(posters, texts, audio, video), out, responses, settings)
    write_report("media", out, counts)


if __name__ == "__main__":
    run(main)
