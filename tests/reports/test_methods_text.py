import re

import pytest

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.registry import COMBINATION, RELAXATION, UNWRAPPING
from isdu_bids.reports.methods_text import (
    known_references,
    markdown_to_html,
    methods_text,
    write_citation,
)

STEPS = [
    ("Phase was unwrapped.", "10.1002/mrm.28563"),
    ("The mask was given by the user", ""),
    ("Background was removed", "doi:10.1016/j.neuroimage.2010.11.088; 10.1002/mrm.28563."),
    ("Nobody knows this <one>", "10.9999/unknown"),
]


def test_sources_are_numbered_in_order_of_first_use():
    text = methods_text(STEPS)
    assert "Phase was unwrapped [1]. The mask was given by the user." in text
    assert "Background was removed [2, 1]. Nobody knows this <one> [3]." in text
    assert re.findall(r"^(\d)\. .*doi.org/(10\S+)$", text, re.MULTILINE) == [
        ("1", "10.1002/mrm.28563"),
        ("2", "10.1016/j.neuroimage.2010.11.088"),
        ("3", "10.9999/unknown"),
    ]
    assert "ROMEO" in text


def test_no_sources_no_references():
    assert "References" not in methods_text([("Done", "")])


def test_known_references_are_whole():
    for doi, citation in known_references().items():
        assert doi == doi.lower()
        assert re.search(r", (19|20)\d\d\.$", citation), doi


@pytest.mark.parametrize(
    "registry", [MASKS, UNWRAPPING, COMBINATION, RELAXATION, BACKGROUND, INVERSION]
)
def test_every_method_of_every_registry_can_be_cited(registry):
    """A new source belongs into data/reports/references.yml."""
    for method in registry.values():
        text = methods_text([(method.description, method.reference)])
        references = re.findall(r"^\d+\. (?!https)(\S.*)", text, re.MULTILINE)
        assert references, method.name
        assert all(references), f"{method.name}: {method.reference} has no citation"


@pytest.mark.parametrize("doi", ["10.1016/j.media.2023.102789", "10.1073/pnas.2216399120"])
def test_the_segmentation_can_be_cited(doi):
    assert re.search(
        r"^1\. Billot B, .*2023\. https://doi", methods_text([("x", doi)]), re.MULTILINE
    )


def test_html_escapes_and_links():
    page = markdown_to_html(methods_text(STEPS))
    assert page.count("<li>") == 3
    assert "&lt;one&gt;" in page
    assert '<a href="https://doi.org/10.9999/unknown">' in page


def test_citation_files(tmp_path):
    markdown, page = write_citation(tmp_path, methods_text(STEPS))
    assert markdown == tmp_path / "logs" / "CITATION.md"
    assert "ROMEO" in markdown.read_text()
    assert page.read_text().count("<body>") == 1
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "CITATION.html",
        "CITATION.md",
    ]
