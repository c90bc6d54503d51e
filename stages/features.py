"""Stage ``features``: encode pictures, texts and clips as vectors, only those not encoded before."""

from __future__ import annotations

from kgrec.features.encode import encode_features
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(
    media: PathOption, imports: PathOption, out: PathOption, cache: PathOption, params: PathOption = PARAMS
) -> None:
    """Encode pictures, texts and clips, and compare the vectors with the baseline."""
    settings = load_params(params).features
    counts = encode_features(media, out, settings, cache, imports=imports, baseline=settings.baseline)
    for (
        modality
    ) in counts.values():  # how many came from the cache is said in the log: it tells the cache, not the data
        modality.pop("encoded", None), modality.pop("from_cache", None)
    write_report("features", out, counts)


if __name__ == "__main__":
    run(main)
