"""What a plan can find, from a pilot: notebook 05 of some run leaves the variances, `make plan` reads them."""

from hivemind_utils.pipeline import results
from hivemind_utils.responses import planner


def lines(plan, frame, pilot):
    """Say what difference between two models a plan finds, and what the next 100 dollars would buy.

    Parameters
    ----------
    plan : pandas.DataFrame
        From `design.cost_plan`.
    frame : pandas.DataFrame
        The cells that are asked: prompt_id, prompt_kind, condition and decoding.
    pilot : str
        Profile whose notebook 05 gives the variances.

    Returns
    -------
    list of str
    """
    known = results.read(pilot, "05")
    if not known:
        return [
            f"detectable difference: unknown without a pilot. Run `make 05 PROFILE={pilot}`, or name another with "
            "`PILOT=`"
        ]
    components = known.get("pilot")
    if not isinstance(components, dict) or not set(planner.Pilot._fields) <= set(components):
        return [
            f"detectable difference: results/{pilot}/05.json is of an older notebook; run `make 05 PROFILE={pilot}`"
        ]
    kinds = {name: str if name == "reason" else int | float | None for name in planner.Pilot._fields}
    if not all(isinstance(components[name], kind) for name, kind in kinds.items()):
        raise results.damaged(results.path(pilot, "05"), "`pilot` holds what is no number")
    values = {name: float("nan") if components[name] is None else components[name] for name in planner.Pilot._fields}
    found = planner.Pilot(**values)
    cells = frame[(frame["prompt_kind"] == "original") & (frame["condition"] == "default")]
    if cells.empty:
        return []
    n_prompts, wanted = cells["prompt_id"].nunique(), cells["request"].map(lambda request: request.n)
    n_responses = int(wanted.groupby([cells["prompt_id"], cells["model"], cells["decoding"]]).sum().median())
    said = [f"pilot: {pilot} ({found.n_prompts} prompts, {found.n_arms} arms; {known.get('source')} data)"]
    if n_prompts < 2 or n_responses < 2:
        return [*said, "detectable difference: two prompts and two responses are needed"]
    said.append(planner.says(found, n_prompts, n_responses))
    asked = plan[plan["missing"] > 0]
    each = (asked["cost_expected"] / asked["missing"]).groupby([asked["model"], asked["decoding"]]).mean().sum()
    return [*said, *planner.next_dollars(found, n_prompts, n_responses, float(each) * n_prompts * n_responses)]
