"""Small GGUF files for tests."""

import struct


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def write_gguf(path, values, tensors=(), data=b"", version=3):
    """Write a GGUF file: `values` are (key, type number, packed value), `tensors` (name, shape, type, offset)."""
    content = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    for key, kind, packed in values:
        content += text(key) + struct.pack("<I", kind) + packed
    for name, shape, kind, offset in tensors:
        content += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    path.write_bytes(content + data)
    return path


HEADER = [
    ("general.architecture", 8, text("llama")),
    ("general.file_type", 4, struct.pack("<I", 15)),
    ("llama.context_length", 4, struct.pack("<I", 4096)),
    ("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
    ("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + struct.pack("<3f", 1, 2, 3)),
    ("tokenizer.chat_template", 8, text("{{ messages }}")),
]
