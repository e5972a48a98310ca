"""HTML as people see it: blocks apart, headings known, tables by rows; scripts, navigation and what is hidden left out.

The tree is walked without recursion, since it may be as deep as its author likes.
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from app.services.knowledge.parsing.draft import Draft

_SKIPPED = frozenset(
    {"script", "style", "noscript", "template", "head", "svg", "math", "iframe", "object", "embed", "canvas", "audio"}
    | {"video", "map", "nav", "dialog", "select", "datalist", "button", "-comment"}
)
_BLOCKS = frozenset(
    {"p", "div", "section", "article", "aside", "main", "header", "footer", "address", "blockquote", "figure", "hr"}
    | {"figcaption", "details", "summary", "form", "fieldset", "ul", "ol", "dl", "table", "thead", "tbody", "tfoot"}
    | {"caption", "body"}
)
_LINES = frozenset(["li", "dt", "dd", "tr", "br", "option"])
_CELLS = frozenset({"td", "th"})
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_SPACE = re.compile(r"\s+")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
PARAGRAPH, LINE = "\n\n", "\n"
CELL_BORDER = " | "


def read_html(text: str, draft: Draft) -> None:
    """Write the page's body; its title is what it says, else its first heading."""
    tree = LexborHTMLParser(text)
    if tree.body is not None:
        _walk(tree.body, _Page(draft))
    title = tree.css_first("title")
    draft.call(title.text() if title is not None else None)
    if draft.title is None and draft.headings:
        draft.call(draft.headings[0][2])


class _Page:
    """Collects what is in one line or paragraph until it ends."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._inline: list[str] = []
        self._gap = PARAGRAPH
        self._rows = 0
        self._preformatted = 0

    def enter(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._flush(PARAGRAPH)
        elif tag == "pre":
            self._flush(PARAGRAPH)
            self._preformatted += 1
        elif tag == "table" and not self._rows:
            self._flush(PARAGRAPH)
        elif tag in _BLOCKS or tag in _LINES:
            self._break(PARAGRAPH if tag in _BLOCKS else LINE)
        if tag == "tr":
            self._rows += 1
        elif tag == "li":
            self._inline.append("- ")

    def leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._draft.heading(_HEADINGS[tag], "".join(self._inline))
            self._inline.clear()
            self._gap = PARAGRAPH
        elif tag == "pre":
            self._flush(PARAGRAPH)
            self._preformatted -= 1
        elif tag in _CELLS:
            self._inline.append(CELL_BORDER)
        elif tag == "tr":
            self._rows -= 1
            self._flush(LINE)
        elif tag in _BLOCKS or tag == "li":
            self._break(PARAGRAPH if tag in _BLOCKS else LINE)

    def say(self, text: str) -> None:
        self._inline.append(text if self._preformatted else _SPACE.sub(" ", text))

    def _break(self, gap: str) -> None:
        """End a block; within a row of a table that is no more than a blank."""
        if self._rows:
            self._inline.append(" ")
        elif self._preformatted:
            self._inline.append("\n")
        else:
            self._flush(gap)

    def _flush(self, gap: str) -> None:
        text = "".join(self._inline)
        self._inline.clear()
        if not self._preformatted:
            text = _SPACE.sub(" ", text).strip(" |" if CELL_BORDER in text else " ")
        if text.strip(" \n-"):
            self._draft.block(text, gap=self._gap)
            self._gap = gap
        elif gap == PARAGRAPH:
            self._gap = gap


def _walk(body: LexborNode, page: _Page) -> None:
    node: LexborNode | None = body
    while node is not None:
        tag = node.tag or ""
        if tag == "-text":
            page.say(node.text_content or "")
        elif tag not in _SKIPPED and not _hidden(node):
            page.enter(tag)
            if (child := node.first_child) is not None:
                node = child
                continue
            page.leave(tag)
        node = _following(node, body, page)


def _following(node: LexborNode, body: LexborNode, page: _Page) -> LexborNode | None:
    """What comes after the node and all that is in it; elements that end before it are left."""
    here: LexborNode | None = node
    while here is not None and here.mem_id != body.mem_id:
        if (beside := here.next) is not None:
            return beside
        here = here.parent
        if here is not None:
            page.leave(here.tag or "")
    return None


def _hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    if not attributes:
        return False
    style = attributes.get("style")
    return "hidden" in attributes or bool(style and _HIDDEN.search(style))
