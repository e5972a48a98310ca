"""Collections in BEIR's form are read or refused, and rankings are judged as trec_eval judges them."""

import math

import pytest

from bench.beir import BadCollection, read_collection
from bench.judged import judge, ndcg, recall
from bench.prose import Prose

CORPUS = (
    '{"_id": "d1", "title": "Leave", "text": "Twenty days."}\n'
    '{"_id": "d2", "text": "A\\u0000 half \\ud83d."}\n\n'
    '{"_id": "d3", "title": "", "text": " "}\n'
)
QUERIES = '{"_id": "q1", "text": "how many days", "metadata": {}}\n{"_id": "q2", "text": "nothing"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t0\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qrels").mkdir()
    write(tmp_path, "corpus.jsonl", CORPUS)
    write(tmp_path, "queries.jsonl", QUERIES)
    write(tmp_path, "qrels/test.tsv", QRELS)
    return tmp_path


def write(folder, name, text):
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)


def test_a_collection_is_read_without_queries_and_documents_that_say_nothing(folder):
    read = read_collection(folder)

    assert read.corpus == {"d1": ("Leave", "Twenty days."), "d2": ("", "A  half ?.")}
    assert read.queries == {"q1": "how many days"}
    assert read.qrels == {"q1": {"d1": 2}}


def test_windows_line_ends_and_a_missing_header_are_no_matter(folder):
    write(folder, "qrels/test.tsv", "q1\td1\t1\r\n")
    write(folder, "corpus.jsonl", CORPUS.replace("\n", "\r\n"))

    assert read_collection(folder).qrels == {"q1": {"d1": 1}}


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named_with_what_belongs_into_the_folder(folder, name):
    (folder / name).unlink()

    with pytest.raises(BadCollection, match=rf"{name}: No such file .* a BEIR folder holds corpus\.jsonl"):
        read_collection(folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("corpus.jsonl", CORPUS + '{"_id": "d4", "te', r"corpus\.jsonl, line 5: this is no JSON object with an _id"),
        ("corpus.jsonl", '["d1"]\n', "line 1: this is no JSON object"),
        ("corpus.jsonl", '{"id": "d1"}\n', "line 1: this is no JSON object with an _id"),
        ("corpus.jsonl", '{"_id": 7, "text": "a"}\n', "line 1: _id, title and text must be strings"),
        ("corpus.jsonl", CORPUS + CORPUS, "line 5: the _id 'd1' was there before"),
        ("corpus.jsonl", b'{"_id": "\xff"}', "is not UTF-8"),
        ("corpus.jsonl", "", "no document"),
        ("queries.jsonl", '{"_id": "q2", "text": "a"}\n', r"queries\.jsonl lacks the query 'q1'"),
        ("qrels/test.tsv", QRELS + "q1 d1 1\n", "line 5: query, document and a whole number, with tabs between"),
        ("qrels/test.tsv", QRELS + "q1\td1\tyes\n", "line 5: query, document and a whole number"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "no relevant document"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(folder, name, text, said):
    write(folder, name, text)

    with pytest.raises(BadCollection, match=said):
        read_collection(folder)


def test_the_gain_of_a_ranking_is_what_trec_eval_finds():
    # The examples of pytrec_eval, which runs trec_eval's own code.
    assert ndcg(["d3", "d1", "d2"], {"d2": 1}) == 0.5
    assert ndcg(["d1", "d3", "d2"], {"d2": 1, "d3": 1}) == pytest.approx(0.6934264036172708)
    # That of the article on discounted cumulative gain in Wikipedia: 6.861 of 8.740.
    relevance = {"a": 3, "b": 2, "c": 3, "e": 1, "f": 2, "g": 3, "h": 2}
    assert ndcg("abcdef", relevance, 6) == pytest.approx(6.861 / 8.740, abs=1e-4)


def test_a_gain_behind_the_tenth_place_is_none():
    assert ndcg([*"0123456789", "a"], {"a": 1}) == 0
    assert ndcg([*"012345678", "a"], {"a": 1}) == pytest.approx(1 / math.log2(11))


def test_recall_is_the_share_of_the_relevant_among_the_first():
    ranking = [*map(str, range(150))]

    assert recall(ranking, {"0", "99", "100", "x"}) == 0.5
    assert recall(ranking, {"0", "99"}) == 1


def test_figures_are_means_over_the_queries_that_are_judged():
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}, "q4": {"q4": 1}}
    rankings = {"q1": ["a"], "q2": ["q2", "b"], "q4": ["x", "q4"], "unjudged": ["a"]}

    # Itself is passed over by q2, which it is not relevant to, and kept by q4; q3 found nothing.
    expected = (1 + 1 + 0 + 1 / math.log2(3)) / 4
    assert judge(rankings, qrels) == {"ndcg_at_10": round(expected, 4), "recall_at_100": 0.75}


def test_text_by_chance_is_the_same_for_the_same_seed_and_long_enough():
    text = Prose(5).text(2_000)

    assert text == Prose(5).text(2_000) != Prose(6).text(2_000)
    assert 2_000 <= len(text) <= 4_000
    assert "\n\n" in text
    prose = Prose(5)
    assert {*prose.question(prose.text(2_000)).split()} <= {*text.replace(",", " ").replace(".", " ").split()} | {*";:"}
