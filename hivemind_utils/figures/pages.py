"""The interactive map of notebook 07: one HTML file that opens offline."""

import html
import json
import re
import textwrap

import numpy as np
import pandas as pd

from hivemind_utils.figures import modes, style
from hivemind_utils.metrics import overlap

_FIELDS = {f"{kind}_{side}" for kind in ("model", "text", "spans") for side in "ab"}


_FIELDS |= {"prompt", "cosine", "longest_span_words"}


_OVERLAP_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ --page: #f6f6f3; --card: #fff; --ink: #1c1c1a; --quiet: #5c5c57; --line: #d9d9d3; --mark: #ffe08a; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #161618; --card: #202023; --ink: #ececea; --quiet: #a9a9a4; --line: #3a3a3e; --mark: #6b5200; }}
}}
body {{ margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }}
main {{ max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }}
h2 {{ font-size: 1.1rem; line-height: 1.4; margin: 0; }}
h3 {{ font-size: .9rem; color: var(--quiet); margin: 0 0 .35rem; }}
p {{ margin: .35rem 0; }}
.quiet {{ color: var(--quiet); font-size: .9rem; }}
article {{ background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem; margin: 1rem 0; }}
.answers {{ display: grid; gap: 1rem; margin-top: .8rem; }}
.answers section {{ min-width: 0; border-top: 1px solid var(--line); padding-top: .8rem; }}
.text, h1, h2, h3 {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
mark {{ background: var(--mark); color: inherit; border-radius: .2rem; text-decoration: underline; padding: .05rem 0; }}
@media (min-width: 46rem) {{ .answers {{ grid-template-columns: 1fr 1fr; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{lead}</p>
<p class="quiet">{source}</p>
{articles}
</main>
</body>
</html>
"""


_ARTICLE = """<article aria-labelledby="pair-{number}">
<h2 id="pair-{number}" dir="auto">{prompt}</h2>
<p class="quiet">cosine {cosine} · longest shared span {words}</p>
<div class="answers">
<section><h3>{model_a}</h3><div class="text" dir="auto">{text_a}</div></section>
<section><h3>{model_b}</h3><div class="text" dir="auto">{text_b}</div></section>
</div>
</article>"""


def overlap_html(pairs, title, *, source):
    """Lay out pairs of answers side by side with their shared spans marked.

    Parameters
    ----------
    pairs : iterable of dict
        Keys: ``prompt``, ``model_a``, ``text_a``, ``spans_a``, ``model_b``, ``text_b``, ``spans_b`` (spans as for
        `mark`, from `shared_characters`), ``cosine`` and ``longest_span_words`` (either may be None or NaN).
    title : str
        Heading of the page.
    source : str
        Where the answers come from: shown under the heading.

    Returns
    -------
    str
        One HTML page that asks for nothing else: no script, no font, no image. Everything passed is escaped.
    """
    articles = []
    for number, pair in enumerate(pairs, start=1):
        missing = _FIELDS - pair.keys()
        if missing:
            raise ValueError(f"Pair {number} must have the keys {sorted(_FIELDS)}, but {sorted(missing)} are missing.")
        cosine, span = pair["cosine"], pair["longest_span_words"]
        articles.append(
            _ARTICLE.format(
                number=number,
                prompt=html.escape(str(pair["prompt"])),
                cosine="not measured" if pd.isna(cosine) else f"{cosine:.3f}",
                words="not measured" if pd.isna(span) else f"{int(span)} word{'' if span == 1 else 's'}",
                **{key: html.escape(str(pair[key])) for key in ("model_a", "model_b")},
                text_a=overlap.mark(pair["text_a"], pair["spans_a"]),
                text_b=overlap.mark(pair["text_b"], pair["spans_b"]),
            )
        )
    lead = (
        "Marked words stand in both answers; case, punctuation and formatting apart."
        if articles
        else "No pair of answers to show."
    )
    return _OVERLAP_PAGE.format(
        title=html.escape(str(title)), lead=lead, source=html.escape(str(source)), articles="\n".join(articles)
    )


LARGEST_HOVER = 400  # characters of an answer shown on hover


def page(table, *, title, source, colours, mode_names):
    """Write the page: a WebGL scatter of one prompt's answers with colour, filter and search.

    Parameters
    ----------
    table : pandas.DataFrame
        One row an answer: x, y, model, family, mode (int), idea (str or missing), text.
    title, source : str
        Printed above and below.
    colours : dict of str to str
        Colour of every family.
    mode_names : dict of int to str
        Name of every mode.

    Returns
    -------
    str
        HTML with plotly.js in it; nothing is fetched. Whatever the answers hold is shown as text.
    """
    from plotly.offline import get_plotlyjs

    named = list(mode_names.values())  # two modes may have the same keyphrases
    mode_names = {k: n if named.count(n) == 1 else f"{n} ({k + 1})" for k, n in mode_names.items()}
    idea = table["idea"].astype(object).where(table["idea"].notna(), "not labelled")
    groups = {
        "mode": table["mode"].map(lambda mode: mode_names.get(mode, "outside of all modes")),
        "family": table["family"],
        "model": table["model"],
        "idea": idea,
    }
    palettes = {
        "mode": {mode_names.get(k, "outside of all modes"): c for k, c in modes.mode_colours(len(mode_names)).items()},
        "family": colours,
    }
    data = {
        "x": np.round(table["x"], 4).tolist(),
        "y": np.round(table["y"], 4).tolist(),
        "text": [" ".join(text.split()) for text in table["text"]],
        "groups": {},
    }
    for name, values in groups.items():
        sizes = values.value_counts()
        names = sorted(sizes.index, key=lambda n: (-sizes[n], n))
        palette = palettes.get(name) or dict(zip(names, style.distinct(len(names)), strict=True))
        code = {n: k for k, n in enumerate(names)}
        data["groups"][name] = {
            "names": [str(n) for n in names],
            "colours": [palette[n] for n in names],
            "codes": values.map(code).tolist(),
        }
    # `<` cannot end the script element, whatever an answer holds
    payload = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " ")
    parts = {
        "TITLE": html.escape(title), "SOURCE": html.escape(source), "N": f"{len(table):,}", "PLOTLY": get_plotlyjs(),
        "SCRIPT": _SCRIPT.replace("%LENGTH%", str(LARGEST_HOVER)), "DATA": payload,
    }  # fmt: skip
    return re.sub("%([A-Z]+)%", lambda match: parts[match.group(1)], _PAGE)


_PAGE = textwrap.dedent("""\
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
      script-src 'unsafe-inline' 'unsafe-eval' blob:; img-src data: blob:; worker-src blob:">
    <title>%TITLE%</title>
    <style>
    body { font: 15px/1.4 system-ui, sans-serif; margin: 0; color: #222; }
    body { display: flex; flex-direction: column; height: 100vh; }
    header, footer { padding: .5rem 1rem; }
    h1 { font-size: 1.05rem; margin: 0 0 .4rem; }
    footer { font-size: .8rem; color: #7a2500; }
    .controls { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; align-items: center; }
    #map { flex: 1; min-height: 20rem; }
    #count { color: #444; }
    select, input { font: inherit; padding: .15rem .3rem; max-width: 20rem; }
    </style>
    </head>
    <body>
    <header>
    <h1>%TITLE%</h1>
    <div class="controls">
    <label>colour by <select id="by"></select></label>
    <label>model <select id="model"><option value="">all models</option></select></label>
    <label>search <input id="search" type="search" placeholder="words in the answer"></label>
    <span id="count" role="status" aria-live="polite">%N% answers</span>
    </div>
    </header>
    <div id="map" role="img" aria-label="Map of the answers: near points are alike"></div>
    <footer>%SOURCE%
    Near points are alike; distances between far groups mean little. Hover over a point to read it.</footer>
    <script>%PLOTLY%</script>
    <script id="data" type="application/json">%DATA%</script>
    <script>%SCRIPT%</script>
    </body>
    </html>
    """)


_SCRIPT = textwrap.dedent("""\
    "use strict";
    const data = JSON.parse(document.getElementById("data").textContent);
    const by = document.getElementById("by"), model = document.getElementById("model");
    const search = document.getElementById("search"), count = document.getElementById("count");
    const lower = data.text.map(text => text.toLowerCase());
    const escape = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const wrap = text => {  // lines of about sixty characters, cut first and escaped last, so that no entity is broken
      const cut = text.length > %LENGTH% ? text.slice(0, %LENGTH%) + "…" : text, lines = [];
      let line = "";
      for (const word of cut.match(/\\S{1,60}/gu) || []) {
        if (line.length + word.length > 60) { lines.push(line); line = ""; }
        line = line ? line + " " + word : word;
      }
      return [...lines, line].map(escape).join("<br>");
    };
    const modelOf = i => data.groups.model.names[data.groups.model.codes[i]];
    for (const name of Object.keys(data.groups)) by.add(new Option(name, name));
    data.groups.model.names.forEach((name, k) => model.add(new Option(name, k)));
    const layout = {
      margin: {l: 10, r: 10, t: 10, b: 10}, hovermode: "closest", dragmode: "pan",
      xaxis: {visible: false}, yaxis: {visible: false, scaleanchor: "x"},
      legend: {itemsizing: "constant", ...(innerWidth < 700 ? {orientation: "h", x: 0, y: 0, yanchor: "top"} : {})},
      hoverlabel: {align: "left", bgcolor: "white", font: {color: "#222"}}, uirevision: "keep"
    };
    function draw() {
      const group = data.groups[by.value], wanted = model.value, words = search.value.toLowerCase().trim();
      const rows = group.names.map(() => []);
      let shown = 0;
      for (let i = 0; i < data.x.length; i++) {
        if (wanted !== "" && data.groups.model.codes[i] !== +wanted) continue;
        if (words && !lower[i].includes(words)) continue;
        rows[group.codes[i]].push(i);
        shown++;
      }
      const size = data.x.length > 5000 ? 4 : 6;
      const traces = group.names.map((name, k) => ({
        type: "scattergl", mode: "markers", name: escape(name.length > 42 ? name.slice(0, 41) + "…" : name),
        x: rows[k].map(i => data.x[i]), y: rows[k].map(i => data.y[i]), customdata: rows[k],
        text: rows[k].map(i => "<b>" + escape(modelOf(i)) + "</b><br>" + wrap(data.text[i])),
        hovertemplate: "%{text}<extra></extra>", marker: {size: size, color: group.colours[k], opacity: 0.8}
      })).filter(trace => trace.x.length);
      const buttons = {responsive: true, displaylogo: false, scrollZoom: true, modeBarButtonsToRemove: ["toImage"]};
      Plotly.react("map", traces, layout, buttons);
      const whole = data.x.length.toLocaleString("en");
      count.textContent = (shown === data.x.length ? "" : shown.toLocaleString("en") + " of ") + whole + " answers";
    }
    let timer;
    search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(draw, 150); });
    by.addEventListener("change", draw);
    model.addEventListener("change", draw);
    draw();
    """)
