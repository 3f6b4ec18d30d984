import re

import pytest

from isdu_bids.quality.measures import MEASURES
from isdu_bids.quality.words import describe


@pytest.mark.parametrize("name", [measure.name for measure in MEASURES])
def test_every_measure_has_words(name):
    assert describe(name).label != name.replace("_", " "), "a row of data/measures.yml is missing"


def test_measures_with_a_threshold_say_what_they_mean_and_what_to_do():
    for measure in MEASURES:
        words = describe(measure.name)
        if any(check.severity != "info" for check in measure.checks):
            assert words.usual, measure.name
            assert words.meaning, measure.name
            assert words.remedy, measure.name


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("chi_mean_ppm", 1.153e-11, "0.0000 ppm"),
        ("chi_mean_ppm", -1e-9, "0.0000 ppm"),
        ("eroded_coverage_fraction", 0.857, "85.7 %"),
        ("brain_volume_ml", 1467.728, "1468 ml"),
        ("streak_index", float("nan"), "could not be measured"),
        ("region_volume_putamen_mm3", 11572.2, "11572 mm³"),
        ("of_a_newer_version", 1e-7, "0"),
    ],
)
def test_numbers_are_rounded_with_their_unit(name, value, shown):
    assert describe(name).shown(value) == shown
    assert not re.search("e-", shown)


def test_ranges_are_in_the_shown_unit():
    words = describe("low_quality_fraction")
    assert words.shown_range() == "0 to 20 %"
    assert words.is_usual(0.1)
    assert not words.is_usual(0.3)
    assert not words.is_usual(float("nan"))
