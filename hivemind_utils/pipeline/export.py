"""Ways out: ``python -m hivemind_utils.pipeline.export --profile demo --format parquet``.

Writes ``results/<profile>/export/``: one tidy Parquet of the responses, JSON Lines for inspect and
lm-evaluation-harness, the maps' coordinates, or the claims with their provenance. See ``docs/results.md``.
"""

import argparse
import json
import sys

import numpy as np
import pandas as pd

from hivemind_utils.pipeline import claims, manifests, notebooks, profiles
from hivemind_utils.responses.table import arm_names
from hivemind_utils.tables import files, parquet

PAPER_DOI = "10.48550/arXiv.2510.22954"


def folder(name):
    """Folder of a profile's exports."""
    return files.root() / "results" / name / "export"


def responses(name):
    """Every response of a profile with what is known of it: one row per response.

    Parameters
    ----------
    name : str
        The profile.

    Returns
    -------
    pandas.DataFrame
        response_id, prompt_id, prompt, prompt_kind, category, arm, model, family, model_kind, condition, decoding,
        sample_idx, text, outcome, usable, finish_reason; ``idea_given``, ``idea_judge``, ``idea_lexical`` and ``mode``
        (empty where unknown); ``human_mean``, ``human_n`` and ``scores`` (JSON: scorer to score) for responses that
        people or scorers rated. Rated responses that notebook 04 does not hold follow, without an arm.
    """
    prompts = parquet.read("04_prompts", name).set_index("prompt_id")
    models = parquet.read("04_models", name).set_index("model")
    table = parquet.read("04_responses", name)
    frame = pd.DataFrame({"response_id": table["response_id"], "prompt_id": table["prompt_id"]})
    for ours, theirs in (("prompt", "text"), ("prompt_kind", "prompt_kind"), ("category", "category")):
        frame[ours] = table["prompt_id"].map(prompts[theirs])
    frame["arm"], frame["model"] = arm_names(table), table["model"]
    for fact in ("family", "model_kind"):
        frame[fact] = table["model"].map(models[fact])
    kept = ["condition", "decoding", "sample_idx", "text", "outcome", "usable", "finish_reason"]
    frame[kept] = table[kept]
    ideas = _there("07_ideas", name)
    ideas = _there("04_ideas", name) if ideas is None else ideas
    for origin in ("given", "judge", "lexical"):
        known = None if ideas is None else ideas[ideas["origin"] == origin].set_index("response_id")["idea"]
        frame[f"idea_{origin}"] = None if known is None else frame["response_id"].map(known)
    mapped = _there("07_map", name)
    modes = pd.Series(dtype=float) if mapped is None else mapped.set_index("response_id")["mode"]
    frame["mode"] = frame["response_id"].map(modes).astype("Int64")
    return _with_ratings(frame, name)


def _with_ratings(frame, name):
    """Add people's mean and scorers' scores, matched by the texts of prompt and response."""
    items = _there("08_items", name)
    frame = frame.assign(human_mean=np.nan, human_n=pd.array([pd.NA] * len(frame), "Int64"), scores=None)
    if items is None:
        return frame
    items = items[items["response_2"].isna() & items["response_1"].notna()]
    scored = _there("09_scores", name)
    by_item = {}
    if scored is not None:
        for row in scored[scored["item_id"].isin(items["item_id"])].itertuples():
            by_item.setdefault(row.item_id, {})[row.scorer] = row.score
    rated = {
        (item.prompt, item.response_1): (item.mean, item.n, json.dumps(by_item[item.item_id], ensure_ascii=False))
        if item.item_id in by_item
        else (item.mean, item.n, None)
        for item in items.itertuples()
    }
    found = [rated.get(key) for key in zip(frame["prompt"], frame["text"], strict=True)]
    for at, column in enumerate(("human_mean", "human_n", "scores")):
        frame[column] = pd.Series([None if f is None else f[at] for f in found], index=frame.index)
    here = set(zip(frame["prompt"], frame["text"], strict=True))
    other = items[[key not in here for key in zip(items["prompt"], items["response_1"], strict=True)]]
    keys = list(zip(other["prompt"], other["response_1"], strict=True))
    added = {"response_id": other["response_1_id"], "prompt_id": other["prompt_id"], "prompt": other["prompt"]}
    added |= {"text": other["response_1"], "human_mean": [rated[key][0] for key in keys]}
    added |= {"human_n": [rated[key][1] for key in keys], "scores": [rated[key][2] for key in keys]}
    added = pd.DataFrame(added).reindex(columns=frame.columns)
    joined = pd.concat([frame.astype(object), added.astype(object)], ignore_index=True)
    numbers = {"sample_idx": "Int64", "mode": "Int64", "human_n": "Int64", "human_mean": "float64", "usable": "boolean"}
    return joined.astype(numbers)


def json_lines(frame):
    """One line per response: a sample of inspect with its output, and a sample of lm-evaluation-harness, in one object.

    ``inspect_ai.dataset.json_dataset`` reads id, input, target and metadata; scripts that read logs of inspect find
    ``epoch``, ``output`` and ``scores``; those that read ``samples_*.jsonl`` of lm-evaluation-harness find doc_id, doc,
    target, arguments, resps and filtered_resps.
    """
    order = {prompt: number for number, prompt in enumerate(dict.fromkeys(frame["prompt_id"]))}
    stops = {"truncated": "max_tokens", "refusal": "stop", "content_filter": "content_filter"}
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        scores = json.loads(row["scores"] or "{}")
        about = {k: v for k, v in row.items() if k not in ("prompt", "text", "scores", "response_id") and v is not None}
        message = {"role": "assistant", "content": row["text"]}
        yield {
            "id": row["response_id"],
            "epoch": 1,
            "input": row["prompt"],
            "target": "",
            "metadata": about,
            "output": {
                "model": row["model"] or "",
                "choices": [{"message": message, "stop_reason": stops.get(row["outcome"], "stop")}],
            },
            "scores": {name: {"value": value} for name, value in scores.items()},
            "doc_id": order[row["prompt_id"]],
            "doc": {"prompt_id": row["prompt_id"], "prompt": row["prompt"], "category": row["category"]},
            "arguments": {"gen_args_0": {"arg_0": row["prompt"], "arg_1": {"decoding": row["decoding"]}}},
            "resps": [[row["text"]]],
            "filtered_resps": [row["text"]],
        }


def maps(name):
    """Coordinates of the maps of notebook 07, and the hulls of their modes.

    Returns
    -------
    points : pandas.DataFrame
        One row a mapped response: response_id, prompt_id, prompt, text, arm, family, x, y, pc_1, pc_2, mode (-1 outside
        of all) and ``label``, the mode's keyphrases.
    hulls : pandas.DataFrame
        One row a corner, in order around the mode: prompt_id, mode, label, size, corner, x, y.
    """
    points = parquet.read("07_map", name).merge(
        responses(name)[["response_id", "prompt", "text", "arm", "family"]], on="response_id", validate="one_to_one"
    )
    modes = parquet.read("07_modes", name)
    labels = {(row.prompt_id, row.mode): row.keyphrases for row in modes.itertuples()}
    keys = zip(points["prompt_id"], points["mode"], strict=True)
    points["label"] = [labels.get(key, "outside of every mode") for key in keys]
    corners = []
    for (prompt, mode), rows in points[points["mode"] >= 0].groupby(["prompt_id", "mode"], sort=True):
        about = {"prompt_id": prompt, "mode": mode, "label": rows["label"].iloc[0], "size": len(rows)}
        for corner, (x, y) in enumerate(hull(rows[["x", "y"]].to_numpy())):
            corners.append(about | {"corner": corner, "x": x, "y": y})
    columns = ["prompt_id", "mode", "label", "size", "corner", "x", "y"]
    return points.drop(columns=["lexical_mode"]), pd.DataFrame(corners, columns=columns)


def hull(points):
    """Corners of the convex hull of points in the plane, counterclockwise; points on a line give its two ends.

    Parameters
    ----------
    points : ndarray of float, shape (n_points, 2)

    Returns
    -------
    ndarray of float, shape (n_corners, 2)

    Examples
    --------
    >>> hull(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.2, 0.2]])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    points = np.unique(np.asarray(points, float), axis=0)  # in the order of x, then y

    def half(order):
        corners = []
        for x, y in order:
            while len(corners) > 1:
                (ax, ay), (bx, by) = corners[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                corners.pop()
            corners.append((x, y))
        return corners[:-1]

    return np.array(half(points) + half(points[::-1])) if len(points) > 1 else points


def claims_table(name):
    """The paper's claims beside this run's values, every row with its provenance."""
    table = claims.evaluate(name)
    manifest = next((m for m in _manifests(name).values()), {})
    table["paper_doi"], table["profile"] = PAPER_DOI, name
    numbers = table["result"].str.partition(":")[0]
    known = _manifests(name)
    for column in ("finished", "git_commit", "python", "partial"):
        table[column] = [known.get(number, {}).get(column) for number in numbers]
    stamps = {number: _stamp(number, name) for number in numbers if number in known}
    for column in ("origin", "encoder"):
        table[column] = [stamps.get(number, {}).get(column) for number in numbers]
    table["software"] = f"hivemind-utils {manifest.get('packages', {}).get('hivemind-utils', 'unknown')}"
    table["inputs_sha256"] = [
        " ".join(f"{file}={digest}" for file, digest in known.get(number, {}).get("inputs", {}).items())
        for number in numbers
    ]
    return table


def citation(name):
    """What a repository asks for where such a table is deposited: DataCite's properties, as far as they are known."""
    import yaml

    source = files.root() / "CITATION.cff"
    known = yaml.safe_load(source.read_text(encoding="utf-8")) if source.exists() else {}
    finished = sorted(m["finished"] for m in _manifests(name).values() if m["finished"])
    related = {"relatedIdentifier": PAPER_DOI, "relatedIdentifierType": "DOI", "relationType": "IsDerivedFrom"}
    return {
        "titles": [{"title": f"Claims of the study Artificial Hivemind, evaluated on the profile {name}"}],
        "creators": [{"name": "add your name"}],
        "publicationYear": int(finished[-1][:4]) if finished else None,
        "types": {"resourceTypeGeneral": "Dataset"},
        "version": finished[-1] if finished else None,
        "relatedIdentifiers": [related],
        "contributors": [{"name": known.get("title", "Hivemind"), "contributorType": "Producer"}],
        "descriptions": [{"description": f"sources: {', '.join(_sources(name))}", "descriptionType": "Methods"}],
    }


def provenance(name):
    """Where a profile's responses come from, for the metadata of an export: text by name."""
    manifest = manifests.require(name, "04") or {}
    known = {k: manifest.get(k) for k in ("profile", "finished", "git_commit", "python", "partial")}
    return parquet.stamp("04_responses", name) | {k: v for k, v in known.items() if v is not None}


def write(spec, kind):
    """Write one export of a profile.

    Parameters
    ----------
    spec : str
        A profile's name or path.
    kind : str
        "parquet", "jsonl", "map" or "claims".

    Returns
    -------
    list of Path

    Raises
    ------
    UserError
        If the kind is unknown, or what it needs has not run.
    """
    name = profiles.load_profile(spec).name
    writers = {"parquet": _write_parquet, "jsonl": _write_json_lines, "map": _write_maps, "claims": _write_claims}
    if kind not in writers:
        raise notebooks.UserError(f"FORMAT must be one of {', '.join(writers)}, but {kind!r} was given.")
    try:
        return writers[kind](name)
    except (FileNotFoundError, parquet.DamagedError) as error:
        raise notebooks.UserError(str(error)) from None


def _write_parquet(name):
    return [_table(responses(name), folder(name) / "responses.parquet", provenance(name))]


def _write_json_lines(name):
    target = folder(name) / "responses.jsonl"
    with files.atomic(target) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        for line in json_lines(responses(name)):
            file.write(json.dumps(line, ensure_ascii=False, default=lambda value: value.item()) + "\n")
    return [target]


def _write_maps(name):
    about, (points, hulls) = provenance(name), maps(name)
    return [_table(points, folder(name) / "map.parquet", about), _table(hulls, folder(name) / "hulls.parquet", about)]


def _write_claims(name):
    if not _manifests(name):
        raise notebooks.UserError(f"Nothing of the profile {name} has run yet: {parquet.how_to_run(name)}.")
    target = folder(name) / "claims.csv"
    with files.atomic(target) as temporary:
        claims_table(name).to_csv(temporary, index=False, float_format="%.6g")
    with files.atomic(target.with_suffix(".datacite.json")) as temporary:
        temporary.write_text(json.dumps(citation(name), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [target, target.with_suffix(".datacite.json")]


def _table(frame, target, about):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata(table.schema.metadata | {b"hivemind": json.dumps(about).encode()})
    with files.atomic(target) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return target


def _there(table, name):
    return parquet.read(table, name) if parquet.path(table, name).exists() else None


def _manifests(name):
    found = {notebook[:2]: manifests.require(name, notebook[:2]) for notebook in notebooks.notebooks()}
    return {number: manifest for number, manifest in found.items() if manifest}


def _stamp(number, name):
    from hivemind_utils.tables import schema

    tables = [t for t, table in schema.TABLES.items() if table.number == number and parquet.path(t, name).exists()]
    return parquet.stamp(tables[0], name) if tables else {}


def _sources(name):
    return sorted({_stamp(number, name).get("source") or "unknown" for number in _manifests(name)})


def main(arguments=None):
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hivemind_utils.pipeline.export", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--profile", default="demo", help="a name in params/ or a path to a YAML file (default: demo)")
    parser.add_argument("--format", default="parquet", help="parquet, jsonl, map or claims (default: parquet)")
    options = parser.parse_args(arguments)
    try:
        for path in write(options.profile, options.format):
            print(manifests.relative(path))
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
