import duckdb

from kgrec.data.io import read_parquet
from kgrec.kg.store import open_store


def test_the_dump_is_in_the_store(house) -> None:
    report = house.report("extract")["metrics"]
    store = house.path("extract", "store")
    assert (
        report["lines"]
        == report["facts"]
        + report["types"]
        + report["literals"]
        + report["denied"]
        + report["literals_dropped"]
        + report["malformed"]
        + report["blank"]
    )
    assert read_parquet(store / "ledger.parquet").num_rows == report["malformed"] == 0
    with duckdb.connect() as connection:
        open_store(connection, store)
        films = connection.execute("SELECT count(DISTINCT s) FROM types WHERE o = 'film.film'").fetchall()[0][0]
    assert films >= 80
    assert not (house.folder / ".kgrec" / "state" / "extract" / "000").exists()
