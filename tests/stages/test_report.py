def test_page_stands_alone(house) -> None:
    house.report("report")
    page = house.path("report", "report.html").read_text(encoding="utf-8")
    assert "synthetic" in page.lower()
    assert "data:image/" in page
    assert 'src="http' not in page
    for word in ("interactions", "features", "train"):
        assert word in page
