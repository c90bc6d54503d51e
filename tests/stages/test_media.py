from kgrec.data.io import read_parquet
from kgrec.data.schemas import LEDGER


def test_ledger_accounts_for_every_picture(house) -> None:
    report = house.report("media")
    ledger = read_parquet(house.path("media", "ledger.parquet"), LEDGER).to_pylist()
    ok = [row for row in ledger if row["modality"] == "image" and row["status"] == "ok"]
    assert report["tables"]["images"]["rows"] == len(ok) > 40
    assert all(row["reason"] for row in ledger if row["status"] != "ok")
