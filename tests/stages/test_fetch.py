from kgrec.data.io import read_json
from pipeline.layout import ROLES


def test_every_role_has_files_and_sources_say_synthetic(house) -> None:
    report = house.report("fetch")
    assert report["stage"] == "fetch"
    for role in ROLES:
        assert any(path.is_file() for path in house.path("fetch", f"raw/{role}").iterdir()), role
    sources = read_json(house.path("fetch", "sources.json"))
    assert sources["recipe"] == "demo"
    assert sources["synthetic"] is True
