"""What a run of the sampler came to."""

from dataclasses import dataclass, field

from hivemind_utils.llm import probes


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    counts : DataFrame
        One row per model: wanted, stored (before), added, unsupported, missing, cost_usd (of this run).
    cost_usd : float
        US dollars of this run, as far as prices are known.
    failures : dict of str to str
        Model to the reason why responses of it are missing, with what to do.
    unsupported : dict of str to str
        Model to what its provider said about the decoding it refused.
    honoured : dict of (str, str) to dict
        Model and decoding (JSON) to what its server makes of it, where that was probed; see `decoding.honoured`.
    refused : dict of str to str
        Key of a request that its model refused, to the reason: other requests of the model went on.
    remarks : dict of str to dict
        Model to what happened to replies of this run, and how often: fields left empty, replies lost, other models.
    """

    counts: object
    cost_usd: float
    failures: dict
    unsupported: dict
    honoured: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)
    remarks: dict = field(default_factory=dict)

    @property
    def noted(self):
        """What happened to replies, in a sentence; None where all is well."""
        said = [
            f"{model}: " + ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
            for model, counts in sorted(self.remarks.items())
        ]
        return "; ".join(said) or None

    @property
    def dishonoured(self):
        """What servers ignore or add, in a sentence; None where nothing is known against them."""
        return probes.complaints(self.honoured)

    @property
    def partial(self):
        """What is missing and why, in a sentence; None where nothing is."""
        lacking = self.counts[self.counts["missing"] > 0]
        if lacking.empty:
            return None
        reasons = [
            f"{model} lacks {n:,} ({self.failures.get(model, 'interrupted')})"
            for model, n in lacking["missing"].items()
        ]
        return f"{lacking['missing'].sum():,} of {self.counts['wanted'].sum():,} responses are missing: " + "; ".join(
            reasons
        )
