"""Pages: what responses hold is shown as text, never as markup."""

from html.parser import HTMLParser

import pytest

from hivemind_utils.figures import pages
from hivemind_utils.metrics import overlap


class Reader(HTMLParser):
    """Collects tags, text, and the text of marks."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self.marked, self.open = [], [], "", "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data
        self.marked += data if "mark" in self.open else ""


EVIL = (
    '<script>alert("1")</script> **bold** [x](javascript:alert(1)) <img src=x onerror=y> &amp; </div></main> {title} %s'
)


def record(text_a=EVIL, text_b=EVIL, **more):
    spans_a, spans_b = overlap.shared_characters(text_a, text_b)
    sides = dict(model_a=EVIL, text_a=text_a, spans_a=spans_a, model_b=EVIL, text_b=text_b, spans_b=spans_b)
    return {"prompt": EVIL, **sides, "cosine": 0.98, "longest_span_words": 7, **more}


def test_overlap_html_lets_no_markup_through():
    page = Reader(pages.overlap_html([record(), record(text_a="plain")], EVIL, source=EVIL))
    assert page.text.count(EVIL) == 1 + 1 + 1 + 2 * 3 + 3  # title, heading, source, prompts and models, texts
    assert not {"script", "img", "a", "link", "iframe"} & set(page.tags)
    assert {name for name, _ in page.attributes} <= {
        *("lang", "charset", "name", "content", "http-equiv", "aria-labelledby", "id", "class", "dir", "title")
    }
    assert page.tags.count("article") == 2
    assert page.marked == "".join(EVIL[a:b] for a, b in record()["spans_a"]) * 2


@pytest.mark.parametrize("prompt", ["Write about " + "time and " * 220, "字" * 2_000, "two\nlines " * 200])
def test_a_long_prompt_is_cut_in_headings_and_whole_on_hover(prompt):
    page = Reader(pages.overlap_html([record() | {"prompt": prompt}], prompt, source="test"))
    assert [value for name, value in page.attributes if name == "title"] == [prompt, prompt]
    assert " ".join(prompt.split())[:20] in page.text and prompt[20:] not in page.text and len(page.text) < 5_000


def test_overlap_html_says_what_is_missing():
    page = pages.overlap_html([record(cosine=None, longest_span_words=1)], "T", source="simulated")
    assert "cosine not measured" in page and "1 word<" in page and "simulated" in page
    assert "No pair of responses to show." in pages.overlap_html([], "T", source="simulated")
    with pytest.raises(ValueError, match=r"\['cosine'\] are missing"):
        pages.overlap_html([{k: v for k, v in record().items() if k != "cosine"}], "T", source="s")
    assert pages.overlap_html([record()], "T", source="s") == pages.overlap_html(iter([record()]), "T", source="s")
