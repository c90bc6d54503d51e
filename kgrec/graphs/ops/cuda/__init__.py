"""The hot loops on a CUDA device, written in Triton. Imported only where a tensor is on CUDA, so kgrec runs without Triton.

Every function takes plain tensors and is deterministic unless it says otherwise: no atomics, a fixed order of summation, no
autotuning that could pick another order on another day. Numbers are added up in float32, in float64 for float64 inputs.

Left to torch, because it is as good there: looking up rows (``index_select`` is one copy), the products of the layers and of
the relations (cuBLAS), and adding rows without a promised order (``index_add_``).
"""

from kgrec.graphs.ops.cuda.bi_interaction import bi_activate, bi_activate_backward, bi_combine, bi_combine_backward
from kgrec.graphs.ops.cuda.block_topk import block_topk_scan
from kgrec.graphs.ops.cuda.dots import edge_dots, pair_dots
from kgrec.graphs.ops.cuda.edge_softmax import edge_softmax, edge_softmax_backward
from kgrec.graphs.ops.cuda.negatives import draw_negatives
from kgrec.graphs.ops.cuda.propagate import propagate
from kgrec.graphs.ops.cuda.scatter import scatter_add_rows
from kgrec.graphs.ops.cuda.segment import segment_reduce, segment_reduce_backward
from kgrec.graphs.ops.cuda.sum_rows import sum_rows

__all__ = [
    "bi_activate",
    "bi_activate_backward",
    "bi_combine",
    "bi_combine_backward",
    "block_topk_scan",
    "draw_negatives",
    "edge_dots",
    "edge_softmax",
    "edge_softmax_backward",
    "pair_dots",
    "propagate",
    "scatter_add_rows",
    "segment_reduce",
    "segment_reduce_backward",
    "sum_rows",
]
