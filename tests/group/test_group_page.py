"""The group page in a browser that has no network."""

import cohort
import pytest
from browser import chromium, needs_chromium, open_page, problems, wait_until

from isdu_bids.group.write import write_group


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_from_disk_and_leads_to_subjects(tmp_path, width):
    out, raw = tmp_path / "out", tmp_path / "raw"
    cohort.write_cohort(out, raw, 12, ("1", "2"))
    cohort.write_failure(out, "sub-0099", "mask failed: the brain mask is empty")
    write_group(out, raw)
    with chromium(tmp_path / "profile") as browser:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        open_page(browser, out / "group.html")
        assert "mask failed" in browser.find_element("tag name", "body").text
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        pictures = browser.find_elements("css selector", "img")
        assert len(pictures) == 24
        link = browser.find_element("css selector", 'a[href^="sub-0003.html"]')
        browser.execute_script("arguments[0].click()", link)
        wait_until(browser, "document.title == 'a subject'")
        assert problems(browser) == []
