"""What is known of the language model in the wheel."""

MODEL_NAME = "smollm2-135m"
SLOT_TOKENS = 4096
"""Tokens that each of its slots holds, prompt and reply together; it was trained on 8,192."""
CONTEXT_TOKENS = 2048
"""Tokens it is used with: it heeds little of a longer prompt, and reading one takes seconds on a processor."""
