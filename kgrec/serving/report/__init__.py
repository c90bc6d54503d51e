"""The report is one HTML page with what a person would ask of a run: the data, the curves, the numbers, the lists."""

from kgrec.serving.report.write import ReportSettings, write_report

__all__ = ["ReportSettings", "write_report"]
