"""Stage ``features``: encode pictures and texts as vectors, only those not encoded before."""

from __future__ import annotations

from kgrec.features.encode import encode_features
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(media: PathOption, out: PathOption, cache: PathOption, params: PathOption = PARAMS) -> None:
    """Encode pictures and texts."""
    settings = load_params(params).features
    counts = encode_features(media, out, settings, cache)
    for (
        modality
    ) in counts.values():  # said in the log; in the report they would tell the state of the cache, not the data
        del modality["encoded"], modality["from_cache"]
    write_report("features", out, counts)


if __name__ == "__main__":
    run(main)
