"""The data dictionary: ``python -m hivemind_utils.tables.dictionary`` writes ``data/README.md``."""

from hivemind_utils.tables import files, parquet, schema


def dictionary():
    """Text of ``data/README.md``: every table, who writes it, every column."""
    lines = [
        "# Data dictionary",
        "",
        "Generated from `hivemind_utils/tables/schemas.yaml` by `python -m hivemind_utils.tables.dictionary`; a test",
        "keeps the two equal. Tables are Parquet files in `data/<profile>/`, named after the notebook that writes",
        "them. Every table carries its source in its metadata:",
        "",
        *(f"- `{source}`: {meaning}" for source, meaning in schema.SOURCES.items()),
        "",
        "Beside the tables: `embeddings/<encoder>.npy` (float32, one row per distinct text) with",
        "`embeddings/<encoder>.parquet` (its `text_id`), and in `truth/` what the demo population planted, which tests",
        "read and notebooks never do.",
        "",
        "In `data/reference/`, besides what the study published:",
        "",
        "- `mode_power.csv`: how often a planted mode is called stable, by number of responses and mean cosine",
        "  (`benchmarks/mode_power.py` simulates it again)",
        "- `time_metaphors_smollm2.parquet`: 1,024 responses of a real model to one prompt, sampled here; its",
        "  metadata name the model's file, hash and quantisation, the decoding asked and honoured, and the time",
        "  (`benchmarks/time_metaphors.py` samples it again); their embeddings by minilm are in `embeddings/`",
        "- `local_prompts.csv`, `local_models.csv`: what the profile `local` asks, and whom;",
        "  `local_closed_prompts.csv`: more closed-ended prompts, for `local-arms`",
    ]
    for table in schema.TABLES.values():
        lines += ["", f"## {table.name}", "", f"Written by `{parquet.writer(table.name)}`. One row is {table.row}.", ""]
        lines += [f"Key: {', '.join(f'`{name}`' for name in table.key)}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        for column in table.columns:
            kind = column.type + (", may be empty" if column.nullable else "")
            values = f" One of {', '.join(f'`{v}`' for v in column.allowed)}." if column.allowed else ""
            lines.append(f"| `{column.name}` | {kind} | {column.meaning}.{values} |")
    return "\n".join(lines) + "\n"


def main():
    """Write ``data/README.md``."""
    with files.atomic(files.root() / "data" / "README.md") as temporary:
        temporary.write_text(dictionary(), encoding="utf-8")


if __name__ == "__main__":
    main()
