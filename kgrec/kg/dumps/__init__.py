"""Sources of triples: RDF dumps of any size, read in blocks of whole lines."""

from kgrec.kg.dumps.blocks import PAD, Block, open_blocks

__all__ = ["PAD", "Block", "open_blocks"]
