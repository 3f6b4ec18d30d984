"""Fetch SynthSeg's official weights while a container is built, and check them by their SHA-256.

python docker/fetch_synthseg.py /opt/isdu-bids/freesurfer

They come from FreeSurfer's public archive, which names each file by its size and checksum. Only the
standard library is used. A file that differs stops the build.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from pathlib import Path

ARCHIVE = "https://surfer.nmr.mgh.harvard.edu/pub/dist/freesurfer/repo/annex.git/annex/objects"

#: File -> size in bytes, SHA-256.
FILES = {
    "synthseg_2.0.h5": (
        53_079_152,
        "f190bfd742f450ef3ca2c9df9ed4d2e0232b3a74471da5e51b7770bacdf80c3e",
    ),
    "synthseg_robust_2.0.h5": (
        214_606_800,
        "7bc30bf5c3d204f20c4a6cb5a283aedbcab6af1de927cda783f59b67d19cb01c",
    ),
    "synthseg_parc_2.0.h5": (
        53_090_840,
        "83bb1de76fb6f173c6dacacd433f81209fc6abb1dbc179a930ec06ecabbeb684",
    ),
}

NOTICE = """\
The files in this folder are the weights of SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.
102789; PNAS 2023, doi:10.1073/pnas.2216399120), as FreeSurfer distributes them. SynthSeg is under
the Apache License 2.0, FreeSurfer's copy under the FreeSurfer Software License 1.0
(https://surfer.nmr.mgh.harvard.edu/fswiki/FreeSurferSoftwareLicense).
"""


def address(file: str) -> str:
    """Where the archive keeps a file: git-annex hashes the key into two folders."""
    size, sha256 = FILES[file]
    key = f"SHA256E-s{size}--{sha256}.0.h5"
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{ARCHIVE}/{digest[:3]}/{digest[3:6]}/{key}/{key}"


def main(folder: Path) -> None:
    """Fetch every file into ``folder/models``."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    for file, (_, sha256) in FILES.items():
        try:
            with urllib.request.urlopen(address(file), timeout=60) as response:
                content = response.read()
        except OSError as error:
            sys.exit(f"{address(file)} cannot be fetched ({error}); build without SynthSeg")
        if hashlib.sha256(content).hexdigest() != sha256:
            sys.exit(f"{address(file)} is not the file it should be; build without SynthSeg")
        (models / file).write_bytes(content)
    (models / "NOTICE").write_text(NOTICE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
