"""What every `Embedder` promises. An implementation subclasses `EmbedderContract` and provides `embedder`."""

import asyncio

import numpy as np
import pytest

LONG = "the panel doubts every claim " * 4000


class EmbedderContract:
    """The promises; collected through a subclass."""

    async def test_each_text_has_a_row_of_length_one_in_their_order(self, embedder):
        texts = [f"claim number {number}" for number in range(300)]

        vectors = await embedder.embed(texts)

        assert vectors.shape[0] == 300
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(vectors[[7, 299]], await embedder.embed([texts[7], texts[299]]), atol=1e-6)
        assert not np.allclose(vectors[7], vectors[299], atol=1e-3)

    async def test_no_texts_have_no_rows(self, embedder):
        assert len(await embedder.embed([])) == 0

    @pytest.mark.parametrize("blank", ["", " ", "\n\t\u3000"])
    async def test_blank_texts_are_embedded_as_any_other(self, embedder, blank):
        alone, among = await embedder.embed([blank]), await embedder.embed(["a claim", blank, "another"])

        np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(among[1], alone[0], atol=1e-6)

    async def test_a_text_that_is_too_long_is_cut_at_its_end(self, embedder):
        vectors = await embedder.embed([LONG, LONG + "but not of that one", "short"])

        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("text", ["日本語の文章", "🦊👩‍🚀", "a\x00b", "ﷺ" * 50, "\u202eabc"])
    async def test_any_text_has_a_vector(self, embedder, text):
        vectors = await embedder.embed([text])

        assert np.isfinite(vectors).all()

    async def test_calls_at_once_do_not_mix(self, embedder):
        alone = [await embedder.embed([f"claim {number}"]) for number in range(8)]

        together = await asyncio.gather(*(embedder.embed([f"claim {number}"]) for number in range(8)))

        np.testing.assert_allclose(np.concatenate(together), np.concatenate(alone), atol=1e-6)

    async def test_tokens_are_counted(self, embedder):
        few, many = [await embedder.embed_counted(["a claim"] * times) for times in (1, 200)]

        assert few.tokens > 0
        assert many.tokens == 200 * few.tokens
