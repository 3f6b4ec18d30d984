"""What a methods text is made of: sentences, each with the articles that it rests on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

#: A sentence without its full stop, and the keys of its references separated by blanks: DOIs, or
#: the names of articles without one. An empty string: no reference.
Sentence = tuple[str, str]

#: BIDS Apps, and Nipype.
_APP_REFERENCES = "10.1371/journal.pcbi.1005209 10.3389/fninf.2011.00013"


@dataclass(frozen=True)
class Reference:
    """An article.

    Attributes
    ----------
    key
        Lower-case DOI, or a name where we know none, e.g. ``vaddadi2025``.
    authors
        Surname and initials, e.g. ``Dymerska B``.
    title, journal, year, volume, pages
        As a bibliography states them; empty where unknown.
    et_al
        Whether there are more authors.
    """

    key: str
    authors: tuple[str, ...] = ()
    title: str = ""
    journal: str = ""
    year: int | None = None
    volume: str = ""
    pages: str = ""
    et_al: bool = False

    @property
    def doi(self) -> str:
        """The DOI, empty if we know none."""
        return self.key if self.key.startswith("10.") else ""

    @property
    def link(self) -> str:
        """Address of the DOI, empty if we know none."""
        return f"https://doi.org/{self.doi}" if self.doi else ""

    def __str__(self) -> str:
        """Citation with its link; the link alone for an article that is not in our table."""
        return " ".join(filter(None, (self.text, self.link))) or self.key

    @property
    def text(self) -> str:
        """Citation without its link; empty for an article that is not in our table."""
        if not self.title:
            return ""
        authors = ", ".join([*self.authors, *(["et al"] if self.et_al else [])])
        title = self.title if self.title.endswith("?") else f"{self.title}."
        place = f" {self.volume}:{self.pages}" if self.volume else ""
        return f"{authors}. {title} {self.journal}{place}, {self.year}."

    def bibtex(self) -> str:
        """Entry of a BibTeX file, named by author, year and the end of the DOI."""
        authors = [_bibtex_name(author) for author in self.authors]
        fields = {
            "author": " and ".join([*authors, *(["others"] if self.et_al else [])]),
            "title": f"{{{self.title}}}",  # braces keep the capitals of QSM
            "journal": self.journal,
            "year": str(self.year or ""),
            "volume": self.volume,
            "pages": self.pages.replace("-", "--"),
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value.strip("{}")]
        return f"@article{{{self.bibtex_key},\n" + ",\n".join(lines) + "\n}\n"

    @property
    def bibtex_key(self) -> str:
        """E.g. ``dymerska2021mrm28563``."""
        if not self.doi or not self.authors:
            return re.sub(r"\W", "", self.key)
        end = re.sub(r"\W", "", self.doi.rpartition("/")[2])
        return f"{self.authors[0].split()[0].lower()}{self.year}{end}"


def opening_sentence(version: str) -> Sentence:
    """First sentence of a methods text: the program and its version."""
    text = f"Quantitative susceptibility maps were computed with isdu-bids {version}"
    return f"{text}, a BIDS App built on Nipype", _APP_REFERENCES


def pipeline_key(sentences: Iterable[Sentence]) -> str:
    """Short name of what was done: scans with the same sentences went through one pipeline."""
    return hashlib.sha256(repr([tuple(pair) for pair in sentences]).encode()).hexdigest()[:8]


def reference(key: str) -> Reference:
    """Article by its DOI or name; one that is not in our table has its key only.

    Examples
    --------
    >>> str(reference("10.1002/hbm.10062"))[:46]
    'Smith SM. Fast robust automated brain extracti'
    """
    return _known().get(key.lower(), Reference(key))


def keys_of(sentences: Iterable[Sentence]) -> list[str]:
    """Keys of the references of sentences, each once, in the order of their first use."""
    return list(dict.fromkeys(key for _, keys in sentences for key in keys.split()))


def known_keys() -> list[str]:
    """Keys of the articles in ``data/references.yml``."""
    return list(_known())


@cache
def _known() -> dict[str, Reference]:
    table = (files("isdu_bids") / "data" / "references.yml").read_text(encoding="utf-8")
    return {
        key: Reference(
            key,
            **{name: str(v) if name in ("volume", "pages") else v for name, v in row.items()}
            | {"authors": tuple(row["authors"])},
        )
        for key, row in yaml.safe_load(table).items()
    }


def _bibtex_name(author: str) -> str:
    """Surname before initials as BibTeX has it; the name of a group stays in one piece."""
    surname, _, initials = author.rpartition(" ")
    is_person = initials.isupper() and len(initials) <= 3
    return f"{surname}, {'. '.join(initials)}." if is_person else f"{{{author}}}"
