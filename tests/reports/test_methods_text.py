import re

import pytest

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.citations import known_keys, opening_sentence, pipeline_key, reference
from isdu_bids.inversion.registry import INVERSION
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.registry import COMBINATION, RELAXATION, UNWRAPPING
from isdu_bids.reports.methods_text import markdown_to_html, methods_text, write_citation

STEPS = (
    ("Phase was unwrapped.", "10.1002/mrm.28563"),
    ("The mask was given by the user", ""),
    ("Background was removed", "10.1016/j.neuroimage.2010.11.088 10.1002/mrm.28563"),
    ("Nobody knows this <one>", "10.9999/unknown"),
)
OTHER = (("Phase was left as it is", "10.1364/AO.46.006623"),)


def test_sources_are_numbered_in_order_of_first_use():
    text = methods_text([STEPS])
    assert "Phase was unwrapped [1]. The mask was given by the user." in text
    assert "Background was removed [2, 1]. Nobody knows this <one> [3]." in text
    assert re.findall(r"^(\d)\. .*<https://doi.org/(10\S+)>$", text, re.MULTILINE) == [
        ("1", "10.1002/mrm.28563"),
        ("2", "10.1016/j.neuroimage.2010.11.088"),
        ("3", "10.9999/unknown"),
    ]
    assert "ROMEO" in text


def test_no_sources_no_references():
    assert "References" not in methods_text([(("Done", ""),)])


def test_each_pipeline_is_told_once_under_its_name():
    assert "###" not in methods_text([STEPS, STEPS])
    text = methods_text([STEPS, OTHER, STEPS])
    assert text.count("### Pipeline ") == 2
    first, second = text.split("### Pipeline ")[1:]
    assert first.startswith(f"{pipeline_key(STEPS)}\n\nPhase was unwrapped [1].")
    assert second.startswith(f"{pipeline_key(OTHER)}\n\nPhase was left as it is [4].")
    assert text.count("## References") == 1


def test_the_program_is_named_with_its_version():
    text = methods_text([(opening_sentence("1.2.3"),)])
    assert "isdu-bids 1.2.3" in text
    assert "BIDS apps: improving ease of use" in text


def test_known_references_are_whole():
    for key in known_keys():
        known = reference(key)
        assert key == key.lower()
        assert known.authors
        assert 1900 < known.year < 2100
        assert known.journal
        assert str(known).count(known.title) == 1


@pytest.mark.parametrize(
    "registry", [MASKS, UNWRAPPING, COMBINATION, RELAXATION, BACKGROUND, INVERSION]
)
def test_every_method_of_every_registry_can_be_cited(registry):
    """A new source belongs into data/references.yml."""
    for method in registry.values():
        for key in method.reference.split():
            assert reference(key).title, f"{method.name}: {key} has no citation"


@pytest.mark.parametrize("doi", ["10.1016/j.media.2023.102789", "10.1073/pnas.2216399120"])
def test_the_segmentation_can_be_cited(doi):
    assert re.search(r"^Billot B, .*2023\. https://doi", str(reference(doi)))


def test_bibtex():
    assert reference("10.1002/MRM.28563").bibtex() == (
        "@article{dymerska2021mrm28563,\n"
        "  author = {Dymerska, B. and Eckstein, K. and Bachrata, B. and others},\n"
        "  title = {{Phase unwrapping with a rapid opensource minimum spanning tree algorithm "
        "(ROMEO)}},\n"
        "  journal = {Magnetic Resonance in Medicine},\n"
        "  year = {2021},\n"
        "  volume = {85},\n"
        "  pages = {2294--2308},\n"
        "  doi = {10.1002/mrm.28563}\n"
        "}\n"
    )
    assert "{QSM Consensus Organization Committee} and Bilgic, B." in (
        reference("10.1002/mrm.30006").bibtex()
    )
    keys = [reference(key).bibtex_key for key in known_keys()]
    assert len(set(keys)) == len(keys)


def test_html_escapes_and_links():
    page = markdown_to_html(methods_text([STEPS]))
    assert page.count("<li>") == 3
    assert "&lt;one&gt;" in page
    assert '<a href="https://doi.org/10.9999/unknown">' in page


def test_citation_files(tmp_path):
    markdown, page, bibliography = write_citation(tmp_path, lambda: [STEPS])
    assert markdown == tmp_path / "logs" / "CITATION.md"
    assert "ROMEO" in markdown.read_text()
    assert page.read_text().count("<body>") == 1
    assert bibliography.read_text().count("@article{") == 3
    names = ["CITATION.bib", "CITATION.html", "CITATION.md"]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == names


def test_a_job_that_ends_at_the_same_time_is_not_overwritten(tmp_path):
    """Its scan appears after the first look: the last to write has seen both."""
    looks = iter([[STEPS], [STEPS, OTHER], [STEPS, OTHER]])
    markdown, *_ = write_citation(tmp_path, lambda: next(looks))
    assert "Phase was unwrapped" in markdown.read_text()
    assert "Phase was left as it is" in markdown.read_text()
