"""Arms of the demo population: which of its models are asked in other ways, and what that does to them, as planted."""

from dataclasses import dataclass, field

from hivemind_utils.llm import checks
from hivemind_utils.responses import arms as response_arms


@dataclass(frozen=True)
class Effect:
    """What an arm does to an invented model.

    Attributes
    ----------
    idea_heat, phrase_heat : float
        > 0; above 1 the choice of an idea, or of frames and phrases, is flatter.
    off_topic : float
        Share of responses (0 to 1) that respond to another prompt.
    without_replacement : bool
        A list never repeats an idea while there are others.
    first_sentence : bool
        Responses keep to the first sentence frame.
    """

    idea_heat: float = 1.0
    phrase_heat: float = 1.0
    off_topic: float = 0.0
    without_replacement: bool = False
    first_sentence: bool = False


@dataclass(frozen=True)
class Planted:
    """The arms of a population.

    Attributes
    ----------
    models : tuple of str
        Who is asked.
    n_samples : int
        Responses to a prompt, at most.
    arms : dict of str to arms.Arm
    effects : dict of str to Effect
        By arm; none where an arm does nothing.
    """

    models: tuple = ()
    n_samples: int = 0
    arms: dict = field(default_factory=dict)
    effects: dict = field(default_factory=dict)

    def effect(self, condition):
        """What an arm does."""
        return self.effects.get(condition, Effect())

    def n_responses(self, arm, n):
        """Responses to a prompt that has `n`: whole lists only."""
        n = min(n, self.n_samples)
        return n - n % arm.k

    def decoding(self, condition, truncation):
        """Truncation under an arm."""
        arm = self.arms.get(condition)
        return truncation | ((arm.decoding or {}) if arm else {})


def planted(population):
    """Read the block ``arms`` of a population: models, n_samples, asked (as `arms.read` takes it) and effects.

    Parameters
    ----------
    population : dict

    Returns
    -------
    Planted
        Empty where the population has no such block.

    Raises
    ------
    ValueError
        If the block names a model, arm or effect that there is not.
    """
    block = population.get("arms")
    if not block:
        return Planted()
    arms = response_arms.read(block["asked"])
    checks.names("arms: models", block["models"], [model["model"] for model in population["models"]], of="models")
    checks.names("arms: effects", block.get("effects", {}), arms, of="arms")
    effects = {}
    for name, values in block.get("effects", {}).items():
        checks.names(f"arms: effects: {name}", values, Effect.__dataclass_fields__, of="effects")
        effects[name] = Effect(**values)
    return Planted(tuple(block["models"]), block["n_samples"], arms, effects)


def reply(arm, texts):
    """Reply that holds these responses in the form the arm asks for."""
    if arm.parse == "text":
        return texts[0]
    share = f' p="{1 / len(texts):.2f}"' if '<answer p="' in arm.user else ""
    return "\n".join(f"<answer{share}>{text}</answer>" for text in texts)
