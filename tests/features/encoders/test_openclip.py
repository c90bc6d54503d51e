from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.functional import layer_norm, normalize, softmax

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder
from kgrec.features.torchvision_compat import prepare_torchvision
from tests.features.encoders.refusals import refusal

Alone = Callable[[str, Any, list[Any]], torch.Tensor]

VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
BYTES = {"vocab_size": 300, "hf_tokenizer_name": "words", "context_length": 16}
#: text towers: options, length of the shortest text's row
TOWERS: dict[str, tuple[dict[str, Any], int]] = {
    "causal": ({}, 8),
    "causal, custom": ({"custom_text": True}, 8),
    "causal, pooled at a given id": (
        {"custom_text": True, "text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}}, 8,
    ),
    "causal, pooled at the last place": ({"text_cfg": TEXT | {"pool_type": "last"}}, 32),
    "both ways, as SigLIP": (
        {"custom_text": True, "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}}, 32,
    ),
    "own class token, as CoCa": (
        {"custom_text": True, "text_cfg": TEXT | {"embed_cls": True}}, 32,
    ),
    "from transformers": (
        {"text_cfg": BYTES | {"hf_model_name": "tower", "hf_proj_type": "linear", "hf_pooler_type": "mean_pooler"}}, 8,
    ),
    "from transformers, pooled first": (
        {"text_cfg": BYTES | {"hf_model_name": "tower", "hf_proj_type": "mlp", "hf_pooler_type": "cls_pooler"}}, 8,
    ),
}  # fmt: skip


def write_folder(folder: Path, preprocess: dict[str, Any] | None = None, **options: Any) -> SimpleNamespace:
    """A CLIP of random weights in open_clip's layout, its model and its tokeniser as open_clip makes them."""
    prepare_torchvision()
    import open_clip
    from safetensors.torch import save_file

    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT} | options
    folder.mkdir(exist_ok=True, parents=True)
    layout = {"model_cfg": config, "preprocess_cfg": preprocess or {}}
    text = dict(config["text_cfg"])
    if "hf_model_name" in text:
        write_tower(folder)
        layout["model_cfg"] = config | {"text_cfg": text | {"hf_model_name": str(folder / "tower")}}
    (folder / "open_clip_config.json").write_text(json.dumps(layout))
    torch.manual_seed(3)
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}}))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    if "hf_model_name" in text:
        from open_clip.tokenizer import HFTokenizer

        tokenizer: Any = HFTokenizer(str(folder / "words"), context_length=text["context_length"])
    else:
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return SimpleNamespace(name=f"open_clip:{folder}", model=model, tokenizer=tokenizer, folder=folder)


def write_tower(folder: Path) -> None:
    """A tower's configuration and a tokeniser of single bytes, as transformers reads them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=16, pad_token_id=0,
    ).save_pretrained(folder / "tower")  # fmt: skip
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["[PAD]", "[CLS]", "[SEP]", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder / "words")


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SimpleNamespace]:
    return cache(lambda kind: write_folder(tmp_path_factory.mktemp("clip"), **TOWERS[kind][0]))


def full_length(clip: SimpleNamespace, sentences: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        return clip.model.encode_text(clip.tokenizer(sentences), normalize=True)


@pytest.mark.parametrize("kind", TOWERS)
def test_a_trimmed_text_has_the_vector_of_its_full_length(
    kind: str, towers: Callable[[str], SimpleNamespace], alone: Alone, sentences: list[str]
) -> None:
    clip = towers(kind)
    encoder = open_encoder(clip.name, "text", "cpu", batch_size=2)
    assert encoder.padded_length("a") == TOWERS[kind][1]
    fitting = [text for text in sentences if not encoder.cut(text)]
    assert len(fitting) >= 2
    found = alone(clip.name, "text", fitting)
    torch.testing.assert_close(found, full_length(clip, fitting), rtol=0, atol=1e-6)
    assert (found[0] - found[1]).abs().max() > 1e-3  # not all the same vector


@pytest.mark.parametrize("kind", TOWERS)
def test_tokens_of_a_text_are_the_states_its_vector_is_read_from(
    kind: str, towers: Callable[[str], SimpleNamespace]
) -> None:
    clip = towers(kind)
    encoder = open_encoder(clip.name, "text", "cpu", batch_size=3)
    texts = ["Heat", "a", "Alien"]
    encoded = encoder.encode(encoder.collate(texts, length := encoder.padded_length(texts[0])), tokens=True)
    assert encoded.tokens is not None
    assert encoded.token_mask is not None
    without_first = "first" in kind
    assert encoded.tokens.shape == (3, length - without_first, encoder.token_width)
    ids = [len(encoder.tokenise(text)) for text in texts]  # type: ignore[attr-defined]
    assert encoded.token_mask.sum(1).tolist() == [n - without_first for n in ids]
    assert torch.equal(encoded.vectors, encoder.encode(encoder.collate(texts, length)).vectors)
    if kind == "causal":
        read = encoded.tokens[torch.arange(3), encoded.token_mask.sum(1) - 1] @ clip.model.text_projection
        torch.testing.assert_close(normalize(read, dim=-1), encoded.vectors)


@pytest.mark.parametrize(
    ("preprocess", "worst"),
    [
        ({}, 1), ({"interpolation": "bilinear", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}, 1),
        ({"resize_mode": "squash"}, 0), ({"resize_mode": "longest", "fill_color": 9}, 0),
    ],
)  # fmt: skip
def test_preprocessing_is_the_checkpoints_own(
    preprocess: dict[str, Any], worst: int, tmp_path: Path, pictures: list[bytes]
) -> None:
    import open_clip

    clip = write_folder(tmp_path / "clip", preprocess)
    transform = open_clip.create_model_from_pretrained(f"local-dir:{clip.folder}")[1]
    encoder = open_encoder(clip.name, "image", "cpu", batch_size=len(pictures))
    found = encoder.prepare(encoder.collate(pictures, 0))["pixels"]
    expected = torch.stack([transform(Image.open(io.BytesIO(p)).convert("RGB")) for p in pictures[:2]])
    levels = (
        (found[:2] - expected).abs() * torch.tensor(preprocess.get("std", [0.269, 0.262, 0.276])).view(3, 1, 1) * 255
    )
    assert levels.max() < worst + 0.01
    assert (levels > 0.5).float().mean() < 0.005


def test_an_image_tower_is_what_open_clip_computes(tiny: Any, alone: Alone, pictures: list[bytes]) -> None:
    import open_clip

    model, transform = open_clip.create_model_from_pretrained("kgrec-tiny", pretrained=str(tiny.weights))
    # RGB first: open_clip itself would scale a palette picture by nearest neighbour before it converts it
    opaque = [p for p in pictures if Image.open(io.BytesIO(p)).mode != "RGBA"]
    batch = torch.stack([transform(Image.open(io.BytesIO(p)).convert("RGB")) for p in opaque])
    with torch.inference_mode():
        expected = model.eval().encode_image(batch, normalize=True)
    torch.testing.assert_close(alone(tiny.open_clip, "image", opaque), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "vision",
    [
        VISION, VISION | {"final_ln_after_pool": True, "pool_type": "avg"}, VISION | {"attentional_pool": True},
        {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
        {"image_size": 160, "timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"},
    ],
    ids=["class token", "mean", "attention", "timm", "timm, a map"],
)  # fmt: skip
def test_tokens_of_a_picture_are_what_its_vector_is_read_from(
    vision: dict[str, Any], tmp_path: Path, pictures: list[bytes]
) -> None:
    clip = write_folder(tmp_path / "clip", vision_cfg=vision)
    encoder = open_encoder(clip.name, "image", "cpu", batch_size=2)
    batch = encoder.collate(pictures[:2], 0)
    encoded = encoder.encode(batch, tokens=True)
    with torch.inference_mode():
        expected = clip.model.encode_image(encoder.prepare(batch)["pixels"], normalize=True)
    torch.testing.assert_close(encoded.vectors, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(encoder.encode(batch).vectors, expected, rtol=0, atol=1e-6)
    assert encoded.tokens is not None
    assert encoded.token_mask is not None
    assert encoded.token_mask.all()
    assert encoded.tokens.shape[::2] == (2, encoder.token_width)
    if vision is VISION:  # the patches: all but the class token, normalised
        states = clip.model.visual.forward_intermediates(
            encoder.prepare(batch)["pixels"], indices=1, normalize_intermediates=True, output_fmt="NLC"
        )
        torch.testing.assert_close(encoded.tokens, states["image_intermediates"][0], rtol=0, atol=1e-5)


def test_a_tower_without_tokens_says_so(tmp_path: Path, pictures: list[bytes]) -> None:
    clip = write_folder(tmp_path / "clip", vision_cfg=VISION | {"layers": [1, 1, 1, 1], "width": 8, "head_width": 32})
    encoder = open_encoder(clip.name, "image", "cpu", batch_size=1)
    assert encoder.token_width is None
    with pytest.raises(EncoderUnavailable, match="has no token outputs; leave image out"):
        encoder.encode(encoder.collate(pictures[:1], 0), tokens=True)


def by_hand(state: dict[str, torch.Tensor], pixels: torch.Tensor, quick: bool) -> torch.Tensor:
    """CLIP's image tower, written out. Radford et al., 2021; Dosovitskiy et al., 2021."""
    patch, width, head = VISION["patch_size"], VISION["width"], VISION["head_width"]
    blocks = pixels.unfold(2, patch, patch).unfold(3, patch, patch)  # B, 3, rows, columns, patch, patch
    patches = blocks.permute(0, 2, 3, 1, 4, 5).reshape(len(pixels), -1, 3 * patch * patch)
    x = patches @ state["visual.conv1.weight"].reshape(width, -1).T
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + state["visual.positional_embedding"]

    def norm(values: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(values, (width,), state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(values: torch.Tensor, name: str) -> torch.Tensor:
        return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    x = norm(x, "visual.ln_pre")
    for layer in range(VISION["layers"]):
        block = f"visual.transformer.resblocks.{layer}"
        y = norm(x, f"{block}.ln_1")
        joint = y @ state[f"{block}.attn.in_proj_weight"].T + state[f"{block}.attn.in_proj_bias"]
        q, k, v = (part.unflatten(-1, (-1, head)).transpose(1, 2) for part in joint.chunk(3, -1))
        read = softmax(q @ k.transpose(-1, -2) / math.sqrt(head), -1) @ v
        x = x + linear(read.transpose(1, 2).flatten(2), f"{block}.attn.out_proj")
        y = linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")
        y = y * torch.sigmoid(1.702 * y) if quick else y * (1 + torch.erf(y / math.sqrt(2))) / 2
        x = x + linear(y, f"{block}.mlp.c_proj")
    return normalize(norm(x[:, 0], "visual.ln_post") @ state["visual.proj"], dim=-1)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("way", ["folder", "tag", "architecture"])
def test_the_activation_is_the_one_the_weights_were_trained_with(
    quick: bool, way: str, tmp_path: Path, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quick GELU is x sigmoid(1.702 x), which OpenAI's weights want; nothing in a file of weights says so."""
    import open_clip

    clip = write_folder(tmp_path / "clip", quick_gelu=quick)
    name, weights = clip.name, clip.folder / "open_clip_model.safetensors"
    if way != "folder":
        plain = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": quick and way == "architecture"}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "kgrec-plain", plain)
        tags = {"special": {"quick_gelu": quick}}
        monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: tags.get(tag))
        name = f"open_clip:kgrec-plain{'/special' if way == 'tag' else ''}@{weights}"
    encoder = open_encoder(name, "image", "cpu", batch_size=2)
    batch = encoder.collate(pictures[:2], 0)
    pixels = encoder.prepare(batch)["pixels"]
    right, wrong = (by_hand(clip.model.state_dict(), pixels, q) for q in (quick, not quick))
    found = encoder.encode(batch).vectors
    torch.testing.assert_close(found, right, rtol=0, atol=1e-6)
    assert (found - wrong).abs().max() > 1e-4


def test_a_tag_with_a_local_file_takes_the_tags_preprocessing(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    tag = {"quick_gelu": True, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, name: tag if name == "special" else None)
    encoder = open_encoder(f"open_clip:kgrec-tiny/special@{tiny.weights}", "image", "cpu")
    assert encoder.preprocessing()["mean"] == [0.1, 0.2, 0.3]


def test_each_tower_is_known_by_its_own_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    clip = write_folder(tmp_path / "clip")
    before = {m: open_encoder(clip.name, m, "cpu").fingerprint for m in ("image", "text")}
    file = clip.folder / "open_clip_model.safetensors"
    state = load_file(file)
    state["visual.proj"][0, 0] += 1e-3
    save_file(state, file)
    after = {m: open_encoder(clip.name, m, "cpu").fingerprint for m in ("image", "text")}
    assert after["image"] != before["image"]
    assert after["text"] == before["text"]


def test_what_is_cut_is_counted(tmp_path: Path) -> None:
    clip = write_folder(tmp_path / "clip")
    encoder = open_encoder(clip.name, "text", "cpu")
    assert encoder.cut("a " * 30) == 0
    assert encoder.cut("a " * 40) == 10  # no sentence ends: 32 places, two of them for the special tokens
    kept, left = "A toy is jealous. A boy moves house.", "Word " * 40 + "."
    assert encoder.cut(f"{kept} {left}") == 41
    assert encoder.tokenise(f"{kept} {left}") == encoder.tokenise(kept)  # type: ignore[attr-defined]


def test_a_text_the_tokeniser_cuts_ends_in_its_end_of_text(tmp_path: Path, alone: Alone) -> None:
    clip = write_folder(tmp_path / "clip")
    torch.testing.assert_close(
        alone(clip.name, "text", ["long words " * 50]), full_length(clip, ["long words " * 50]), rtol=0, atol=1e-6
    )


def test_weights_are_never_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip warns and goes on with random weights where it finds none."""
    import open_clip

    clip = write_folder(tmp_path / "clip")
    monkeypatch.setattr(open_clip.factory, "_find_checkpoint_in_dir", lambda folder: None)
    with pytest.raises(EncoderUnavailable, match=r"does not load .*Required pretrained weights"):
        open_encoder(clip.name, "image", "cpu")
    (clip.folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(EncoderUnavailable, match=r"no file .*open_clip_model\.safetensors"):
        open_encoder(clip.name, "image", "cpu")


def test_a_folder_that_is_damaged(tmp_path: Path) -> None:
    clip = write_folder(tmp_path / "clip", text_cfg=TOWERS["from transformers"][0]["text_cfg"])
    (clip.folder / "words" / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderUnavailable, match="words has no usable tokeniser"):
        open_encoder(clip.name, "text", "cpu")
    (clip.folder / "open_clip_config.json").write_text('{"model_cfg": {}}')
    with pytest.raises(EncoderUnavailable, match="is not an open_clip configuration"):
        open_encoder(clip.name, "text", "cpu")
    with pytest.raises(EncoderUnavailable, match=r"no file .*nowhere/open_clip_config\.json"):
        open_encoder(f"open_clip:{tmp_path}/nowhere", "text", "cpu")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("open_clip:ViT-B-32", "not of the form"),
        ("open_clip:ViT-B-33/openai", "no model 'ViT-B-33'; it has ViT-B-16"),
        ("open_clip:ViT-B-32/openia", "no tag 'openia' for ViT-B-32; tags: openai"),
        ("open_clip:ViT-B-32@/nowhere/clip.safetensors", "no file /nowhere/clip.safetensors"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_can(name: str, reason: str) -> None:
    assert reason in refusal(name)


def test_weights_that_do_not_fit(tiny: Any, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "clip").folder / "open_clip_model.safetensors"
    with pytest.raises(EncoderUnavailable, match="does not load as kgrec-tiny"):
        open_encoder(f"open_clip:kgrec-tiny@{other}", "text", "cpu")
    (tmp_path / "half.safetensors").write_bytes(tiny.weights.read_bytes()[:1000])
    with pytest.raises(EncoderUnavailable, match="does not load as kgrec-tiny"):
        open_encoder(f"open_clip:kgrec-tiny@{tmp_path / 'half.safetensors'}", "text", "cpu")
