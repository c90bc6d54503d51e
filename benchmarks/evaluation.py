"""Users ranked in a second: full ranking of a synthetic catalogue, against the bare product and other ways to the top.

    python benchmarks/evaluation.py                        # 200,000 users x 100,000 items, D = 352, k = 20
    python benchmarks/evaluation.py --users 8192           # shorter: time is proportional to users

Vectors are random, twice: ``normal``, independent and normal in every column, the hardest case for a bound; and ``trained``,
with a power-law spectrum over the columns and item norms that vary as those of trained models do. Neither is real data. A way
is timed on at most ``--sample`` users unless it is ours, which ranks them all; the best of ``--repeats`` counts. Ways take
turns, so that all meet the same noise. faiss and implicit take part where they are installed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from kgrec.evaluation.ranking import UserItems, rank_topk, stable_topk
from kgrec.graphs.ops.block_topk import BLOCK, BlockTopK, fast_kind

_PRODUCT_BLOCK = 512


class Vectors:
    """A model that is its vectors."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor) -> None:
        self._vectors = users, items

    def vectors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """User and item vectors."""
        return self._vectors

    def full_scores(self, users: torch.Tensor) -> torch.Tensor:
        """All scores of some users."""
        return self._vectors[0][users] @ self._vectors[1].T


def make_vectors(case: str, n_users: int, n_items: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Synthetic vectors, float32."""
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(n_users, width, generator=generator)
    items = torch.randn(n_items, width, generator=generator)
    if case == "trained":
        spectrum = torch.arange(1, width + 1).float().rsqrt()
        users *= spectrum
        items *= spectrum * torch.randn(n_items, 1, generator=generator).mul(0.3).exp()
    return users, items


def make_seen(n_users: int, n_items: int, mean: int = 50) -> UserItems:
    """Seen items, uniform."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users), rng.poisson(mean, n_users))
    keys = np.unique(users * n_items + rng.integers(0, n_items, len(users)))
    starts = np.searchsorted(keys, np.arange(n_users + 1) * n_items)
    return UserItems(starts.astype(np.int64), keys % n_items)


def ways(
    users: torch.Tensor, items: torch.Tensor, seen: UserItems, k: int
) -> dict[str, Callable[[np.ndarray], object]]:
    """Every way to rank a block of users, by name."""
    model = Vectors(users, items)
    low = {"users": users.bfloat16(), "items": items.bfloat16()}
    out = torch.empty(_PRODUCT_BLOCK, len(items))
    low_out = torch.empty(_PRODUCT_BLOCK, len(items), dtype=torch.bfloat16)

    def in_blocks(work: Callable[[np.ndarray], object]) -> Callable[[np.ndarray], None]:
        def run(chosen: np.ndarray) -> None:
            for start in range(0, len(chosen), _PRODUCT_BLOCK):
                work(chosen[start : start + _PRODUCT_BLOCK])

        return run

    def product(chosen: np.ndarray) -> torch.Tensor:
        return torch.mm(users[chosen], items.T, out=out[: len(chosen)])

    def low_product(chosen: np.ndarray) -> torch.Tensor:
        return torch.mm(low["users"][chosen], low["items"].T, out=low_out[: len(chosen)])

    def masked(chosen: np.ndarray) -> torch.Tensor:
        scores = product(chosen)
        rows, columns = (torch.from_numpy(part) for part in seen.select(chosen))
        scores[rows, columns] = -torch.inf
        return scores

    def group_max(chosen: np.ndarray) -> torch.Tensor:
        scores = masked(chosen)
        whole = len(items) // 32 * 32
        groups = scores[:, :whole].view(len(chosen), -1, 32)
        best = groups.amax(2).topk(min(k, groups.shape[1]), dim=1).indices
        near = groups.gather(1, best[:, :, None].expand(-1, -1, 32)).flatten(1)
        return torch.cat([near, scores[:, whole:]], 1).topk(k, dim=1).values

    def ours(kind: str) -> Callable[[np.ndarray], object]:
        find = BlockTopK(items, kind)  # type: ignore[arg-type]

        def run(chosen: np.ndarray) -> None:
            for start in range(0, len(chosen), BLOCK):
                some = chosen[start : start + BLOCK]
                find(users[some], some, seen.starts, seen.items, k)

        return run

    found: dict[str, Callable[[np.ndarray], object]] = {
        "float32 product alone": in_blocks(product),
        "bfloat16 product alone": in_blocks(low_product),
        "torch product + topk": in_blocks(lambda chosen: masked(chosen).topk(k, dim=1)),
        "torch product + topk, ties by item": in_blocks(lambda chosen: stable_topk(masked(chosen), k)),
        "torch product + group-max topk": in_blocks(group_max),
        "torch product + full sort": in_blocks(lambda chosen: masked(chosen).sort(dim=1, descending=True)),
        "ours, float32": ours("float32"),
    }
    if fast_kind() == "int8":
        found["ours, int8"] = ours("int8")
    try:
        import faiss
    except ImportError:
        pass
    else:
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(items.numpy())
        found["faiss, nothing masked"] = in_blocks(lambda chosen: index.search(users[chosen].numpy(), k))
    try:
        from implicit.cpu.topk import topk
        from scipy.sparse import csr_matrix
    except ImportError:
        pass
    else:
        history = csr_matrix(
            (np.ones(len(seen.items), np.float32), seen.items, seen.starts), shape=(len(users), len(items))
        )
        found["implicit"] = in_blocks(
            lambda chosen: topk(items.numpy(), users[chosen].numpy(), k, filter_query_items=history[chosen])
        )
    found["ours"] = lambda chosen: rank_topk(model, chosen, seen, k)
    return found


def check(users: torch.Tensor, items: torch.Tensor, seen: UserItems, k: int, lists: np.ndarray) -> int:
    """Compare lists with a full sort of float64 scores rounded to float32; how many users were compared."""
    chosen = np.unique(np.linspace(0, len(lists) - 1, 50).astype(np.int64))
    wide = items.double()
    for user in chosen:
        scores = (wide @ users[user].double()).float().numpy()
        scores[seen.items[seen.starts[user] : seen.starts[user + 1]]] = -np.inf
        best = np.lexsort((np.arange(len(scores)), -scores))[:k]
        if not np.array_equal(best, lists[user]):
            raise SystemExit(f"user {user}: {lists[user]} is not {best}")
    return len(chosen)


def main() -> None:
    """Print users a second of every way, for both cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=352)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--sample", type=int, default=4096, help="users the ways that take turns are timed on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=["normal", "trained"], nargs="+", default=["normal", "trained"])
    given = parser.parse_args()
    print(
        f"synthetic, {given.users:,} users x {given.items:,} items, D = {given.width}, k = {given.k}, "
        f"{torch.get_num_threads()} threads, cheap products in {fast_kind()}"
    )
    ratios = []
    for case in given.case:
        users, items = make_vectors(case, given.users, given.items, given.width)
        seen = make_seen(given.users, given.items)
        sample = np.arange(min(given.sample, given.users))
        timed = ways(users, items, seen, given.k)
        best = dict.fromkeys(timed, np.inf)
        counts = {name: len(sample) if "sort" not in name else min(_PRODUCT_BLOCK, len(sample)) for name in timed}
        for way in timed.values():
            way(sample[:8])
        for _ in range(given.repeats):
            for name, way in timed.items():
                started = time.perf_counter()
                way(sample[: counts[name]])
                best[name] = min(best[name], time.perf_counter() - started)
        rates = {name: counts[name] / seconds for name, seconds in best.items()}
        print(f"\n{case} vectors, users/s on {len(sample):,} users, best of {given.repeats}")
        for name, rate in rates.items():
            print(f"  {name:36} {rate:9,.0f}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        lists = rank_topk(Vectors(users, items), np.arange(given.users), seen, given.k)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"  all {given.users:,} users: {seconds:.1f} s, {given.users / seconds:,.0f} users/s")
        print(
            f"  memory: peak {after / 2**20:.2f} GiB, of which ranking all users added {(after - before) / 2**10:.0f} MiB"
        )
        compared = check(users, items, seen, given.k, lists)
        print(f"  lists equal to a full sort of float64 scores for {compared} of {compared} users compared")
        ratios.append((case, rates["ours"] / rates["float32 product alone"]))
        del timed, users, items
    for case, ratio in ratios:
        print(f"ratio {ratio:.2f} ({case}: users/s of ours over the float32 product alone)")


if __name__ == "__main__":
    main()
