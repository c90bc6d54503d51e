"""What every encoder that cannot be had owes its user."""

from __future__ import annotations

import pytest

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import open_encoder


def says_why_and_what_can_be_had(name: str, reason: str) -> None:
    """The error names the encoder, the reason, and the choices."""
    with pytest.raises(EncoderUnavailable) as error:
        open_encoder(name, "image", "cpu")
    assert repr(name) in str(error.value)
    assert reason in str(error.value)
    assert "Choices: 'efficientnet-lite0'" in str(error.value)
