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
    write_report("features", out, encode_features(media, out, settings, cache))


if __name__ == "__main__":
    run(main)
