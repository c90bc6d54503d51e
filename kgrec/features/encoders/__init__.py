"""Pretrained encoders: families of several libraries behind one interface."""

from kgrec.features.encoders.base import Encoded, Encoder, Modality, Precision
from kgrec.features.encoders.registry import EncoderChoice, available_encoders, open_encoder

__all__ = ["Encoded", "Encoder", "EncoderChoice", "Modality", "Precision", "available_encoders", "open_encoder"]
