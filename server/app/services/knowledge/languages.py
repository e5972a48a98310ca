"""Which language a text is in, and what PostgreSQL's full-text search knows of it."""

from functools import cache
from typing import Protocol

SAMPLE_CHARACTERS = 4_000
LEAST_PROBABILITY = 0.5
NO_LANGUAGE = "zxx"
SIMPLE = "simple"

_CONFIGURATIONS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}


class _Identifier(Protocol):
    def classify(self, text: str) -> tuple[str, float]: ...


def language_of(text: str) -> str | None:
    """The language (ISO 639-1) that the beginning of `text` is in; None where that is more doubtful than not.

    Loads a model of 100 MB at its first call, which takes about a second: not for the event loop.
    """
    sample = text[:SAMPLE_CHARACTERS].strip()
    if not sample:
        return None
    language, probability = _identifier().classify(sample)
    return language if probability >= LEAST_PROBABILITY and language != NO_LANGUAGE else None


def regconfig_of(language: str | None) -> str:
    """PostgreSQL's text search configuration for it; `simple`, which knows no word forms, for all others."""
    return _CONFIGURATIONS.get(language or "", SIMPLE)


@cache
def _identifier() -> _Identifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 - only workers need its 100 MB

    identifier: _Identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier
