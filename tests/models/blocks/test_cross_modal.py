"""The cross-modal transformer: what masking, duplicates, padding and zero weights must do (SPEC section 10)."""

from __future__ import annotations

import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from kgrec.models.blocks.cross_modal import CrossModalTransformer

ITEMS, N, D = 3, 4, 8
BOTH = {"text": ["image"], "image": ["text"]}


def transformer(attends: dict[str, list[str]], norm: str = "post", blocks: int = 2) -> CrossModalTransformer:
    torch.manual_seed(0)
    made = CrossModalTransformer(
        ["image", "text"],
        attends,
        width=D,
        blocks=blocks,
        heads=2,
        hidden=16,
        dropout=0.0,
        norm=norm,  # type: ignore[arg-type]
    )
    return made.double().eval()


def sequences(seed: int = 0, n: int = N) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(ITEMS, n, D, generator=generator, dtype=torch.float64) for m in ("image", "text")}


NO_PADDING = torch.zeros(ITEMS, N, dtype=torch.bool)


def test_streams_apart_do_not_see_each_other() -> None:
    apart = transformer({})
    x = sequences()
    y = apart(x, NO_PADDING)["image"]
    z = apart({**x, "text": torch.zeros_like(x["text"])}, NO_PADDING)["image"]
    assert torch.equal(y, z)
    assert not torch.allclose(transformer(BOTH)(x, NO_PADDING)["image"], y)


def test_identical_streams_with_tied_weights_act_as_one() -> None:
    """Doubling every key does not change a softmax average."""
    both, apart = transformer(BOTH), transformer({})
    for block in both.blocks:
        block["text"].load_state_dict(block["image"].state_dict())
    apart.load_state_dict(both.state_dict())
    x = sequences()
    x["text"] = x["image"]
    y = both(x, NO_PADDING)
    assert torch.allclose(y["image"], y["text"])
    assert torch.allclose(y["image"], apart(x, NO_PADDING)["image"])


def test_permuting_the_other_positions_leaves_the_first() -> None:
    both, x = transformer(BOTH), sequences()
    turned = {m: torch.cat([v[:, :1], v[:, 1:].flip(1)], 1) for m, v in x.items()}
    for m, y in both(x, NO_PADDING).items():
        assert torch.allclose(both(turned, NO_PADDING)[m][:, 0], y[:, 0])


def test_padding_changes_nothing() -> None:
    both, x = transformer(BOTH), sequences()
    longer = {m: torch.cat([v, 100 * torch.ones(ITEMS, 3, D, dtype=v.dtype)], 1) for m, v in x.items()}
    padding = torch.cat([NO_PADDING, torch.ones(ITEMS, 3, dtype=torch.bool)], 1)
    for m, y in both(x, NO_PADDING).items():
        assert torch.allclose(both(longer, padding)[m][:, :N], y)


def test_heads_equal_torchs_attention() -> None:
    apart = transformer({}, blocks=1)
    x = sequences()["image"]
    block = apart.blocks[0]["image"]
    weights = torch.cat([block.query.weight, block.key.weight, block.value.weight])
    attended, _ = F.multi_head_attention_forward(
        x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1), D, 2, weights, None, None, None, False, 0.0,
        block.out.weight, None, training=False, need_weights=False,
    )  # fmt: skip
    a = block.norm_attention(x + attended.transpose(0, 1))
    expected = block.norm_feed_forward(a + block.outer(F.relu(block.inner(a))))
    assert torch.allclose(apart(sequences(), NO_PADDING)["image"], expected)


def test_zero_output_weights_leave_two_layer_norms() -> None:
    both = transformer(BOTH, blocks=1)
    for block in both.blocks[0].values():
        torch.nn.init.zeros_(block.out.weight)
        torch.nn.init.zeros_(block.outer.weight)
    x = sequences()
    expected = F.layer_norm(F.layer_norm(x["text"], (D,)), (D,))
    assert torch.allclose(both(x, NO_PADDING)["text"], expected)


def test_gradients_are_right() -> None:
    both = transformer(BOTH, blocks=1)
    x = sequences(n=2)
    padding = torch.zeros(ITEMS, 2, dtype=torch.bool)
    padding[0, 1] = True
    image, text = (x[m].requires_grad_() for m in ("image", "text"))
    assert gradcheck(lambda i, t: both({"image": i, "text": t}, padding)["text"][:, 0], (image, text))
