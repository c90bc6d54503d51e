"""A cross-modal transformer reads an item's neighbour sequence in two modalities at once: queries of one modality attend
keys of both (Multi-KG4Rec eqs. (3) to (6), B9). Legend: I items, n sequence length, d width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StreamBlock(nn.Module):
    """One stream's part of a block: attention over its own and other keys, then a feed-forward net."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, norm: Literal["post", "pre"]) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads, self.dropout, self.norm = heads, dropout, norm
        for linear in (self.query, self.key, self.value, self.out, self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.inner.bias)
        nn.init.zeros_(self.outer.bias)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of this stream's positions, by head. shape of each: (I, H, n, d / H)  # eq. (3)"""
        x = self.norm_attention(x) if self.norm == "pre" else x
        return self._by_head(self.key(x)), self._by_head(self.value(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """One block of this stream.

        :param x: shape: (I, q, d), the positions that ask; (q = 1 where only the first is needed)
        :param keys, values: shape: (I, H, K, d / H), own and other positions along K
        :param mask: shape: (I, 1, 1, K), 0 for a key to attend and -inf for padding
        :return: shape: (I, q, d)
        """
        asked = self.norm_attention(x) if self.norm == "pre" else x
        query = self._by_head(self.query(asked))
        score = query @ keys.transpose(-1, -2) * (1 / math.sqrt(keys.shape[-1])) + mask
        head = score.softmax(-1) @ values  # eq. (4)
        head = self.out(head.transpose(1, 2).reshape(x.shape))  # eq. (5)
        x = x + self._drop(head)
        if self.norm == "post":
            x = self.norm_attention(x)
        inner = self.norm_feed_forward(x) if self.norm == "pre" else x
        x = x + self._drop(self.outer(F.relu(self.inner(inner))))  # eq. (6)
        return self.norm_feed_forward(x) if self.norm == "post" else x

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x


class CrossModalTransformer(nn.Module):
    """Blocks in which all streams advance together.

    :param streams: modality names; with one name this is a plain transformer
    :param attends: stream -> the other streams whose keys its queries attend too
    """

    def __init__(
        self, streams: Sequence[str], attends: Mapping[str, Sequence[str]], *,
        width: int, blocks: int, heads: int, hidden: int, dropout: float, norm: Literal["post", "pre"] = "post",
    ) -> None:  # fmt: skip
        super().__init__()
        self.attends = {s: [s, *attends.get(s, ())] for s in streams}
        self.blocks = nn.ModuleList(
            nn.ModuleDict({s: StreamBlock(width, heads, hidden, dropout, norm) for s in streams}) for _ in range(blocks)
        )

    def forward(self, x: Mapping[str, Tensor], padding: Tensor, only_first: bool = False) -> dict[str, Tensor]:
        """Fuse the sequences.

        :param x: stream -> shape: (I, n, d)
        :param padding: shape: (I, n), bool, True where the sequence is shorter
        :param only_first: compute the last block for position 0 alone; exact, since only keys come from the others
        :return: stream -> shape: (I, n, d), or (I, 1, d) with ``only_first``
        """
        y = dict(x)
        own = torch.zeros(padding.shape, dtype=next(iter(y.values())).dtype, device=padding.device)
        own = own.masked_fill(padding, -torch.inf)[:, None, None, :]
        for number, block in enumerate(self.blocks):
            keys_values = {s: block[s].keys_values(y[s]) for s in y}
            first = only_first and number == len(self.blocks) - 1
            y = {
                s: block[s](
                    y[s][:, :1] if first else y[s],
                    torch.cat([keys_values[o][0] for o in sources], 2),
                    torch.cat([keys_values[o][1] for o in sources], 2),
                    torch.cat([own] * len(sources), -1),
                )
                for s, sources in self.attends.items()
            }
        return y
