"""Multi-KG4Rec fuses an item's neighbourhood across modalities, then propagates the fused vectors over one graph per
modality with KGAT's attention (ESWA 268, 2025, 126308, section 4).

Every item's sequence of near nodes is read by a cross-modal transformer; its first position replaces the item's layer-0
vector in each modality graph. With ``modalities: []`` the model is KGAT, weight for weight: the paper's "w/o t&v".
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from kgrec.errors import ConfigError, TrainingError
from kgrec.graphs.data import GraphData
from kgrec.graphs.ops import gather_rows
from kgrec.models.base import KGBatch
from kgrec.models.blocks.cross_modal import CrossModalTransformer
from kgrec.models.blocks.modality import ModalityProjector, NodeInput
from kgrec.models.kgat import KGAT, KGATSettings

#: which stream's queries attend which other stream's keys
DIRECTIONS = {"t2v": ("text", "image"), "v2t": ("image", "text")}


class MultiKG4RecSettings(KGATSettings):
    """Settings of Multi-KG4Rec."""

    modalities: tuple[str, ...] = ("image", "text")
    """Modality graphs to use. ("text",) is the paper's "w/o v", ("image",) "w/o t", () "w/o t&v", which is KGAT."""
    fusion: bool = True
    """Fuse item sequences before propagation."""
    directions: tuple[Literal["t2v", "v2t"], ...] = ("t2v", "v2t")
    """Cross-modal attention: t2v lets text queries attend image keys, v2t the reverse; () keeps the streams apart."""
    node_input: NodeInput = "add"
    """How a node's id vector and projected feature join."""
    fusion_blocks: int = Field(3, gt=0)
    """Transformer blocks."""
    fusion_heads: int = Field(8, gt=0)
    """H, attention heads."""
    fusion_hidden: int = Field(256, gt=0)
    """d_m, hidden width of the feed-forward net."""
    fusion_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout after attention and after the feed-forward net."""
    norm: Literal["post", "pre"] = "post"
    """Layer norm after each residual sum (as the text says) or before each sublayer."""
    hop_embedding: bool = True
    """Add a learned vector of the hop distance to each position; off, positions 1.. are a set."""
    readout: Literal["self", "mean"] = "self"
    """The fused item vector: position 0 of the last block, or the mean over the sequence."""
    transr: Literal["shared", "per_modality"] = "shared"
    """One TransR loss on the id vectors, or one on each modality's layer-0 vectors before fusion, summed."""
    fusion_refresh: int = Field(0, ge=0)
    """0: exact, fused item vectors are recomputed with gradient in every step. k > 0: they are kept for k steps and their
    gradient over those steps is summed and sent back once, with the k-th step; k = 1 is the exact mode by another road."""
    fusion_precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the fusion blocks; master weights and everything else stay float32."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> MultiKG4RecSettings:
        if self.embedding_size % self.fusion_heads:
            raise ValueError(f"fusion_heads {self.fusion_heads} must divide embedding_size {self.embedding_size}")
        return self

    @model_validator(mode="after")
    def _sampled_fusion_is_exact(self) -> MultiKG4RecSettings:
        if self.fan_out is not None and self.fusion_refresh:
            raise ValueError(
                "fusion_refresh keeps the vectors of all items and fan_out reads some; set one of them to 0 or null"
            )
        return self


class MultiKG4Rec(KGAT):
    """Multimodal fusion over a knowledge graph, then KGAT per modality graph."""

    Settings = MultiKG4RecSettings
    settings: MultiKG4RecSettings
    sharded = ("node",)

    def __init__(self, data: GraphData, settings: MultiKG4RecSettings) -> None:
        missing = [m for m in settings.modalities if m not in data.modalities]
        if missing:
            raise ConfigError(
                f"model needs modality {missing[0]!r}, which the graph has not; it has "
                f"{', '.join(data.modalities) or 'none'}: rerun `features` and `graph`, or set modalities"
            )
        super().__init__(data, settings)
        d = settings.embedding_size
        self.projector = nn.ModuleDict(
            {
                m: ModalityProjector(data.modalities[m], d, settings.node_input, settings.negative_slope)
                for m in settings.modalities
            }
        )
        self.fuses = settings.fusion and bool(settings.modalities)
        if self.fuses:
            if data.sequences is None or data.hops is None:
                raise TrainingError("fusion needs item sequences; rerun `graph`, or set fusion: false")
            self.register_buffer("sequence", data.sequences.clamp(min=0), persistent=False)
            self.register_buffer("padding", data.sequences < 0, persistent=False)
            self.register_buffer("hop", data.hops.clamp(min=0), persistent=False)
            attends: dict[str, list[str]] = {}
            for direction in settings.directions:
                query, key = DIRECTIONS[direction]
                if query in settings.modalities and key in settings.modalities:
                    attends.setdefault(query, []).append(key)
            self.transformer = CrossModalTransformer(
                settings.modalities, attends, width=d, blocks=settings.fusion_blocks, heads=settings.fusion_heads,
                hidden=settings.fusion_hidden, dropout=settings.fusion_dropout, norm=settings.norm,
            )  # fmt: skip
            if settings.hop_embedding:
                #: shape: (hops 0..3, d) per stream
                self.hop_vector = nn.ParameterDict(
                    {
                        m: nn.init.normal_(nn.Parameter(torch.empty(int(data.hops.max()) + 1, d)), std=0.02)
                        for m in settings.modalities
                    }
                )
        #: fused vectors of the current k steps: with their graph, and as leaves that collect the gradient
        self._fused: dict[str, Tensor] = {}
        self._leaf: dict[str, Tensor] = {}
        self._age = 0

    @staticmethod
    def stream_names(settings: MultiKG4RecSettings) -> list[str]:  # type: ignore[override]
        """One graph encoder per modality, or KGAT's single one."""
        return list(settings.modalities) or ["id"]

    def features(self) -> dict[str, Tensor]:
        """Layer-0 vectors before fusion, x_m^(0). shape of each: (N, d)"""
        if not self.settings.modalities:
            return super().inputs()
        node = self.nodes()
        return {m: self.projector[m](node, self.n_users) for m in self.settings.modalities}

    def fuse(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Fused item vectors from the layer-0 vectors. stream -> shape: (I, d)"""
        return self._fuse(x, self.sequence, self.padding, self.hop)

    def _fuse(self, x: dict[str, Tensor], sequence: Tensor, padding: Tensor, hop: Tensor) -> dict[str, Tensor]:
        """Fused vectors of some items, whose sequences, shape (i, n), count the rows of ``x``. stream -> shape: (i, d)"""
        sequences = {}
        for m in x:
            positions = gather_rows(x[m], sequence.reshape(-1))
            if self.settings.hop_embedding:  # (indexing would add up its gradient in whatever order threads come)
                positions = positions + gather_rows(self.hop_vector[m], hop.reshape(-1))
            sequences[m] = positions.view(*sequence.shape, -1)
        first = self.settings.readout == "self"
        half = self.settings.fusion_precision == "bfloat16"
        with torch.autocast(sequence.device.type, torch.bfloat16, enabled=half):
            fused = self.transformer(sequences, padding, only_first=first)
        if first:
            return {m: y[:, 0].float() for m, y in fused.items()}
        kept = (~padding)[..., None].float()
        return {m: (y.float() * kept).sum(1) / kept.sum(1) for m, y in fused.items()}

    def inputs_of(self, nodes: Tensor) -> dict[str, Tensor]:
        """Layer-0 vectors of some distinct nodes, per stream; only the items among them are fused. shape: (B,) -> (B, d)"""
        if not self.settings.modalities:
            return super().inputs_of(nodes)
        place = ((nodes >= self.n_users) & (nodes < self.n_users + self.n_items)).nonzero()[:, 0]
        items = nodes[place] - self.n_users
        sequence = self.sequence[items] if self.fuses else nodes[:0]
        needed, position = torch.unique(torch.cat([nodes, sequence.reshape(-1)]), return_inverse=True)
        vectors = self.lookup(needed)
        x = {m: self.projector[m].of(vectors, needed - self.n_users) for m in self.settings.modalities}
        own = {m: gather_rows(y, position[: len(nodes)]) for m, y in x.items()}
        if not self.fuses:
            return own
        fused = self._fuse(x, position[len(nodes) :].view_as(sequence), self.padding[items], self.hop[items])
        return {m: own[m].index_copy(0, place, fused[m]) for m in own}

    def inputs(self) -> dict[str, Tensor]:
        """Layer-0 vectors of the modality graphs, with the items' fused vectors in place. shape of each: (N, d)"""
        x = self.features()
        if not self.fuses:
            return x
        if not (self.training and self.settings.fusion_refresh and torch.is_grad_enabled()):
            fused = self.fuse(x)
        else:
            if not self._leaf:
                # a graph of its own: it is sent back k steps later, when that of the step is long gone
                self._fused = self.fuse(self.features())
                self._leaf = {m: y.detach().requires_grad_() for m, y in self._fused.items()}
            fused = self._leaf
        u, i = self.n_users, self.n_items
        return {m: torch.cat([x[m][:u], fused[m], x[m][u + i :]]) for m in x}

    def before_step(self, last: bool) -> None:
        """Every ``fusion_refresh`` steps, and at the end of a phase, send the summed gradient of the kept fused vectors back
        through the fusion, and forget them."""
        if not self._leaf:
            return
        self._age += 1
        if last or self._age >= self.settings.fusion_refresh:
            pairs = [(self._fused[m], leaf.grad) for m, leaf in self._leaf.items() if leaf.grad is not None]
            torch.autograd.backward([y for y, _ in pairs], [g for _, g in pairs])
            self._fused, self._leaf, self._age = {}, {}, 0

    def at_boundary(self) -> bool:
        """Whether no fused vectors are kept from an earlier step."""
        return not self._leaf

    def kg_loss(self, batch: KGBatch) -> dict[str, Tensor]:
        """TransR on the id vectors, or on each modality's layer-0 vectors."""
        if self.settings.transr == "shared":
            return super().kg_loss(batch)
        return {
            f"transr_{m}": self.transr.loss(partial(gather_rows, x), batch, self.settings.kg_reg_weight)
            for m, x in self.features().items()
        }
