"""Fetch files while a container is built, and check them by their SHA-256.

python docker/fetch.py synthseg|template FOLDER

SynthSeg's official weights come from FreeSurfer's public archive, a template's images from
TemplateFlow's. Only the standard library is used. A file that differs stops the build.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from pathlib import Path

FREESURFER = "https://surfer.nmr.mgh.harvard.edu/pub/dist/freesurfer/repo/annex.git/annex/objects"
TEMPLATEFLOW = "https://templateflow.s3.amazonaws.com"

#: File -> size in bytes, SHA-256.
SYNTHSEG = {
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

#: File -> SHA-256.
TEMPLATE = {
    "tpl-MNI152NLin2009cAsym/tpl-MNI152NLin2009cAsym_res-01_T1w.nii.gz": (
        "1f27aabea9f7183dc0c69dafa71e1787b921ca778d655d9c1bf302b273d5627a"
    ),
    "tpl-MNI152NLin2009cAsym/tpl-MNI152NLin2009cAsym_res-01_desc-brain_mask.nii.gz": (
        "e40bb1816736504d4c25abc243c1c8503df1d308f64c048318aa4b829e09a7ae"
    ),
}

NOTICE = """\
The files in this folder are the weights of SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.
102789; PNAS 2023, doi:10.1073/pnas.2216399120), as FreeSurfer distributes them. SynthSeg is under
the Apache License 2.0, FreeSurfer's copy under the FreeSurfer Software License 1.0
(https://surfer.nmr.mgh.harvard.edu/fswiki/FreeSurferSoftwareLicense).
"""


def fetch(address: str, path: Path, sha256: str) -> None:
    """Write the content of an address to a file, or end with one line that says why not."""
    try:
        with urllib.request.urlopen(address, timeout=60) as response:
            content = response.read()
    except OSError as error:
        sys.exit(f"{address} cannot be fetched ({error}); build without it")
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(f"{address} is not the file that it should be; build without it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def annex_key(size: int, sha256: str) -> str:
    """Path of a file in FreeSurfer's archive: git-annex hashes its key into two folders."""
    key = f"SHA256E-s{size}--{sha256}.0.h5"
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:3]}/{digest[3:6]}/{key}/{key}"


def fetch_synthseg(folder: Path, archive: str = FREESURFER) -> None:
    """Fetch SynthSeg's weights into ``folder/models``, as FreeSurfer has them."""
    for file, (size, sha256) in SYNTHSEG.items():
        fetch(f"{archive}/{annex_key(size, sha256)}", folder / "models" / file, sha256)
    (folder / "models" / "NOTICE").write_text(NOTICE)


def fetch_template(folder: Path, archive: str = TEMPLATEFLOW) -> None:
    """Fetch the template's images to where TemplateFlow would keep them."""
    for file, sha256 in TEMPLATE.items():
        fetch(f"{archive}/{file}", folder / file, sha256)


if __name__ == "__main__":
    what, folder = sys.argv[1:]
    {"synthseg": fetch_synthseg, "template": fetch_template}[what](Path(folder))
