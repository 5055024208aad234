"""What every notebook carries: its generator, its tables, its figures, and the sentences it ends with."""

import copy
from functools import cached_property

import numpy as np

from hivemind_utils.tables import executor, figure_files, files, parquet, schema, wording
from hivemind_utils.tables.paper import Paper

PENDING = "*The answer appears here as soon as the notebook has run.*"


class NothingToMeasureError(ValueError):
    """The data hold nothing of what a notebook measures: it ends with this sentence, and the run goes on."""


class Study:
    """One notebook of one profile.

    Parameters
    ----------
    number : str
        The notebook's two digits, such as "06".
    profile : str
        Tables are read from and written to ``data/<profile>``, figures go to ``figures/<profile>``.
    seed : int
        Start of the notebook's one generator.

    Attributes
    ----------
    rng : numpy.random.Generator
        The notebook's one generator.
    folder : pathlib.Path
        ``data/<profile>``.
    stamp : dict
        Where the data come from: that of the first table read, or what `comes_from` said.
    paper : Paper
        What the paper states, by claim.
    """

    def __init__(self, number, profile, seed=0):
        self.number, self.profile, self.seed = number, profile, seed
        self.rng = np.random.default_rng(seed)
        self.folder = files.folder(profile)
        self.stamp = {}
        self.paper = Paper()
        self._written = set()
        _display(PENDING, f"answer-{number}")
        _end_with(self.nothing)

    @cached_property
    def executor(self):
        """Where the work on one prompt after another is done; see `tables.executor`."""
        return executor.from_environment()

    def progress(self, iterable, **options):
        """Show the progress of a long loop; see tqdm."""
        from tqdm.auto import tqdm

        return tqdm(iterable, leave=False, **options)

    def comes_from(self, source, origin, **facts):
        """Say where the data come from: one of `schema.SOURCES`, and the files or services in words."""
        self.stamp = {"source": source, "origin": origin} | facts | self._partial_of(self.stamp)

    def apart(self, source, origin):
        """Return this study with data from elsewhere: what it writes and draws carries that source."""
        other = copy.copy(self)
        other.comes_from(source, origin)
        return other

    def read(self, name, columns=None):
        """Read a table of this profile, or some columns; the source of the first is the source of the notebook.

        Raises
        ------
        FileNotFoundError
            If the table is missing; the message names the notebook that writes it.
        """
        self.look(name)
        return parquet.read(name, self.profile, columns)

    def look(self, name):
        """Return the path of a table of this profile, whose source is that of the notebook as if it were read."""
        found = parquet.stamp(name, self.profile)
        if "source" not in self.stamp:
            self.stamp = found | self._partial_of(self.stamp)
        if found.get("partial"):
            self._add_partial(found["partial"])
        return parquet.path(name, self.profile)

    def write(self, name, frame, by=None):
        """Validate a table, write it with its source, and return it; with `by`, see `parquet.write`."""
        parquet.write(frame, name, self.profile, self.stamp, by=by)
        self._written.add(name)
        return frame

    def partial(self, sentence):
        """Say what this run lacks: a warning here, and a banner on every figure from here on."""
        if sentence:
            self._add_partial(sentence)
            print(f"WARNING: this run is partial: {sentence}")

    def figure(self, slug, drawn, table, title, caption=""):
        """Title a figure with its finding, write it with the plotted numbers, and show it.

        Parameters
        ----------
        slug : str
            Name of the files.
        drawn : matplotlib.figure.Figure, matplotlib.axes.Axes or None
            None where there is nothing to draw: the title is shown as a sentence, and no file is written.
        table : pandas.DataFrame
            The plotted numbers.
        title : str
            The finding.
        caption : str
            Number of responses, interval, unit; printed below the figure.
        """
        if drawn is None:
            _display(f"*No figure: {title}*")
            return
        notes = [self.stamp.get(name) for name in ("encoder_note", "cut_note", "soundness_note")]
        caption = " ".join(filter(None, [caption, *notes, self._few_prompts(table)]))
        fig = getattr(drawn, "figure", drawn)
        figure_files.title(fig, title)
        path = figure_files.save(fig, slug, table, profile=self.profile, stamp=self.stamp, caption=caption)
        _show(fig, path, title)

    def figures(self, slug, by, drawn, table, titles, caption=""):
        """Show one figure for each value of a column, ``<slug>_<value>``; see `figure`.

        Parameters
        ----------
        slug : str
        by : str
            Column of `table`.
        drawn, titles : dict
            Figure and finding by value of that column.
        table : pandas.DataFrame
        caption : str
        """
        for value, one in drawn.items():
            self.figure(files.slug(slug, value), one, table[table[by] == value], titles[value], caption)

    def page(self, slug, html):
        """Write ``figures/<profile>/<slug>.html``."""
        figure_files.save_html(html, slug, profile=self.profile)
        print(f"figures/{self.profile}/{slug}.html")

    @property
    def source(self):
        """Kind of source of the data: one of `schema.SOURCES`."""
        return self.stamp.get("source")

    @property
    def source_line(self):
        """One line that says where the data come from, and what a partial run lacks: for pages of their own."""
        line, partial = figure_files.source_line(self.stamp), self.stamp.get("partial")
        return f"PARTIAL: {partial}. {line}" if partial else line

    def takeaways(self, answer, bullets=(), results=None, number=None):
        """Write the notebook's numbers, show its takeaways, and put the answer below its title.

        Parameters
        ----------
        answer : str
            The answer to the notebook's question, one sentence of Markdown.
        bullets : sequence of str
            Takeaways, Markdown; empty ones are left out.
        results : dict
            Numbers that the claims and the report quote; written to ``results/<profile>/NN.json``, not printed.
        number : tuple of (str, float, float, float), optional
            The one number of the notebook: what it is, its value, and the bounds of its interval (NaN: none).
        """
        bullets = [line for line in [*bullets, self.stamp.get("prompts_note")] if line]
        stamped = {name: self.stamp.get(name) for name in ("source", "partial", "prompts_note")}
        known = stamped | {"answer": answer, "takeaways": bullets}
        if number is not None:
            known["number"] = dict(zip(("label", "value", "lower", "upper"), number, strict=True))
        parquet.write_results(known | (results or {}), self.number, self.profile)
        simulated = "**Simulated data, not a finding.** " if self.stamp.get("source") == "simulated" else ""
        lines = "\n".join(f"- {line}" for line in (answer, *bullets))
        _display(lines)
        _display(f"> {simulated}{answer}", f"answer-{self.number}", update=True)

    def nothing(self, sentence):
        """End the notebook with a sentence in place of numbers; those of its tables not yet written are written empty.

        In a notebook, a `NothingToMeasureError` does this: no traceback is shown, the cells after it are not run, and
        the run goes on with the notebooks that read these tables.
        """
        for name, table in schema.TABLES.items():
            if table.number == self.number and name not in self._written:
                self.write(name, schema.empty(name))
        self.takeaways(f"Nothing to measure. {sentence}")

    def _few_prompts(self, table):
        """Say so where a figure's intervals rest on few prompts: fewer may be in it than in the run."""
        if "n_prompts" in table:
            counts = table["n_prompts"].astype(float)
            counts = counts[counts > 1]
            some = counts.max() >= wording.FEW_PROMPTS
            return wording.few_prompts(int(counts.min()), some=some) if len(counts) else ""
        if "prompt_id" in table:
            return wording.few_prompts(table["prompt_id"].nunique())
        return self.stamp.get("prompts_note")

    def _add_partial(self, sentences):
        known = (self.stamp.get("partial") or "").split("; ")
        self.stamp["partial"] = "; ".join(dict.fromkeys(filter(None, known + sentences.split("; "))))

    @staticmethod
    def _partial_of(stamp):
        return {"partial": stamp["partial"]} if stamp.get("partial") else {}


def _end_with(nothing):
    """Have IPython call `nothing` in place of showing a `NothingToMeasureError`; outside of a notebook, do nothing."""
    from IPython import get_ipython

    if (shell := get_ipython()) is not None:
        shell.set_custom_exc((NothingToMeasureError,), lambda _, kind, error, *rest, **options: nothing(error))


def _show(fig, path, title):
    """Show a picture in the notebook as it was saved, at half its resolution; outside of one, nothing.

    The figure is closed: Jupyter would draw it twice more.
    """
    from IPython import get_ipython
    from IPython.display import Image, display

    if get_ipython() is not None:
        import matplotlib.pyplot as plt

        display(Image(data=figure_files.half_size(path), format="png", alt=title))
        plt.close(fig)


def _display(text, display_id=None, *, update=False):
    """Show Markdown in the notebook; outside of one, nothing."""
    from IPython import get_ipython
    from IPython.display import Markdown, display

    if get_ipython() is not None:
        display(Markdown(text), display_id=display_id, update=update)
