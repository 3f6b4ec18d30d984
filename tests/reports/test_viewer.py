"""The viewer's page, and both pages in a browser that has no network."""

import base64
import gzip
import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from browser import chromium, needs_chromium, open_page, problems, wait_until
from test_subject import summary

from isdu_bids.reports.figures import draw_figures
from isdu_bids.reports.subject import write_subject_report
from isdu_bids.reports.viewer import write_viewer


@pytest.fixture(scope="module")
def folder(head, tmp_path_factory):
    """A dataset with the figures, the viewer and the page of one scan."""
    out = tmp_path_factory.mktemp("viewed")
    labels = np.where(head.eroded_mask, 13, 0).astype(np.int32)
    scan = replace(head, labels=labels)
    draw_figures(scan, out / "sub-01" / "figures", "sub-01")
    write_viewer(scan, out / "sub-01" / "figures", "sub-01", out / "logs" / "viewer")
    write_subject_report(out, "01", scans=[summary("sub-01")])
    return out


def layers(folder):
    page = (folder / "sub-01/figures/sub-01_viewer.html").read_text()
    return json.loads(re.search(r"const layers = (.*);", page)[1])


def test_the_viewer_holds_the_maps_where_they_are(folder, head):
    shown = {layer["name"]: layer for layer in layers(folder)}
    assert list(shown) == ["Susceptibility", "Magnitude", "Local field", "Regions"]
    raw = gzip.decompress(base64.b64decode(shown["Susceptibility"]["nifti"]))
    image = nib.Nifti1Image.from_bytes(raw)
    chi = image.get_fdata()
    start = np.round(np.linalg.solve(head.affine, image.affine[:, 3])[:3]).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, chi.shape, strict=True))
    inside = head.eroded_mask[box]
    step = image.dataobj.slope
    np.testing.assert_allclose(chi[inside], head.chi_ppm[box][inside], atol=0.51 * step)
    assert (folder / "logs/viewer/LICENSE").read_text().startswith("BSD 2-Clause")


def test_the_page_links_to_the_viewer(folder):
    assert 'href="sub-01/figures/sub-01_viewer.html"' in (folder / "sub-01.html").read_text()


@pytest.mark.browser
@needs_chromium
def test_both_pages_open_from_disk_without_an_error(folder, tmp_path):
    with chromium(tmp_path / "profile") as browser:
        open_page(browser, folder / "sub-01.html")
        browser.find_element("link text", "Open the interactive viewer").click()
        wait_until(browser, "document.body.dataset.ready == 'yes'")
        assert "Susceptibility" in browser.find_element("id", "place").text
        assert distinct_colours(browser) > 30, "no slice is shown"
        assert problems(browser) == []


def distinct_colours(browser):
    from io import BytesIO

    from PIL import Image

    png = browser.find_element("id", "canvas").screenshot_as_png
    return len(Image.open(BytesIO(png)).convert("L").getcolors(256))
