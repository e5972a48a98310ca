"""Why a file cannot be read; each sentence says what its owner can do about it."""

from app.core.errors import Invalid


class Unreadable(Invalid):
    """There is no text to be had from the file."""

    code = "file_unreadable"


class FileEmpty(Unreadable):
    """There is nothing in it."""

    code = "file_empty"


class UnknownFileType(Unreadable):
    """It is of a type that is not read here."""

    code = "unsupported_file_type"


class FileDamaged(Unreadable):
    """It is not what it begins as."""

    code = "file_damaged"


class FileEncrypted(Unreadable):
    """It opens only with a password."""

    code = "file_encrypted"


class FileHasNoText(Unreadable):
    """It is sound and holds no text, as a scan."""

    code = "file_has_no_text"


class FileTooComplex(Unreadable):
    """Reading it takes more memory or time than is given to a file, or gives more text."""

    code = "file_too_complex"


class TooManyPages(Unreadable):
    """It has more pages than are read of one file."""

    code = "too_many_pages"


class WrongEncoding(Unreadable):
    """Its bytes are text in no encoding known here."""

    code = "wrong_encoding"


BY_CODE: dict[str, type[Unreadable]] = {
    kind.code: kind
    for kind in (
        Unreadable,
        FileEmpty,
        UnknownFileType,
        FileDamaged,
        FileEncrypted,
        FileHasNoText,
        FileTooComplex,
        TooManyPages,
        WrongEncoding,
    )
}
