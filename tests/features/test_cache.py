from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from kgrec.features.cache import FeatureCache


def names(count: int) -> list[str]:
    return [sha256(str(i).encode()).hexdigest() for i in range(count)]


def test_what_is_put_is_got_back_to_the_bit(tmp_path: Path) -> None:
    rows = [(name, np.random.default_rng(i).normal(size=5).astype(np.float16)) for i, name in enumerate(names(1200))]
    with FeatureCache(tmp_path, "f", 5, {"encoder": "x"}) as cache:
        cache.put(rows)
    with FeatureCache(tmp_path, "f", 5, {"encoder": "x"}) as cache:
        found = cache.get([*names(1200), "00" * 32])
    assert found.keys() == set(names(1200))
    assert all(np.array_equal(found[name], vector) for name, vector in rows)


def test_a_vector_of_another_width_is_not_known(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, "f", 4, {}) as cache:
        cache.put([(names(1)[0], np.zeros(4, np.float16))])
    with FeatureCache(tmp_path, "f", 5, {}) as cache:
        assert cache.get(names(1)) == {}


def test_two_processes_may_share_a_cache(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, "f", 2, {}) as one, FeatureCache(tmp_path, "f", 2, {}) as two:
        one.put([(names(2)[0], np.ones(2, np.float16))])
        two.put([(names(2)[1], np.ones(2, np.float16))])
        assert one.get(names(2)).keys() == set(names(2))
