"""What the sampler stored, as the rows and tables of notebook 04; of a large run, a block of prompts at a time."""

from dataclasses import dataclass

import pandas as pd

from hivemind_utils.llm import outcomes, store
from hivemind_utils.responses import arm_cells
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import blocks, schema

BLOCK = 50_000  # responses held at a time, or those to one prompt where they are more


PROVENANCE = [
    "outcome", "call_id", "n", "seed", "parameters", "effective", "api_base", "served_model", "system_fingerprint",
    "provider_id", "attempts", "latency_s", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cost_usd",
    "answered_at", "litellm_version",
]  # fmt: skip


def collect(frame, store_path, arms=None):
    """The stored responses of cells, as `table.tabulate` takes them, each with its provenance.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `design.cells`.
    store_path : path-like
    arms : dict of str to arms.Arm, optional
        By which replies are taken apart.

    Returns
    -------
    pandas.DataFrame
        One row per response: columns of the cells but ``request``, then sample_idx, response, finish_reason, position,
        probability, reply (number of the list or chain within its cell) and `PROVENANCE`.
    """
    arms, frame = arms or {}, frame.assign(turn=0)
    chains = arm_cells.is_chain(frame, arms)
    if chains.any():
        frame = pd.concat([frame[~chains], arm_cells.turns(frame, arms, store_path)], ignore_index=True)
    parts = [_replies(part, store_path, name) for (name, _), part in frame.groupby(["condition", "turn"], sort=False)]
    return response_arms.unroll(pd.concat(parts, ignore_index=True), arms)


def _replies(frame, store_path, condition):
    """Stored replies of the cells of one condition, and of one turn."""
    stored = store.read(store_path, frame["request"]).rename(columns={"text": "response"})
    cells_of = frame.assign(key=[request.key for request in frame["request"]]).drop_duplicates("key")
    parted = [outcomes.split_reasoning(text or "") for text in stored["response"]]  # before a list is taken apart
    stored["reasoning"] = pd.Series([thought for thought, _ in parted], index=stored.index, dtype=object)
    stored["response"] = pd.Series([said for _, said in parted], index=stored.index, dtype=object)
    stored = stored.assign(reply=stored["sample_idx"] - arm_cells.first_number(condition))
    stored = stored[["key", "reply", "response", "reasoning", "finish_reason", *PROVENANCE]]
    merged = cells_of.drop(columns="request").merge(stored, on="key", validate="one_to_many")
    return merged.drop(columns="key")


@dataclass(frozen=True)
class Gathered:
    """Stored responses of cells, read a block of prompts at a time; see `collect`.

    Attributes
    ----------
    cells : pandas.DataFrame
        From `design.cells`.
    store_path : path-like
    arms : dict of str to arms.Arm
    """

    cells: pd.DataFrame
    store_path: object
    arms: dict

    @property
    def is_large(self):
        """Whether more than a block of responses is asked for."""
        return int(self._asked().sum()) > BLOCK

    @property
    def is_empty(self):
        """Whether nothing is stored."""
        return next(self._parts(1), None) is None

    def __iter__(self):
        """Yield the responses to some prompts after those to others, prompts sorted; nothing where none is stored."""
        return self._parts(BLOCK)

    def head(self, n=5):
        """Return the first rows."""
        return next(self._parts(1)).head(n)

    def _parts(self, block):
        n_by_prompt = self._asked().groupby(self.cells["prompt_id"]).sum().sort_index()
        number = n_by_prompt.cumsum().sub(n_by_prompt) // block
        for _, cells in self.cells.groupby(self.cells["prompt_id"].map(number), sort=True):
            found = collect(cells, self.store_path, self.arms)
            if len(found):
                yield found

    def whole(self):
        """Return all rows as one frame."""
        return collect(self.cells, self.store_path, self.arms) if len(self.cells) else pd.DataFrame()

    def _asked(self):
        """Responses of every row of `cells`."""
        each = arm_cells.sizes(self.cells, self.arms, chains=True)
        return pd.Series(each, self.cells.index, int) * [request.n for request in self.cells["request"]]


def tabulate(found, **facts):
    """Turn responses into the tables of notebook 04, a block at a time.

    Parameters
    ----------
    found : iterable of pandas.DataFrame
        Blocks of rows as `collect` returns them, each prompt in one of them, prompts sorted.
    **facts
        Options of `table.tabulate`.

    Returns
    -------
    dict of str to (pandas.DataFrame or blocks.Blocks)
        As `table.tabulate`, and ``04_provenance``; that and ``04_responses`` are `Blocks`.

    Raises
    ------
    ValueError
        If no row is a response.
    """
    large = {name: blocks.Blocks(name) for name in ("04_responses", "04_provenance")}
    parts, n_before = [], 0
    for rows in found:
        made = response_table.tabulate_rows(rows, **facts)
        large["04_provenance"].append(provenance(made["04_responses"], rows))
        large["04_responses"].append(made.pop("04_responses"))
        made["04_excluded"]["input_row"] += n_before
        n_before += len(rows)
        parts.append(made)
    made = response_table.joined(parts) | large
    response_table.refuse_nothing(made, n_before)
    return made


def provenance(responses, rows):
    """Table ``04_provenance``: how every sampled response came about.

    Parameters
    ----------
    responses : pandas.DataFrame
        Table ``04_responses``.
    rows : pandas.DataFrame
        From `collect`, other responses (without provenance) among them.
    """
    columns = [column.name for column in schema.TABLES["04_provenance"].columns]
    if "call_id" not in rows:
        return pd.DataFrame(columns=columns).astype({"response_id": str})
    key = ["prompt_id", "model", "condition", "decoding", "sample_idx"]
    rows = rows[rows["sample_idx"].notna()] if "surplus" in rows else rows
    rows = rows.assign(condition=rows["condition"].fillna(response_arms.DEFAULT))
    rows = rows.astype({"sample_idx": int})
    sampled = rows[rows["call_id"].notna()].drop(columns=["outcome"])
    merged = sampled.merge(responses[[*key, "response_id"]], on=key, validate="one_to_one")
    return merged.rename(columns={"n": "n_in_call", "parameters": "requested"})[columns]
