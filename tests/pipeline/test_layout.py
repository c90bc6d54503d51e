from pathlib import Path

import pytest

from pipeline.layout import MODEL, STAGES


def test_paths_carry_number_and_word() -> None:
    assert [stage.number for stage in STAGES.values()] == list(range(1, 14))
    assert STAGES["split"].folder == Path("artifacts/08_split")
    assert STAGES["fetch"].path("raw/posters") == Path("artifacts/01_fetch/raw/posters")
    assert STAGES["publish"].report == Path("artifacts/12_publish/report.json")
    assert Path("artifacts/12_publish/model") == MODEL


def test_unknown_output_is_named() -> None:
    with pytest.raises(KeyError, match=r"split has no output 'dev.parquet'; it has train.parquet"):
        STAGES["split"].path("dev.parquet")
