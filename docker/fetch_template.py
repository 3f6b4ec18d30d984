"""Fetch a template's images while a container is built, and check them by their SHA-256.

python docker/fetch_template.py /opt/isdu-bids/templateflow

They come from TemplateFlow's public archive. Only the standard library is used. A file that differs
stops the build.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from pathlib import Path

ARCHIVE = "https://templateflow.s3.amazonaws.com"
TEMPLATE = "tpl-MNI152NLin2009cAsym"

#: File -> SHA-256.
FILES = {
    f"{TEMPLATE}_res-01_T1w.nii.gz": (
        "1f27aabea9f7183dc0c69dafa71e1787b921ca778d655d9c1bf302b273d5627a"
    ),
    f"{TEMPLATE}_res-01_desc-brain_mask.nii.gz": (
        "e40bb1816736504d4c25abc243c1c8503df1d308f64c048318aa4b829e09a7ae"
    ),
}


def main(home: Path) -> None:
    """Fetch every file into the folder that TemplateFlow would keep it in."""
    folder = home / TEMPLATE
    folder.mkdir(parents=True, exist_ok=True)
    for file, sha256 in FILES.items():
        address = f"{ARCHIVE}/{TEMPLATE}/{file}"
        try:
            with urllib.request.urlopen(address, timeout=60) as response:
                content = response.read()
        except OSError as error:
            sys.exit(f"{address} cannot be fetched ({error}); build without the template")
        if hashlib.sha256(content).hexdigest() != sha256:
            sys.exit(f"{address} is not the file it should be; build without the template")
        (folder / file).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
