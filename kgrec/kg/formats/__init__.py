"""Graphs in published formats: RecBole, KGAT, PyKEEN, N-Triples. ``docs/kg_formats.md`` says what each holds."""

from kgrec.kg.formats.convert import FORMATS, FormatName, ImportSettings, export_graph, import_graph
from kgrec.kg.formats.graph import Graph, GraphBuilder, read_graph, write_graph

__all__ = [
    "FORMATS", "FormatName", "Graph", "GraphBuilder", "ImportSettings", "export_graph", "import_graph", "read_graph", "write_graph",
]  # fmt: skip
