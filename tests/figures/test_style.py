"""The house style: sizes, colours, and what `save` writes and prints."""

import contextlib
import io
import json
import re
import zlib

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from fontTools.ttLib import TTFont

from hivemind_utils.figures import style
from hivemind_utils.tables import figure_files
from hivemind_utils.tables import files as table_files

SIMULATED = {"source": "simulated"}
IMPORTED = {"source": "imported", "origin": "NoveltyBench", "encoder": "minilm"}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        yield tmp_path
    plt.close("all")


def a_figure():
    fig, ax = plt.subplots(figsize=style.size("column"))
    ax.plot([0, 1], [0, 1])
    return fig, pd.DataFrame({"x": [0, 1], "y": [0.0, 1 / 3]})


def printed(fig):
    return [text.get_text() for text in fig.texts]


def some_models(families, people=()):
    names = [*families, *people]
    kinds = ["model"] * len(families) + ["human"] * len(people)
    return pd.DataFrame({"model": [f"m{i}" for i in range(len(names))], "family": names, "model_kind": kinds})


# ------------------------------------------------------------------------------------------------------------ saving


def test_save_writes_picture_numbers_and_what_is_printed_around_them(project):
    fig, table = a_figure()
    figure_files.title(fig, "A finding that is so long that it must be wrapped to the width of one column of a paper")
    figure_files.save(fig, "lines", table, profile="mine", stamp=IMPORTED | {"partial": "b lacks 1"}, caption="n = 2")
    files = {path.suffix: path for path in (project / "figures" / "mine").iterdir()}
    assert sorted(path.name for path in files.values()) == ["lines.csv", "lines.json", "lines.pdf", "lines.png"]
    assert files[".pdf"].read_bytes().startswith(b"%PDF")
    assert files[".png"].read_bytes().startswith(b"\x89PNG")
    assert files[".csv"].read_text() == "x,y\n0,0\n1,0.333333\n"
    printed = json.loads(files[".json"].read_text())
    assert 0 < printed.pop("title_share") < 0.5
    assert printed == {
        "title": "A finding that is so long that it must be wrapped to the width of one column of a paper",
        "caption": "n = 2",
        "source": "source: imported · NoveltyBench · encoder minilm",
        "partial": "b lacks 1",
    }


def test_equal_figures_are_equal_files(project):
    for profile in ("one", "two"):
        fig, table = a_figure()
        figure_files.save(fig, "lines", table, profile=profile, stamp=SIMULATED)
    for suffix in ("pdf", "png", "csv", "json"):
        one, two = ((project / "figures" / profile / f"lines.{suffix}").read_bytes() for profile in ("one", "two"))
        assert one == two, suffix


def test_a_figure_is_laid_out_measured_for_the_pdf_and_drawn_once_for_each_format(monkeypatch):
    style.use()
    drawn = []
    fig, table = a_figure()
    monkeypatch.setattr(fig, "draw", lambda renderer: drawn.append(1) or matplotlib.figure.Figure.draw(fig, renderer))
    path = figure_files.save(fig, "lines", table, profile="mine", stamp=SIMULATED, caption="n = 2 prompts")
    assert len(drawn) == 2 and path.name == "lines.png"


def test_a_pdf_holds_letters_as_outlines_that_can_be_selected_and_no_tables_for_layout(project):
    style.use()
    fig, table = a_figure()
    figure_files.title(fig, "AVAST: letters that stand close – “2 × 3”")  # not all of them in the first 256
    figure_files.save(fig, "lines", table, profile="mine", stamp=IMPORTED)
    content = (project / "figures" / "mine" / "lines.pdf").read_bytes()
    streams = []
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        with contextlib.suppress(zlib.error):
            streams.append(zlib.decompress(packed))
    fonts = [set(TTFont(io.BytesIO(found)).keys()) for found in streams if found[:4] == b"\0\1\0\0"]
    assert len(fonts) == 2, "regular and bold, each once, where no two letters are one glyph"
    assert all({"glyf", "hmtx"} <= tables for tables in fonts)
    assert not any({"GSUB", "GPOS", "kern"} & tables for tables in fonts)
    assert b"/ToUnicode" in content and b"/Type3" not in content


def test_half_a_picture_is_the_picture_at_half_its_size(project):
    fig, table = a_figure()
    path = figure_files.save(fig, "lines", table, profile="mine", stamp=SIMULATED)
    whole, half = plt.imread(path), plt.imread(io.BytesIO(figure_files.half_size(path)))
    assert abs(half.shape[0] - whole.shape[0] / 2) <= 1 and abs(half.shape[1] - whole.shape[1] / 2) <= 1
    assert abs(half[..., :3].mean() - whole[..., :3].mean()) < 0.01


def test_simulated_data_say_so_on_the_figure():
    fig, table = a_figure()
    figure_files.save(fig, "lines", table, profile="mine", stamp=SIMULATED, caption="n = 2 prompts")
    (text,) = fig.texts
    assert text.get_text().startswith("n = 2 prompts\nSIMULATED DATA")
    assert text.get_color() == "#A03000"


def test_other_data_name_their_source_and_no_simulation():
    fig, table = a_figure()
    figure_files.save(fig, "lines", table, profile="mine", stamp=IMPORTED)
    assert printed(fig) == ["source: imported · NoveltyBench · encoder minilm"]


@pytest.mark.parametrize(
    ("stamp", "line"),
    [
        (SIMULATED, "SIMULATED DATA: invented models and people, planted behaviour. Not a finding."),
        (IMPORTED, "source: imported · NoveltyBench · encoder minilm"),
        ({"source": "sampled"}, "source: sampled"),
        ({"source": "released", "origin": None, "encoder": ""}, "source: released"),
    ],
)
def test_source_lines(stamp, line):
    assert figure_files.source_line(stamp) == line


def test_a_partial_result_wears_a_banner():
    fig, table = a_figure()
    figure_files.save(fig, "lines", table, profile="mine", stamp=IMPORTED | {"partial": "2 of 9 cells are missing"})
    assert "PARTIAL: 2 of 9 cells are missing" in printed(fig)
    fig, table = a_figure()
    figure_files.save(fig, "lines", table, profile="mine", stamp=IMPORTED | {"partial": None})
    assert not any("PARTIAL" in text for text in printed(fig))


@pytest.mark.parametrize("n", [1, 3, 40])
def test_a_long_banner_is_wrapped_to_the_figure(n, tmp_path):
    from PIL import Image

    fig, table = a_figure()
    lacking = ", ".join(f"a-provider/a-model-with-a-name-of-38-char-{i:02d} lacks 7" for i in range(n))
    figure_files.save(fig, "lines", table, profile="mine", stamp=IMPORTED | {"partial": lacking})
    banner = next(text for text in printed(fig) if text.startswith("PARTIAL"))
    assert banner.count("\n") < figure_files.BANNER_LINES
    shown = next(t for t in fig.texts if t.get_text() == banner)
    box = shown.get_window_extent(fig.canvas.get_renderer())  # not the one that saved, which has more dots per inch
    assert box.x1 <= fig.bbox.x1 + 1
    with Image.open(tmp_path / "figures" / "mine" / "lines.png") as image:
        assert image.width <= fig.get_size_inches()[0] * 250 * 1.1
    assert json.loads((tmp_path / "figures" / "mine" / "lines.json").read_text())["partial"] == lacking


def test_long_captions_wrap_and_lose_no_word():
    fig, table = a_figure()
    caption = " ".join(f"word{i}" for i in range(60))
    figure_files.save(fig, "lines", table, profile="mine", stamp=SIMULATED, caption=caption)
    lines = printed(fig)[0].split("\n")
    assert max(map(len, lines)) <= 3.5 * 19
    assert " ".join(lines).startswith(caption + " SIMULATED DATA")


def test_dollars_in_a_caption_are_dollars(project):
    fig, table = a_figure()
    stamp = IMPORTED | {"origin": "cost_$5_and_x^$", "partial": "a $ and a $^"}
    figure_files.save(fig, "lines", table, profile="mine", stamp=stamp, caption="between $5 and $6_")
    assert (project / "figures" / "mine" / "lines.png").exists()


def test_html_is_written_beside_the_figures(project):
    figure_files.save_html("<p>caf\N{LATIN SMALL LETTER E WITH ACUTE}</p>", "map", profile="mine")
    written = (project / "figures" / "mine" / "map.html").read_text(encoding="utf-8")
    assert written == "<p>caf\N{LATIN SMALL LETTER E WITH ACUTE}</p>"


# -------------------------------------------------------------------------------------------------- sizes and colours


def test_sizes_are_one_and_two_columns_of_a_paper():
    assert style.size("column", 1) == (3.5, 3.5)
    assert style.size("page", 0.5) == (7.2, 3.6)


def test_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match=r"must be one of \['column', 'page'\], but 'wide' was passed"):
        style.size("wide")


def test_use_sets_the_house_style():
    style.use()
    assert plt.rcParams["savefig.dpi"] == 250
    assert plt.rcParams["pdf.fonttype"] == 42
    assert not plt.rcParams["axes.spines.top"]


def test_every_family_has_a_colour_of_its_own_and_people_theirs():
    families = [f"family {i:02}" for i in range(40)]
    colours = style.family_colours(some_models(families, ["people"]))
    assert len(set(colours.values())) == 41
    assert colours["people"] == style.HUMAN_COLOUR
    assert set(colours) == {*families, "people"}


def test_family_colours_do_not_depend_on_the_order_of_rows():
    models = some_models(["llama", "gpt", "qwen", "gpt"], ["writers"])
    assert style.family_colours(models[::-1]) == style.family_colours(models)


@pytest.mark.parametrize("n", [1, 10, 11, 24, 60])
def test_families_beyond_ten_have_another_shape_and_another_hatch(n):
    models = some_models([f"family {i:02}" for i in range(n)], ["people"])
    for look in (style.family_shapes(models), style.family_hatches(models)):
        used = [look[f"family {i:02}"] for i in range(n)]
        assert len(set(used)) == -(-n // 10) and all(len(set(used[k : k + 10])) == 1 for k in range(0, n, 10))
    assert style.family_shapes(models)["people"] == "o" and style.family_hatches(models)["people"] == ""


def test_every_dot_has_the_outline_and_the_colour_of_its_family():
    from matplotlib.colors import to_hex

    families = [f"family {i:02}" for i in range(24)]
    models = some_models(families, [])
    shown = families[::-1]
    ax = plt.subplots()[1]
    dots = style.family_dots(ax, range(24), range(24), shown, models, s=9)
    corners = [len(path.vertices) for path in dots.get_paths()]
    alone = {m: len(ax.scatter([0], [0], marker=m).get_paths()[0].vertices) for m in "os"}
    assert corners[-1] == alone["o"] and corners[5] == alone["s"] and len(corners) == 24
    colours = style.family_colours(models)
    assert [to_hex(c) for c in dots.get_facecolors()] == [colours[f].lower() for f in shown]
    assert len(style.family_dots(ax, [], [], [], models).get_offsets()) == 0
    plt.close("all")


@pytest.mark.parametrize("n", [0, 1, 16, 17, 48])
def test_distinct_colours_are_distinct_and_begin_with_the_palette(n):
    colours = style.distinct(n)
    assert len(set(colours)) == len(colours) == n
    assert [c.upper() for c in colours[:16]] == list(style.FAMILY_COLOURS[:n])


def test_only_installed_fonts_stand_in_for_missing_characters(monkeypatch):
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager.fontManager, "ttflist", [font_manager.FontEntry(name="Unifont")])
    assert style.fonts() == ["DejaVu Sans", "Unifont"]


# ------------------------------------------------------------------------------------------------------------- titles


def test_a_title_stands_at_the_left_and_wraps():
    fig, _ = a_figure()
    figure_files.title(fig, "Models from different laboratories answer alike, and more so than people do")
    assert fig.get_suptitle().count("\n") == 1
    assert fig._suptitle.get_ha() == "left"


def test_a_slug_is_a_plain_file_name_and_tells_decodings_apart():
    assert table_files.slug("intra_heatmap", "top_p") == "intra_heatmap_top_p"
    odd = [table_files.slug("intra_heatmap", name) for name in ("t=1/p=.9", "t=1;p=.9", "t 1")]
    assert len(set(odd)) == 3 and not any("/" in name or " " in name for name in odd)


def test_save_tells_the_runner_what_was_drawn(tmp_path, monkeypatch):
    note = tmp_path / "drawn.txt"
    monkeypatch.setenv("HIVEMIND_DRAWN", str(note))
    figure_files._note("one")
    figure_files._note("two")
    assert note.read_text().split() == ["one", "two"]


def test_a_users_matplotlibrc_changes_no_figure(project):
    plain = project / "plain.png"
    style.use()
    fig, _ = a_figure()
    fig.savefig(plain, metadata={"Software": None})
    odd = {"text.usetex": True, "font.family": "nobody has this font", "axes.facecolor": "black", "savefig.dpi": 20}
    matplotlib.rcParams.update(odd)
    style.use()
    assert not matplotlib.rcParams["text.usetex"]
    fig, _ = a_figure()
    fig.savefig(project / "odd.png", metadata={"Software": None})
    assert (project / "odd.png").read_bytes() == plain.read_bytes()
