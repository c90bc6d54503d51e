"""Adding rows into the rows of a table, the gradient of a look-up.

In a fixed order it is a stable sort and a row sum, B D reads more than the gradient itself and no atomics; in any order torch's
``index_add_`` does the same with atomics.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kgrec.graphs.ops.cuda.sum_rows import sum_rows


def scatter_add_rows(index: Tensor, g: Tensor, n_rows: int, deterministic: bool = True) -> Tensor:
    """``out[index[b]] += g[b]``, from zeros.

    :param index: shape: (B,), int32 or int64
    :param g: shape: (B, D)
    :param deterministic: equal rows are added in the same order every time
    :return: shape: (n_rows, D)
    """
    if not deterministic:
        return g.new_zeros(n_rows, g.shape[1]).index_add_(0, index, g)
    rows, order = torch.sort(index, stable=True)
    indptr = torch.searchsorted(rows, torch.arange(n_rows + 1, device=index.device, dtype=index.dtype))
    return sum_rows(indptr, order, None, g)
