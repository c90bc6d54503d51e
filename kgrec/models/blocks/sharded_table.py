"""A sharded table is a parameter whose rows are spread over the processes of a data-parallel run; in one process it is the
parameter itself.

Process r of W holds rows r, r + W, r + 2W, .. Nodes are numbered users, items, entities, and a step asks mostly for the
first two kinds: dealt out in turn they fall on all processes alike, where ranges would leave the owners of entities idle.
Legend: N rows of the table, d width, W processes, P = ceil(N / W) rows of the largest shard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from kgrec.graphs.ops import gather_rows

#: rows of each process that travel at once when a table is written
ROWS_AT_ONCE = 1 << 18


def is_first() -> bool:
    """Whether this process is the one that reports and writes: rank 0, or alone."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


class ShardedTable:
    """Where the rows of a table are. It holds no tensor: methods take ``own``, this process's rows, shape (n, d).

    Every method but :meth:`own_rows` is collective: all processes call it, in the same order.

    :param n_rows: N
    """

    def __init__(self, n_rows: int) -> None:
        self.n_rows, self.rank, self.world = n_rows, 0, 1
        #: called with row numbers before they are read; the gradient of these rows is then sparse (one process alone)
        self.before_read: Callable[[Tensor], None] | None = None

    def split(self, parameter: nn.Parameter) -> None:
        """Keep this process's rows of a parameter of N rows, and let go of the others."""
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        parameter.data = self.own_rows(parameter.data).clone()

    def own_rows(self, whole: Tensor) -> Tensor:
        """This process's rows of a whole table, a view. shape: (N, d) -> (n, d)"""
        return whole[self.rank :: self.world] if self.world > 1 else whole

    def __call__(self, own: Tensor, rows: Tensor) -> Tensor:
        """Chosen rows, asked of their owners; their gradient goes back there. Each row travels once, however often it is
        asked for.

        :param rows: shape: (B,), int64; may differ from process to process
        :return: shape: (B, d)
        """
        if self.world == 1 and self.before_read is not None:
            self.before_read(rows)
            return F.embedding(rows, own, sparse=True)
        if self.world == 1:
            return gather_rows(own, rows)
        # a key sorts by owner, then by the owner's own numbering
        key = rows % self.world * self._height + rows // self.world
        distinct, position = torch.unique(key, return_inverse=True)
        return gather_rows(_Exchange.apply(own, distinct, self), position)

    def all(self, own: Tensor) -> Tensor:
        """The whole table, for models that propagate over the whole graph; gradients of all processes add up at the owners.
        shape: (N, d)"""
        return own if self.world == 1 else _All.apply(own, self)

    def gather(self, own: Tensor) -> Tensor | None:
        """The whole table in the first process's main memory, to be written; None in the others. shape: (N, d)"""
        if self.world == 1:
            return own.detach()
        padded = self._padded(own.detach())
        whole = own.new_empty(self._height, self.world, *own.shape[1:], device="cpu") if self.rank == 0 else None
        for start in range(0, self._height, ROWS_AT_ONCE):
            block = padded[start : start + ROWS_AT_ONCE]
            parts = None if whole is None else [torch.empty_like(block) for _ in range(self.world)]
            distributed.gather(block, parts)
            if whole is not None and parts is not None:
                whole[start : start + ROWS_AT_ONCE] = torch.stack([part.cpu() for part in parts], 1)
        return None if whole is None else whole.flatten(0, 1)[: self.n_rows]

    @property
    def _height(self) -> int:
        return -(-self.n_rows // self.world)

    def _padded(self, own: Tensor) -> Tensor:
        missing = self._height - len(own)
        return torch.cat([own, own.new_zeros(missing, *own.shape[1:])]) if missing else own.contiguous()


class _All(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, table: ShardedTable) -> Tensor:
        ctx.table, ctx.rows = table, len(own)
        parts = [own.new_empty(table._height, *own.shape[1:]) for _ in range(table.world)]
        distributed.all_gather(parts, table._padded(own))
        return torch.stack(parts, 1).flatten(0, 1)[: table.n_rows]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        g, table = gradients[0], ctx.table
        # pieces and their sum instead of a reduce-scatter: the order of the sum is that of the processes
        pieces = g.new_zeros(table.world, table._height, *g.shape[1:])
        for owner in range(table.world):
            mine = g[owner :: table.world]
            pieces[owner, : len(mine)] = mine
        received = torch.empty_like(pieces)
        distributed.all_to_all_single(received, pieces)
        return received.sum(0)[: ctx.rows], None


class _Exchange(torch.autograd.Function):
    """Rows by key, distinct and sorted: keys to their owners, vectors back; gradients the same way as the keys."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, key: Tensor, table: ShardedTable) -> Tensor:
        height = table._height
        asked = torch.bincount(key // height, minlength=table.world)
        wanted = torch.empty_like(asked)
        distributed.all_to_all_single(wanted, asked)
        ctx.asked, ctx.wanted, ctx.rows = asked.tolist(), wanted.tolist(), len(own)
        rows = key.new_empty(sum(ctx.wanted))
        distributed.all_to_all_single(rows, key % height, ctx.wanted, ctx.asked)
        ctx.save_for_backward(rows)
        vectors = own.new_empty(len(key), own.shape[1])
        distributed.all_to_all_single(vectors, own.index_select(0, rows), ctx.asked, ctx.wanted)
        return vectors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        g = gradients[0].contiguous()
        received = g.new_empty(len(rows), g.shape[1])
        distributed.all_to_all_single(received, g, ctx.wanted, ctx.asked)
        out = g.new_zeros(ctx.rows, g.shape[1])
        # one process's rows are distinct: added process by process the sum has one order, on every device
        for index, part in zip(rows.split(ctx.wanted), received.split(ctx.wanted), strict=True):
            out.index_add_(0, index, part)
        return out, None, None
