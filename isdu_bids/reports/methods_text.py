"""The methods paragraph with its references, in Markdown and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

from isdu_bids.files import write_text

#: A DOI, or the key of an article whose DOI we do not know, e.g. ``vaddadi2025``.
_SOURCE = re.compile(r"10\.\d{4,9}/[^\s;,\"<>]+|\b[a-z]+20\d\d\b")
_URL = re.compile(r"https?://[^\s<]+")


@cache
def known_references() -> dict[str, str]:
    """Citations by lower-case DOI, as packaged in ``data/reports/references.yml``."""
    table = files("isdu_bids") / "data" / "reports" / "references.yml"
    citations: dict[str, str] = yaml.safe_load(table.read_text(encoding="utf-8"))
    return citations


def methods_text(steps: Iterable[tuple[str, str]]) -> str:
    """Write what was done as one paragraph, with numbered references.

    Parameters
    ----------
    steps
        Pairs of a sentence and the DOIs of its sources in one string (empty: none), in the order
        of processing.

    Returns
    -------
    str
        Markdown. A DOI that is not in the packaged table is cited by its link alone.

    Examples
    --------
    >>> print(methods_text([("Phase was unwrapped by ROMEO.", "10.1002/mrm.28563")])[:45])
    ## Methods
    <BLANKLINE>
    Phase was unwrapped by ROMEO [1].
    """
    numbers: dict[str, int] = {}
    sentences = []
    for sentence, dois in steps:
        cited = [
            str(numbers.setdefault(key.rstrip("."), len(numbers) + 1))
            for key in _SOURCE.findall(dois)
        ]
        sentence = sentence.strip().rstrip(".")
        sentences.append(f"{sentence} [{', '.join(cited)}]." if cited else f"{sentence}.")
    text = f"## Methods\n\n{' '.join(sentences)}\n"
    if numbers:
        references = "\n".join(f"{number}. {citation(doi)}" for doi, number in numbers.items())
        text += f"\n## References\n\n{references}\n"
    return text


def write_citation(output_dir: Path, text: str) -> list[Path]:
    """Write ``logs/CITATION.md`` and ``.html``; several jobs may do so at once.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    text
        Markdown from `methods_text`.
    """
    folder = output_dir / "logs"
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n'
        '<head><meta charset="utf-8"><title>Methods</title></head>\n'
        f"<body>\n{markdown_to_html(text)}\n</body>\n</html>\n"
    )
    return [
        write_text(folder / "CITATION.md", text),
        write_text(folder / "CITATION.html", page),
    ]


def markdown_to_html(text: str) -> str:
    """Convert the Markdown of `methods_text`: headings, numbered lists, paragraphs, links."""
    blocks = []
    for block in filter(None, text.strip().split("\n\n")):
        escaped = _URL.sub(r'<a href="\g<0>">\g<0></a>', html.escape(block.strip()))
        if escaped.startswith("## "):
            blocks.append(f"<h3>{escaped[3:]}</h3>")
        elif escaped.startswith("1. "):
            items = re.split(r"^\d+\. ", escaped, flags=re.MULTILINE)[1:]
            blocks.append(f"<ol>{''.join(f'<li>{item.strip()}</li>' for item in items)}</ol>")
        else:
            blocks.append(f"<p>{escaped}</p>")
    return "\n".join(blocks)


def citation(doi: str) -> str:
    """Full reference of a DOI, or of the key of an article without one, with its link."""
    link = f"https://doi.org/{doi}" if doi.startswith("10.") else ""
    return f"{known_references().get(doi.lower(), '')} {link}".strip()
