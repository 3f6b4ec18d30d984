"""The methods text with its references, in Markdown, HTML and BibTeX: one section per pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from isdu_bids.citations import Reference, Sentence, keys_of, pipeline_key, reference
from isdu_bids.files import write_text

#: What was done to a scan, in order; scans with the same sentences went through one pipeline.
Pipeline = tuple[Sentence, ...]

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Methods</title></head>
<body>
{body}</body>
</html>
"""


def methods_text(pipelines: Iterable[Pipeline], level: int = 2) -> str:
    """Write what was done, one paragraph per pipeline, with numbered references.

    Parameters
    ----------
    pipelines
        Sentences of scans; those that occur twice are told once, under the name that the scans'
        records have, too.
    level
        Of the headings.

    Returns
    -------
    str
        Markdown. A DOI that is not in our table is cited by its link alone.

    Examples
    --------
    >>> sentences = (("Phase was unwrapped with ROMEO", "10.1002/mrm.28563"),)
    >>> print(methods_text([sentences]).partition("## References")[0].strip())
    ## Methods
    <BLANKLINE>
    Phase was unwrapped with ROMEO [1].
    """
    distinct = list(dict.fromkeys(pipelines))
    keys = keys_of(sentence for sentences in distinct for sentence in sentences)
    marks = "#" * level
    text = f"{marks} Methods\n"
    for sentences in distinct:
        heading = f"\n{marks}# Pipeline {pipeline_key(sentences)}\n" if len(distinct) > 1 else ""
        text += f"{heading}\n{_paragraph(sentences, keys)}\n"
    if keys:
        references = (f"{n}. {_linked(reference(key))}" for n, key in enumerate(keys, start=1))
        text += f"\n{marks} References\n\n" + "\n".join(references) + "\n"
    return text


def markdown_to_html(text: str) -> str:
    """Convert Markdown; what looks like HTML is escaped."""
    return str(MarkdownIt("commonmark", {"html": False}).render(text))


def write_citation(
    output_dir: Path, read_pipelines: Callable[[], Sequence[Pipeline]]
) -> list[Path]:
    """Write ``logs/CITATION.md``, ``.html`` and ``.bib`` for all scans of an output folder.

    Several jobs may do so at once: each looks again after it has written, so that whoever writes
    last has seen the scans of all others.

    Parameters
    ----------
    output_dir
        Root of the derivative dataset.
    read_pipelines
        Reads those of all scans that the folder holds now.
    """
    folder, written = output_dir / "logs", None
    while (pipelines := tuple(dict.fromkeys(read_pipelines()))) != written:
        text = methods_text(pipelines)
        keys = keys_of(sentence for sentences in pipelines for sentence in sentences)
        write_text(folder / "CITATION.md", text)
        write_text(folder / "CITATION.html", _PAGE.format(body=markdown_to_html(text)))
        write_text(folder / "CITATION.bib", "\n".join(reference(key).bibtex() for key in keys))
        written = pipelines
    return [folder / f"CITATION.{extension}" for extension in ("md", "html", "bib")]


def _linked(article: Reference) -> str:
    link = f"<{article.link}>" if article.link else ""  # what makes it a link in Markdown
    return " ".join(filter(None, (article.text, link))) or article.key


def _paragraph(sentences: Sequence[Sentence], keys: Sequence[str]) -> str:
    return " ".join(_cited(text, references, keys) for text, references in sentences)


def _cited(text: str, references: str, keys: Sequence[str]) -> str:
    numbers = ", ".join(str(keys.index(key) + 1) for key in references.split())
    return f"{text.rstrip('.')} [{numbers}]." if numbers else f"{text.rstrip('.')}."
