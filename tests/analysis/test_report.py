import base64
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from openmm_diffsampler.analysis import write_report


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.cells = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        elif tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


@pytest.fixture
def content(tmp_path):
    Figure(figsize=(1, 1)).savefig(tmp_path / "a.png")
    return {
        "title": "Alanine <dipeptide>",
        "summary": {"temperature": "300 K", "free energy": "ΔG < 5 & > 1"},
        "tables": [("Basins", ["basin", "population"], [["alpha_R", 0.25], ["<b>", "0.75 ± 0.01"]])],
        "figures": [('the "surface"', tmp_path / "a.png")],
        "how_to_load": "wt = WeightedTrajectory.load('a.dcd')\nassert len(wt) < 5",
    }


def test_page_is_complete_and_escaped(content, tmp_path):
    path = write_report(tmp_path / "report.html", **content)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert page.cells == [
        *("temperature", "300 K", "free energy", "ΔG < 5 & > 1"),
        *("basin", "population", "alpha_R", "0.25", "<b>", "0.75 ± 0.01"),
    ]
    assert "<h1>Alanine &lt;dipeptide&gt;</h1>" in text and "assert len(wt) &lt; 5" in text
    [image] = page.images
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == (tmp_path / "a.png").read_bytes()
    assert image["alt"] == 'the "surface"'


def test_page_needs_no_other_file(content, tmp_path):
    text = write_report(tmp_path / "report.html", **content).read_text(encoding="utf-8")
    assert not [word for word in ("http://", "https://", "<link", "<script", "a.png", "@import") if word in text]


def test_refusals_write_nothing(content, tmp_path):
    path = tmp_path / "report.html"
    (tmp_path / "b.png").write_bytes(b"GIF89a")
    for wrong, error, message in (
        ({"tables": [("Basins", ["a", "b"], [[1]])]}, ValueError, "2 columns and a row of 1"),
        ({"figures": [("x", tmp_path / "b.png")]}, ValueError, "no PNG"),
        ({"figures": [("x", tmp_path / "missing.png")]}, FileNotFoundError, "missing"),
    ):
        with pytest.raises(error, match=message):
            write_report(path, **(content | wrong))
    assert not path.exists()
