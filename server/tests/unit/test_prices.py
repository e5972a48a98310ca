"""What a call costs."""

import pytest

from app.services.model import Model, PriceList

SONNET = Model("openai/claude-sonnet-4-5", None, "claude-sonnet-4-5", 1_000_000, PriceList("anthropic"))


@pytest.mark.parametrize(("prompt", "dollars"), [(1000, 0.003 + 0.015), (300_000, 1.8 + 0.0225)])
def test_a_long_prompt_alone_pays_the_price_of_long_prompts(prompt, dollars):
    assert SONNET.cost_usd(prompt, 1000) == pytest.approx(dollars)
