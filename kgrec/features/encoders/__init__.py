"""Pretrained encoders: four families behind one interface."""

from kgrec.features.encoders.base import Encoder, Modality
from kgrec.features.encoders.registry import EncoderChoice, available_encoders, open_encoder

__all__ = ["Encoder", "EncoderChoice", "Modality", "available_encoders", "open_encoder"]
