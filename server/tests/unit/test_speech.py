"""What is shown of a message, tools included, is the same as it is spoken, kept, cut and read from the log."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.speech import CUT_OFF, Speech, ToolEvent, read_speech, speech_of

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
CALLS = st.lists(st.tuples(WORDS, WORDS, st.booleans(), WORDS), max_size=4)
ANN = "p1"


def spoken(first, calls):
    """The pieces as a speaker sends them."""
    pieces = [first]
    for number, (arguments, summary, ok, words) in enumerate(calls):
        who = {"participant_id": ANN, "call_id": f"c{number}", "tool": "calculator"}
        pieces.append(ToolEvent("tool.started", {**who, "arguments": arguments}).as_text())
        ended = {**who, "ok": ok, "duration_ms": number, "summary": summary}
        pieces.append(ToolEvent("tool.finished", ended).as_text())
        pieces.append(words)
    return pieces


@given(WORDS, CALLS)
def test_the_log_gives_what_viewers_were_shown(first, calls):
    speech = read_speech("".join(spoken(first, calls)))

    assert speech.content == first + "".join(words for *_, words in calls)
    again = speech_of(speech.content, speech.calls(), ANN)
    assert (again.text, list(again.tools)) == (speech.text, list(speech.tools))


@given(WORDS, CALLS, st.data())
def test_pieces_join_wherever_it_is_cut_between_them(first, calls, data):
    pieces = spoken(first, calls)
    cut = data.draw(st.integers(0, len(pieces)))
    whole = read_speech("".join(pieces))

    begun = read_speech("".join(pieces[:cut]))
    joined = begun.joined(read_speech("".join(pieces[cut:])))

    assert (joined.text, list(joined.tools)) == (whole.text, list(whole.tools))
    place = data.draw(st.integers(0, len(whole.text)))
    rest = whole.after(place)
    assert (whole.text[:place] + rest.text, len(rest.tools)) == (whole.text, rest.text.count("\0"))


def test_a_call_that_was_cut_off_is_told_as_failed():
    [started, *_] = spoken("Well. ", [("{}", "4", True, "")])[1:]

    [call] = read_speech("Well. " + started).calls()

    assert (call["ok"], call["summary"], call["offset"], call["arguments"]) == (False, CUT_OFF, 6, "{}")


def test_text_without_tools_is_left_alone():
    assert read_speech("Well.") == Speech("Well.")
    assert speech_of("Well.", (), ANN) == Speech("Well.")
