"""The course's table: what a reader sees, in a notebook and as plain text."""

from html.parser import HTMLParser

import pytest
import torch

from utils.pictures import figures

ROWS = [("0.1", torch.tensor(3.456), 1200), ("0.12", -0.5, None)]
COLUMNS = {"head": "", "loss (nats)": ".2f", "places": ","}


class Cells(HTMLParser):
    """Collects what stands in each cell, with the cell's tag and attributes."""

    def __init__(self):
        super().__init__()
        self.cells, self.inside = [], None

    def handle_starttag(self, tag, attrs):
        if tag in ("th", "td", "caption", "p"):
            self.inside = [tag, dict(attrs), ""]

    def handle_data(self, data):
        if self.inside:
            self.inside[2] += data

    def handle_endtag(self, tag):
        if self.inside and tag == self.inside[0]:
            self.cells.append(self.inside)
            self.inside = None


def cells_of(table):
    parser = Cells()
    parser.feed(table._repr_html_())
    return parser.cells


def test_numbers_are_rounded_and_aligned():
    lines = str(figures.table(COLUMNS, ROWS)).splitlines()
    assert lines == [
        "head  loss (nats)  places",
        "0.1          3.46   1,200",
        "0.12        −0.50",
    ]


def test_what_is_rounded_to_nothing_has_no_sign():
    rows = [["a", -0.001], ["b", -0.006], ["c", 0.0]]
    shown = figures.table({"x": "", "y": ".2f"}, rows).rows
    assert [cell for _, cell in shown] == ["0.00", "−0.01", "0.00"]


def test_a_share_is_set_in_per_cent():
    shown = figures.table({"x": "", "y": "+.1%"}, [["100%", 0.1234]]).rows
    assert shown == [["100%", "+12.3\u00a0%"]]


def test_the_note_sets_shares_and_minus_signs_as_the_table_does():
    note = "It is -0.22 to -0.13, 12% of 3-4 words; heads 1-2."
    said = figures.table({"": "", "share": ".0%"}, [("a", -0.1)], "", note).note
    assert said == "It is \u22120.22 to \u22120.13, 12\u00a0% of 3-4 words; heads 1-2."


def test_html_has_headings_for_columns_and_rows():
    cells = cells_of(figures.table(COLUMNS, ROWS, title="Heads", note="So it is."))
    assert [text for _, _, text in cells] == [
        "Heads",
        *COLUMNS,
        *("0.1", "3.46", "1,200"),
        *("0.12", "−0.50", ""),
        "So it is.",
    ]
    scopes = [attrs.get("scope") for _, attrs, _ in cells]
    assert scopes == [None, *["col"] * 3, "row", None, None, "row", None, None, None]


def test_words_stand_left_and_numbers_right():
    cells = cells_of(figures.table(COLUMNS, ROWS))
    sides = [
        attrs["style"].split("text-align:")[1].split(";")[0] for _, attrs, _ in cells
    ]
    assert sides == ["left", "right", "right"] * 3


def test_tokens_cannot_break_the_page():
    table = figures.table({"<b>": ""}, [["<|start|>"], ["a\n b"]], "a < b", "c & d")
    assert [text for _, _, text in cells_of(table)] == [
        "a < b",
        "<b>",
        "<|start|>",
        "a\n b",
        "c & d",
    ]
    assert "<|start|>" not in table._repr_html_()


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 values for 3 columns"):
        figures.table(COLUMNS, [("0.1", 2.0)])


def test_short_cells_and_arrows_are_not_broken_on_a_narrow_page():
    words = "try ... <|start|> -> except"
    table = figures.table({"reading": "", "interval": ""}, [(words, "2.55 to 3.56")])
    reading, interval = cells_of(table)[2:]  # below the two headings
    assert "white-space:pre;" in interval[1]["style"] + ";"
    assert "white-space:pre-wrap" in reading[1]["style"]
    assert reading[2].replace("\u2060", "") == words and "->" not in reading[2]
    assert words in str(table)
