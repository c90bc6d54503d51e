"""What every encoder that cannot be had owes its user."""

from __future__ import annotations

import pytest

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder


def refusal(name: str) -> str:
    """The error of opening an image encoder that cannot be had; it names the encoder and the choices."""
    with pytest.raises(EncoderUnavailable) as error:
        open_encoder(name, "image", "cpu")
    assert repr(name) in str(error.value)
    assert "Choices: 'efficientnet-lite0'" in str(error.value)
    return str(error.value)
