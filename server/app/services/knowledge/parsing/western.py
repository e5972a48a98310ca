"""Which of the Latin encodings a text is in, by the letters that languages written in them use."""

# Statistics tell French from Czech by words; of the encodings they only see that both would be letters.
_ALPHABETS: dict[str, tuple[str, ...]] = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ",  # French
        "äöüß",  # German
        "áéíñóúü¿¡",  # Spanish
        "áâãàçéêíóôõúü",  # Portuguese
        "àèéìîòóùú",  # Italian
        "åäöéæøàò",  # Swedish, Danish, Norwegian, Finnish
        "áéëïóöüèê",  # Dutch
        "áéíóúýþæöð",  # Icelandic
        "äöõüšž",  # Estonian
    ),
    "cp1250": (
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "ăâîşţșț",  # Romanian
        "čćđšž",  # Croatian, Slovene
    ),
    "cp1254": ("çğıöşüâîû",),  # Turkish
    "cp1257": ("āčēģīķļņšūž", "ąčęėįšųūž"),  # Latvian, Lithuanian
}
LATIN = frozenset(_ALPHABETS)
SIGNS = frozenset("–—‘’‚“”„†‡•…‰‹›€™ «»°§©®·")


def latin_encoding_of(content: bytes) -> str:
    """The encoding under which most of what is not ASCII are letters of one language, and the most usual of equals."""
    return max(_ALPHABETS, key=lambda encoding: _fit(content.decode(encoding, "replace"), _ALPHABETS[encoding]))


def _fit(text: str, alphabets: tuple[str, ...]) -> int:
    beyond = [character for character in text.lower() if character > "\x7f" and character not in SIGNS]
    return max(sum(character in alphabet for character in beyond) for alphabet in map(frozenset, alphabets))
