from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder, transformers_models
from kgrec.features.torchvision_compat import prepare_torchvision
from tests.features.encoders.refusals import refusal

Alone = Callable[[str, Any, list[Any]], torch.Tensor]
SIDE, WIDTH = 32, 16
TOWER = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = 300


@pytest.fixture(scope="module", autouse=True)
def _torchvision() -> None:
    prepare_torchvision()


def randomise(model: Any) -> Any:
    """Weights far from the usual first ones, so that no part of the model is without effect."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return model.eval()


def save_tokenizer(folder: Path, longest: int, pad_first: bool = False, **more: Any) -> None:
    """A word-piece tokeniser over single letters and a few words, with BERT's special tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]  # the pad's id is RoBERTa's
    letters = [chr(code) for code in range(33, 127)]
    pieces = special + ["long", "words", "cowboy", "doll"] + letters + [f"##{letter}" for letter in letters]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=longest, **more,
    ).save_pretrained(folder)  # fmt: skip


def language_model(kind: str) -> Any:
    import transformers as t

    tower = TOWER | {"vocab_size": WORDS, "pad_token_id": 1}
    if kind == "distilbert":
        config = {"dim": WIDTH, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "vocab_size": WORDS}
        return t.DistilBertModel(t.DistilBertConfig(max_position_embeddings=40, pad_token_id=1, **config))
    if kind == "t5":
        config = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": WORDS}
        return t.T5Model(t.T5Config(pad_token_id=1, decoder_start_token_id=1, **config))
    if kind == "qwen3":
        tower |= {"head_dim": 8, "num_key_value_heads": 1, "max_position_embeddings": 40}
        return t.Qwen3Model(t.Qwen3Config(**tower))
    names = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "mpnet": "MPNet"}
    positions = 40 if kind == "bert" else 42  # all but BERT count positions from the pad's id on
    return getattr(t, f"{names[kind]}Model")(
        getattr(t, f"{names[kind]}Config")(max_position_embeddings=positions, **tower)
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random language model, by kind."""
    root, made = tmp_path_factory.mktemp("language"), {}

    def folder(kind: str) -> Path:
        if kind not in made:
            randomise(language_model(kind)).save_pretrained(root / kind)
            save_tokenizer(root / kind, 40)
            made[kind] = root / kind
        return made[kind]

    return folder


def states_alone(folder: Path, text: str, longest: int = 40) -> torch.Tensor:
    """Token states of one text without padding, by transformers' own straightforward use. shape: (T, width)"""
    from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

    kind = AutoModelForTextEncoding if folder.name == "t5" else AutoModel
    model = kind.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=longest, return_tensors="pt")
    with torch.inference_mode():
        states = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    return states[0]


def length_one(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "xlm-roberta", "mpnet", "t5", "qwen3"])
def test_a_plain_language_model_gives_the_mean_of_its_states(
    kind: str, folders: Callable[[str], Path], alone: Alone, sentences: list[str]
) -> None:
    folder = folders(kind)
    found = alone(f"transformers:{folder}", "text", sentences)
    expected = torch.stack([length_one(states_alone(folder, text).mean(0)) for text in sentences])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert (found[0] - found[1]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["bert", "mpnet", "qwen3"])
def test_a_text_is_the_same_alone_and_in_company(kind: str, folders: Callable[[str], Path]) -> None:
    encoder = open_encoder(f"transformers:{folders(kind)}", "text", "cpu", batch_size=4)
    texts = ["a doll", "cowboy", "words long", "doll; a"]
    assert {encoder.padded_length(text) for text in texts} == {8}
    together = encoder.encode(encoder.collate(texts, 8), tokens=True)
    for row, text in enumerate(texts):
        one = encoder.encode(encoder.collate([text], 8), tokens=True)
        assert torch.equal(one.vectors[0], together.vectors[row])
        assert torch.equal(one.tokens[0], together.tokens[row])
        assert together.token_mask is not None
        assert int(together.token_mask[row].sum()) == len(encoder.tokenise(text))
    assert together.tokens is not None
    assert together.tokens.shape == (4, 8, encoder.token_width) == (4, 8, WIDTH)


def test_too_long_a_text_is_cut_at_a_sentence_and_counted(folders: Callable[[str], Path]) -> None:
    encoder = open_encoder(f"transformers:{folders('roberta')}", "text", "cpu")
    assert encoder.lengths[-1] == 40  # of 42 positions two are the pad's
    text = "long words. " * 20
    assert len(encoder.tokenise(text)) == 38  # twelve sentences of three tokens, two special
    assert encoder.cut(text) == 24
    assert encoder.cut("long words.") == 0
    assert encoder.tokenise("long words. " * 12) == encoder.tokenise(text)


def test_a_text_that_fits_is_tokenised_once(folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = open_encoder(f"transformers:{folders('bert')}", "text", "cpu", batch_size=1)
    tokenise, seen = encoder._tokenise_cut, []
    monkeypatch.setattr(encoder, "_tokenise_cut", lambda text: seen.append(text) or tokenise(text))
    monkeypatch.setattr(encoder, "count", lambda text: pytest.fail("counted"))
    encoder.encode(encoder.collate(["a doll"], encoder.padded_length("a doll")))
    assert encoder.cut("a doll") == 0
    assert seen == ["a doll"]


def pooled(folder: Path, modes: list[str], *rest: str, **more: Any) -> None:
    """The files of sentence-transformers that say how to pool."""
    modules = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        *((f"{i}_{kind}", kind) for i, kind in enumerate(rest, 2)),
    ]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for i, (path, kind) in enumerate(modules)
            ]
        )
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {f"pooling_mode_{mode}": True for mode in modes}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH} | flags | more))


POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cls_token": lambda states: states[0],
    "max_tokens": lambda states: states.max(0).values,
    "mean_tokens": lambda states: states.mean(0),
    "mean_sqrt_len_tokens": lambda states: states.sum(0) / len(states) ** 0.5,
    "weightedmean_tokens": lambda states: (
        sum((i + 1) * s for i, s in enumerate(states)) / sum(range(1, len(states) + 1))
    ),
    "lasttoken": lambda states: states[-1],
}


@pytest.mark.parametrize("mode", list(POOLINGS))
def test_the_folder_says_how_to_pool(
    mode: str, folders: Callable[[str], Path], tmp_path: Path, alone: Alone, sentences: list[str]
) -> None:
    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    pooled(folder, [mode])
    expected = torch.stack([POOLINGS[mode](states_alone(folder, text)) for text in sentences])
    torch.testing.assert_close(alone(f"transformers:{folder}", "text", sentences), expected, rtol=0, atol=5e-6)


def test_everything_a_sentence_encoder_may_have_is_as_sentence_transformers_has_it(
    folders: Callable[[str], Path], tmp_path: Path, alone: Alone, sentences: list[str]
) -> None:
    from safetensors.torch import save_file

    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    pooled(folder, ["cls_token", "mean_tokens"], "Dense", "Normalize")
    (folder / "2_Dense").mkdir()
    torch.manual_seed(1)
    dense = {"linear.weight": torch.randn(12, 2 * WIDTH), "linear.bias": torch.randn(12)}
    save_file(dense, folder / "2_Dense" / "model.safetensors")
    config = {"in_features": 2 * WIDTH, "out_features": 12, "bias": True}
    (folder / "2_Dense" / "config.json").write_text(
        json.dumps(config | {"activation_function": "torch.nn.modules.activation.Tanh"})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"film": "doll: "}, "default_prompt_name": "film"})
    )
    sentences = sentences[1:]  # the first would be cut after its first sentence
    found = alone(f"transformers:{folder}", "text", sentences)
    assert found.shape == (len(sentences), 12)
    for text, vector in zip(sentences, found, strict=True):
        states = states_alone(folder, f"doll: {text}", 24)
        joined = torch.cat([states[0], states.mean(0)])
        expected = length_one(torch.tanh(dense["linear.weight"] @ joined + dense["linear.bias"]))
        torch.testing.assert_close(vector, expected, rtol=0, atol=5e-6)
    library = pytest.importorskip("sentence_transformers")
    published = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    torch.testing.assert_close(found, torch.from_numpy(published.encode(sentences)), rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: pooled(f, ["mean_tokens"], "LSTM"), "a LSTM at this place is not supported"),
        (lambda f: pooled(f, [], pooling_mode="middle"), "pooling_mode 'middle' is none of cls"),
        (lambda f: pooled(f, ["mean_tokens"], "Dense"), "2_Dense has no model.safetensors"),
        (
            lambda f: (f / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}'),
            "default_prompt_name 'query' is not among its prompts",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "no usable tokeniser"),
    ],
)
def test_a_folder_that_says_what_cannot_be_done(
    spoil: Callable[[Path], Any], reason: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    spoil(folder)
    with pytest.raises(EncoderUnavailable, match=reason):
        open_encoder(f"transformers:{folder}", "text", "cpu")


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    from safetensors.torch import load_file, save_file

    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


def test_no_weight_is_ever_drawn_at_random(
    folders: Callable[[str], Path], tmp_path: Path, alone: Alone, sentences: list[str]
) -> None:
    whole = alone(f"transformers:{folders('bert')}", "text", sentences)
    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    name = f"transformers:{folder}"
    rewrite(folder, lambda state: {k: v for k, v in state.items() if not k.startswith("pooler.")})
    assert torch.equal(alone(name, "text", sentences), whole)  # a head that is not used may be missing
    rewrite(folder, lambda state: {f"bert.{k}": v for k, v in state.items()} | {"cls.predictions.bias": torch.ones(3)})
    assert torch.equal(alone(name, "text", sentences), whole)  # as a masked language model was saved
    rewrite(folder, lambda state: {k: v for k, v in state.items() if "layer.1.output.dense" not in k})
    with pytest.raises(EncoderUnavailable, match=r"lacks weights of its bert model: .*layer\.1\.output\.dense\.bias"):
        open_encoder(name, "text", "cpu")


def test_no_weight_is_ever_dropped(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderUnavailable, match=r"no place for: encoder\.layer\.1\..* and 11 more"):
        open_encoder(f"transformers:{folder}", "text", "cpu")


def test_pickled_weights_are_not_read(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderUnavailable, match=r"no model.safetensors, but pytorch_model.bin; pickled .* not read"):
        open_encoder(f"transformers:{folder}", "text", "cpu")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("transformers:/nowhere/clip", "no folder /nowhere/clip"),
        ("transformers:./clip", "no folder clip"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_can(name: str, reason: str) -> None:
    assert reason in refusal(name)


def test_a_large_model_comes_from_the_hub_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors.index.json").touch()
    calls: list[str] = []

    def fetched(name: str, repository: str, files: list[str]) -> Path:
        calls.append(repository)
        raise EncoderUnavailable(f"{repository} has no model.safetensors")

    monkeypatch.setattr(transformers_models, "from_hub", fetched)
    there = [None, tmp_path]  # asked before and after the download
    monkeypatch.setattr(transformers_models, "cached", lambda repository, file: there.pop(0))
    assert transformers_models._folder("transformers:owner/large") == tmp_path
    assert calls == ["owner/large"]
    there[:] = [None, None]
    with pytest.raises(EncoderUnavailable, match=r"has no model\.safetensors"):
        transformers_models._folder("transformers:owner/large")


@pytest.mark.parametrize("answer", ["it has one", "it has none", "nothing", "remembered"])
def test_the_hub_is_asked_how_a_model_is_pooled(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    fetched: list[str] = []

    def download(repository: str, file: str) -> str:
        if answer == "it has one":
            return file
        raise EntryNotFoundError("404") if answer == "it has none" else LocalEntryNotFoundError("no route")

    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda r, f: object() if answer == "remembered" else None
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda r, allow_patterns: fetched.append(r))
    if answer == "nothing":
        with pytest.raises(EncoderUnavailable, match=r"may lack the modules\.json .* name a folder that is whole"):
            transformers_models._ask_for_pooling("transformers:owner/model", tmp_path)
    else:
        transformers_models._ask_for_pooling("transformers:owner/model", tmp_path)
    assert fetched == (["owner/model"] if answer == "it has one" else [])


# Two towers


def test_clip_towers_are_what_transformers_computes(
    tiny: Any, alone: Alone, sentences: list[str], pictures: list[bytes]
) -> None:
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(tiny.folder).eval()
    tokens = AutoTokenizer.from_pretrained(tiny.folder)(
        sentences, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = model.get_text_features(**tokens).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=-1)
    torch.testing.assert_close(alone(tiny.transformers, "text", sentences), expected, rtol=0, atol=1e-6)
    encoder = open_encoder(tiny.transformers, "text", "cpu", batch_size=4)
    assert [encoder.padded_length(text) for text in sentences] == [16, 8, 8, 77, 8]  # a causal tower needs no pads


def test_equal_weights_give_equal_vectors_through_both_libraries(
    tiny: Any, alone: Alone, pictures: list[bytes], sentences: list[str]
) -> None:
    for modality, contents in (("image", pictures), ("text", sentences)):
        ours, theirs = (alone(name, modality, contents) for name in (tiny.open_clip, tiny.transformers))
        assert ours.shape == (len(contents), 24)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        assert (ours[0] - ours[1]).abs().max() > 1e-3  # not all the same vector
        torch.testing.assert_close(ours.norm(dim=1), torch.ones(len(contents)))
        encoders = [open_encoder(name, modality, "cpu", batch_size=4) for name in (tiny.open_clip, tiny.transformers)]
        batches = [one.collate(contents[:2], one.padded_length(contents[0])) for one in encoders]
        a, b = (one.encode(batch, tokens=True) for one, batch in zip(encoders, batches, strict=True))
        assert torch.equal(a.token_mask, b.token_mask)
        torch.testing.assert_close(a.tokens[a.token_mask], b.tokens[b.token_mask], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a tiny random SigLIP; with NaFlex, of a SigLIP 2."""
    import transformers as t

    root = tmp_path_factory.mktemp("siglip")

    def folder(flexible: bool = False, pad_side: str = "right") -> Path:
        where = root / f"{flexible}-{pad_side}"
        text = TOWER | {"vocab_size": WORDS, "max_position_embeddings": 24, "projection_size": WIDTH, "pad_token_id": 1}
        vision = TOWER | ({"num_patches": 16, "patch_size": 8} if flexible else {"image_size": SIDE, "patch_size": 8})
        config, model = (t.Siglip2Config, t.Siglip2Model) if flexible else (t.SiglipConfig, t.SiglipModel)
        randomise(model(config(text_config=text, vision_config=vision))).save_pretrained(where)
        save_tokenizer(where, 24, padding_side=pad_side)
        how = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 16}
        plain = {"image_processor_type": "SiglipImageProcessor", "size": {"height": SIDE, "width": SIDE}}
        (where / "preprocessor_config.json").write_text(json.dumps(how if flexible else plain))
        return where

    return folder


@pytest.mark.parametrize("pad_side", ["right", "left"])
def test_siglip_texts_are_padded_to_the_end_and_pads_are_seen(
    siglip: Callable[..., Path], pad_side: str, alone: Alone, sentences: list[str]
) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = siglip(pad_side=pad_side)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    assert tokenizer.padding_side == pad_side
    short = [*sentences[:3], "long words. long words."]
    tokens = tokenizer(short, padding="max_length", truncation=True, max_length=24, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.get_text_features(input_ids=tokens).pooler_output, dim=-1)
    # the first is cut at its end of sentence; the others are whole
    found = alone(f"transformers:{folder}", "text", short)
    torch.testing.assert_close(found[1:], expected[1:], rtol=0, atol=1e-6)
    encoder = open_encoder(f"transformers:{folder}", "text", "cpu", batch_size=2)
    assert encoder.lengths == (24,)
    mask = encoder.encode(encoder.collate(["doll"], 24), tokens=True).token_mask
    assert mask is not None
    assert mask[0].nonzero().flatten().tolist() == ([0, 1, 2] if pad_side == "right" else [21, 22, 23])


@pytest.mark.parametrize("flexible", [False, True])
def test_siglip_pictures_are_what_transformers_computes(
    siglip: Callable[..., Path], flexible: bool, alone: Alone, pictures: list[bytes]
) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = siglip(flexible)
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    opened = [transformers_models.open_rgb(picture) for picture in pictures]
    with torch.inference_mode():
        features = model.get_image_features(**processor(images=opened, return_tensors="pt")).pooler_output
    found = alone(f"transformers:{folder}", "image", pictures)
    torch.testing.assert_close(found, torch.nn.functional.normalize(features, dim=-1), rtol=0, atol=1e-5)
    encoder = open_encoder(f"transformers:{folder}", "image", "cpu", batch_size=4)
    together = encoder.encode(encoder.collate(pictures, 0), tokens=True)
    assert torch.equal(together.vectors, found)
    assert together.tokens is not None
    assert together.tokens.shape == (4, 16, encoder.token_width)
    used = [15] * 4 if flexible else [16] * 4  # 3 x 5 patches keep the aspect
    assert together.token_mask is not None
    assert together.token_mask.sum(1).tolist() == used


# Image models


def image_model(kind: str, folder: Path) -> None:
    import transformers as t

    tower = TOWER | {"image_size": SIDE, "patch_size": 8}
    how: dict[str, Any] = {"size": {"height": SIDE, "width": SIDE}, "image_processor_type": "ViTImageProcessor"}
    if kind == "vit":
        model = t.ViTModel(t.ViTConfig(**tower))
    elif kind == "vit without pooler":
        model = t.ViTModel(t.ViTConfig(**tower), add_pooling_layer=False)
    elif kind == "dinov2":
        model = t.Dinov2Model(t.Dinov2Config(**tower))
        crop = {"crop_size": {"height": SIDE, "width": SIDE}, "size": {"shortest_edge": 40}}
        how = {"image_processor_type": "BitImageProcessor", "resample": 3} | crop
    else:
        model = t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]))
        how = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": SIDE}, "crop_pct": 0.875}
    randomise(model).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(how))


@pytest.mark.parametrize("kind", ["vit", "vit without pooler", "dinov2", "convnext"])
def test_image_models_give_their_pooled_output_or_their_first_token(
    kind: str, tmp_path: Path, alone: Alone, pictures: list[bytes]
) -> None:
    from transformers import AutoImageProcessor, AutoModel

    image_model(kind, tmp_path)
    name = f"transformers:{tmp_path}"
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    opened = [transformers_models.open_rgb(picture) for picture in pictures]
    with torch.inference_mode():
        states = AutoModel.from_pretrained(tmp_path).eval()(**processor(images=opened, return_tensors="pt"))
    expected = states.last_hidden_state[:, 0] if kind == "vit without pooler" else states.pooler_output
    encoder = open_encoder(name, "image", "cpu", batch_size=4)
    together = encoder.encode(encoder.collate(pictures, 0), tokens=True)
    # one grey level of rounding, through weights of random size
    torch.testing.assert_close(together.vectors, expected, rtol=0, atol=2e-2)
    assert torch.equal(alone(name, "image", pictures), together.vectors)
    assert together.tokens is not None
    assert together.tokens.shape == (4, 1 if kind == "convnext" else 17, encoder.token_width)
    assert encoder.preprocessing()["pooling"] == (
        "without its head" if kind == "vit without pooler" else "the model's own"
    )
    assert ("resampled" in encoder.preprocessing()) is (kind != "convnext")  # whose processor does more than crop


def test_the_processors_work_as_one_resize(tmp_path: Path) -> None:
    image_model("dinov2", tmp_path)
    encoder = open_encoder(f"transformers:{tmp_path}", "image", "cpu")
    rng = np.random.default_rng(0)
    for width, height in ((90, 130), (131, 90), (300, 444), (33, 47)):
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        ours = encoder.normalise(encoder.transform(noise)[None])[0]
        theirs = encoder._processor(images=noise, return_tensors="pt")["pixel_values"][0]
        levels = (ours - theirs).abs() * torch.tensor(encoder._middle.std).view(3, 1, 1) * 255
        assert levels.mean() < 0.5


def test_a_model_of_another_kind_is_told(folders: Callable[[str], Path], tmp_path: Path) -> None:
    import transformers as t

    with pytest.raises(EncoderUnavailable, match="holds a bert model, which does not encode pictures"):
        open_encoder(f"transformers:{folders('bert')}", "image", "cpu")
    image_model("vit", tmp_path / "vit")
    save_tokenizer(tmp_path / "vit", 40)
    with pytest.raises(EncoderUnavailable, match="holds a vit model, which does not encode texts"):
        open_encoder(f"transformers:{tmp_path / 'vit'}", "text", "cpu")
    t.ViTMAEModel(t.ViTMAEConfig(image_size=SIDE, patch_size=8, **TOWER)).save_pretrained(tmp_path / "mae")
    with pytest.raises(EncoderUnavailable, match="a vit_mae model hides parts of each picture at random"):
        open_encoder(f"transformers:{tmp_path / 'mae'}", "image", "cpu")


def test_a_folder_that_lacks_files(tiny: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.folder, tmp_path / "clip")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderUnavailable, match="preprocessor_config"):
        open_encoder(f"transformers:{folder}", "image", "cpu")
    rewrite(folder, lambda state: {k: v for k, v in state.items() if not k.startswith("text_model.encoder.layers.1")})
    with pytest.raises(EncoderUnavailable, match="lacks weights of its clip model: text_model"):
        open_encoder(f"transformers:{folder}", "text", "cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderUnavailable, match=r"has no model\.safetensors, but no weights at all"):
        open_encoder(f"transformers:{folder}", "text", "cpu")


def test_texts_are_tokenised_in_threads(folders: Callable[[str], Path]) -> None:
    encoder = open_encoder(f"transformers:{folders('bert')}", "text", "cpu", batch_size=1)
    texts = [f"long words {i}. " * (i % 40) + "x" for i in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(encoder.tokenise, texts))
    again = open_encoder(f"transformers:{folders('bert')}", "text", "cpu", batch_size=1)
    assert found == [again.tokenise(text) for text in texts]


def test_the_fingerprint_knows_pooling_prompt_and_tokeniser(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders("bert"), tmp_path / "bert")
    name, seen = f"transformers:{folder}", []
    for change in (
        lambda: None,
        lambda: pooled(folder, ["cls_token"]),
        lambda: (folder / "config_sentence_transformers.json").write_text(
            json.dumps({"prompts": {"film": "doll: "}, "default_prompt_name": "film"})
        ),
        lambda: (folder / "tokenizer.json").write_text(
            (folder / "tokenizer.json").read_text().replace("cowboy", "clown")
        ),
    ):
        change()
        encoder = open_encoder(name, "text", "cpu")
        seen.append(encoder.fingerprint)
        encoder.tokenise("long words. " * 99)  # cutting leaves its mark on a tokeniser, not on its fingerprint
        assert open_encoder(name, "text", "cpu").fingerprint == seen[-1]
    assert len(set(seen)) == 4


@pytest.mark.parametrize("kind", ["bert", "t5", "siglip", "vit", "convnext"])
def test_bfloat16_gives_nearly_the_same(
    kind: str, folders: Callable[[str], Path], siglip: Callable[..., Path], tmp_path: Path, pictures: list[bytes]
) -> None:
    folder, modality, contents = tmp_path, "image", list[Any](pictures)
    if kind == "siglip":
        folder = siglip()
    elif kind in ("bert", "t5"):
        folder, modality, contents = folders(kind), "text", ["a cowboy doll", "x y z"]
    else:
        image_model(kind, tmp_path)
    found = []
    for precision in ("float32", "bfloat16"):
        encoder = open_encoder(f"transformers:{folder}", modality, "cpu", batch_size=4, precision=precision)  # type: ignore[arg-type]
        found.append(encoder.encode(encoder.collate(contents, encoder.padded_length(contents[0])), tokens=True))
    exact, rounded = (one.vectors[: len(contents)] for one in found)
    assert rounded.dtype == found[1].tokens.dtype == torch.float32
    assert (torch.nn.functional.cosine_similarity(exact, rounded) > 0.99).all()
    assert not torch.equal(exact, rounded)
