"""The language of a text is a guess from its letters: good from a sentence on, worthless for a title.

A guess counts as certain from :data:`LEAST_BYTES` of UTF-8 and a probability of :data:`CERTAIN` on. Of the 3,815 real
MovieLens-1M plots that are that long, cut to that length, no English one is taken for another language with certainty,
and the one in French and the one in Dutch are found; ``docs/media.md`` has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

#: shortest text that is judged, in bytes of UTF-8: a line in Latin letters, half of one in Cyrillic, 34 Chinese characters
LEAST_BYTES = 100
#: least probability that is believed
CERTAIN = 0.9
#: characters of a text that are looked at; more change nothing
_LOOKED_AT = 400

#: written forms too close to be told apart in a few lines
_ALIKE = (frozenset({"no", "nb", "nn"}), frozenset({"sr", "hr", "bs", "sh"}), frozenset({"id", "ms"}))


def detect(texts: Sequence[str]) -> list[tuple[str, float]]:
    """The most probable language (ISO 639-1) of each text and its probability, from 0 to 1; ``("", 0.0)`` where there is
    nothing to judge by.

    Probabilities are those of a naive Bayes classifier over byte n-grams (Lui and Baldwin, langid.py, 2012, as retrained
    for py3langid), smoothed by the text's length and normalised over the languages that have a two-letter code.
    """
    identifier = _identifier()
    return [identifier.classify(text[:_LOOKED_AT]) if text.strip() else ("", 0.0) for text in texts]


def certain_language(text: str) -> str | None:
    """The language of a text (ISO 639-1), or None where it is too short or too mixed to tell."""
    if len(text.encode("utf-8", "replace")) < LEAST_BYTES:
        return None
    lang, probability = detect([text])[0]
    return lang if probability >= CERTAIN else None


def contradicts(stated: str, detected: str) -> bool:
    """Whether a stated language (``en``, ``en-US``, ``EN``) is another than the detected one. A code that is not of two
    letters is not judged, nor are languages written alike."""
    base = stated.replace("_", "-").split("-", 1)[0].lower()
    return len(base) == 2 and base != detected and not any({base, detected} <= group for group in _ALIKE)


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """The classifier: a second to load, 100 MB."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    return identifier
