"""A small world in memory: users, items, entities, two modalities with gaps, an item and a user without edges."""

from __future__ import annotations

import numpy as np
import torch

from kgrec.graphs.data import GraphData, ModalityData


def make_world(
    n_users: int = 12, n_items: int = 15, n_entities: int = 8, per_user: int = 4, seed: int = 0, n: int = 6
) -> GraphData:
    rng = np.random.default_rng(seed)
    # the last user and the last item have no training interaction
    users = np.repeat(np.arange(n_users - 1), per_user)
    items = np.concatenate([rng.choice(n_items - 1, per_user, replace=False) for _ in range(n_users - 1)])
    order = np.lexsort((items, users))
    users, items = users[order], items[order]
    heads = n_users + rng.integers(0, n_items, 30)
    tails = n_users + n_items + rng.integers(0, n_entities, 30)
    rels = rng.integers(1, 3, 30)
    inverse = 3  # interact, two relations, and their inverses
    edges = np.concatenate(
        [
            np.stack([users, np.zeros_like(users), n_users + items], 1),
            np.stack([n_users + items, np.full_like(users, inverse), users], 1),
            np.stack([heads, rels, tails], 1),
            np.stack([tails, rels + inverse, heads], 1),
        ]
    )
    edges = np.unique(edges, axis=0)
    edges = torch.from_numpy(edges[np.lexsort((edges[:, 2], edges[:, 1], edges[:, 0]))])
    generator = torch.Generator().manual_seed(seed)
    rows = n_items + n_entities
    modalities = {}
    for name, width in (("image", 10), ("text", 7)):
        present = torch.rand(rows, generator=generator) < 0.7
        modalities[name] = ModalityData(torch.randn(rows, width, generator=generator) * present[:, None], present)
    sequences = torch.from_numpy(rng.integers(0, n_users + rows, (n_items, n)))
    sequences[:, 0] = n_users + torch.arange(n_items)
    hops = torch.ones(n_items, n, dtype=torch.int64)
    hops[:, 0] = 0
    sequences[::2, n - 2 :], hops[::2, n - 2 :] = -1, -1
    return GraphData(
        n_users, n_items, n_entities, ["interact", "a", "b", "interact^-1", "a^-1", "b^-1"],
        edges[:, 0].contiguous(), edges[:, 1].contiguous(), edges[:, 2].contiguous(),
        torch.from_numpy(users), torch.from_numpy(items), modalities, sequences, hops,
    )  # fmt: skip
