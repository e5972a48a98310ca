"""What others write must not pass for what is ours: a speaker's label, the roles of a chat template, a heading.

Always holds: whatever normalisation, case folding or dropping invisible characters makes of disarmed text, it holds no
label `[@` and no well-known control sequence of a chat template. It still reads as it did: a label's bracket becomes
another one, and behind the bracket of a control sequence goes a space.

The list of control sequences is one of the well-known ones, not of all there are: whoever runs a model with others of
its own adds them here.

Control sequences count because servers render the template and tokenize the outcome as a whole, the words of users
included: llama.cpp's server does (`parse_special` in its `tokenize_input_prompts`), so that for our own local model
`<|im_end|>` in somebody's words is one token that ends their message, and what follows may begin a `system` one.
Text markers without tokens of their own (`### System:`, `Human:`) mean nothing to these models but at the beginning of
a line, where no line of others' words ever is (`quote`).
"""

import re
import unicodedata
from functools import lru_cache

# ChatML, Llama 3, Phi, Qwen, GLM, Command, Granite, Kimi, harmony: <|…|>; DeepSeek: <｜…｜>; EXAONE: [|…|].
# Llama 2 and Mistral: [INST] <<SYS>> <s> and Mistral's later ones; Gemma: <start_of_turn>, later <turn|>; GLM: [gMASK]
# <sop>; T5: <extra_id_0>; Baichuan: <reserved_106>; Seed: <seed:bos>; MiniMax: ]~b] ]~!b[ [e~[.
_CONTROL = (
    r"[<\[](?=\|)"
    r"|<(?=<?/?SYS>|/?s>|(?:bos|eos|pad|unk|sop|eop|(?:start|end)_of_turn)>)"
    r"|<(?=/?role>|(?:reserved|extra_id)_[0-9]{1,5}>|seed:\w{1,32}>|\w{1,32}\|>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|gMASK|BOS|EOS)\]|e~\[)"
    r"|\](?=~!?b[\[\]])"
)
_FORGED_CONTROL = re.compile(_CONTROL, re.IGNORECASE)
_FORGED = re.compile(rf"(?P<label>\[(?=\s*@))|{_CONTROL}", re.IGNORECASE)
# Whatever reads as `[`, `<` or `]`; the last are tags, which show nothing and which some models read.
_OPENERS = re.compile(r"[\[<\]\uff3b\ufe47\uff1c\ufe64\u226e\uff3d\ufe48\U000e005b\U000e003c\U000e005d]")
# Any character but those of everyday text that read as nothing but themselves.
_NEEDS_READING = re.compile(
    r"[^\t-\r\x1c-\x7e\xa0-\xa9\xab\xac\xae-\xb9\xbb-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e"
    r"\u0391-\u03a1\u03a3-\u03c9\u0410-\u045f\u2010-\u2029\u2030-\u203b\u2190-\u21ff\u2500-\u27bf\u3001-\u3003"
    r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3\U0001f300-\U0001f64f\U0001f680-\U0001f6c5]"
)
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Me", "Mn"})
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols that show nothing
_HANDLE = re.compile(r"\(\s*(?=@)")
_TAGS = range(0xE0020, 0xE007F)
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def disarm(text: str) -> str:
    """Take the power of labels and control sequences from text that is not ours, however they are spelt."""
    return _break_up(text, _FORGED)


def defuse(text: str) -> str:
    """The same of control sequences only, for a speaker's own words and persona."""
    return _break_up(text, _FORGED_CONTROL)


def quote(text: str) -> str:
    """Others' words under their label: lines after the first are set in, so that none passes for ours."""
    return "\n    ".join(disarm(text).splitlines())


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A name as it may stand in our own lines: on one of them, in its order, without a handle of its own after it."""
    ordered = disarm("".join(character for character in name if character not in _REORDERING))
    if _HANDLE.search(reading(ordered)):
        ordered = disarm(_HANDLE.sub("", reading(ordered)))
    return " ".join(ordered.split())


def reading(text: str) -> str:
    """What may be made of `text`: compatibility forms as the characters they stand for, nothing that is not seen."""
    return "".join(map(_read, text))


def _break_up(text: str, forged: re.Pattern[str]) -> str:
    if not ("[" in text or "<" in text or "]" in text or (not text.isascii() and _OPENERS.search(text))):
        return text
    if not _NEEDS_READING.search(text):
        return forged.sub(_harmless, text)
    read = [(place, seen) for place, character in enumerate(text) for seen in _read(character)]
    pieces, done = [], 0
    for match in forged.finditer("".join(seen for _, seen in read)):
        place = read[match.start()][0]
        pieces += [text[done:place], _harmless(match, text[place])]
        done = place + 1
    return "".join([*pieces, text[done:]])


def _harmless(match: re.Match[str], bracket: str | None = None) -> str:
    """What goes in the place of the bracket that a forgery begins with."""
    return "(" if match.groupdict().get("label") else (bracket or match[0]) + " "


@lru_cache(maxsize=8192)
def _read(character: str) -> str:
    """What is seen of one character."""
    if ord(character) in _TAGS:
        return chr(ord(character) - 0xE0000)
    if character == "\u226e":  # a `<` and a stroke through it, which normalisation may take apart
        return "<"
    seen = unicodedata.normalize("NFKC", character)
    return "".join(one for one in seen if one.isspace() or not _is_unseen(one))


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or character in _BLANKS
