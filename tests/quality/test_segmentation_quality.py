import math

import pytest

from isdu_bids.quality.measures import flag_scan
from isdu_bids.quality.segmentation import flag_segmentation, measure_segmentation
from isdu_bids.segmentation.labels import SCORED

# Volumes (mm3) of a healthy adult, one side or midline, in FreeSurfer's labels.
ADULT = {
    2: 220e3, 3: 240e3, 4: 9e3, 7: 14e3, 8: 52e3, 10: 7e3, 11: 3.5e3, 12: 5e3, 13: 1.8e3,
    17: 4e3, 18: 1.6e3, 26: 500.0, 28: 4e3, 14: 1.2e3, 15: 1.7e3, 16: 21e3,
    41: 220e3, 42: 240e3, 43: 9e3, 46: 14e3, 47: 52e3, 49: 7e3, 50: 3.5e3, 51: 5e3, 52: 1.8e3,
    53: 4e3, 54: 1.6e3, 58: 500.0, 60: 4e3,
}  # fmt: skip

SCORES = dict.fromkeys(SCORED, 0.66)


def measured(volumes=ADULT, coverage=0.9, confidence=0.95, intracranial_mm3=1.5e6, **changed):
    table = {
        "index": [*volumes, None],
        "volume_mm3": [*volumes.values(), 1e6],
        "coverage": [changed.get(f"coverage_{label}", coverage) for label in volumes] + [1.0],
    }
    confidences = {label: changed.get(f"confidence_{label}", confidence) for label in volumes}
    return measure_segmentation(
        table,
        soft_volumes_mm3=changed.get("soft"),
        intracranial_mm3=intracranial_mm3,
        confidence=confidences,
        scores=changed.get("scores"),
    )


def test_known_measures():
    measures = measured({**ADULT, 11: 3e3, 50: 5e3}, coverage_50=0.7, confidence_11=0.8)
    assert measures["region_volume_caudate_mm3"] == 8e3
    assert measures["region_asymmetry_caudate"] == pytest.approx(0.5)
    assert measures["region_coverage_caudate"] == 0.7
    assert measures["region_confidence_caudate"] == 0.8
    assert measures["intracranial_volume_ml"] == 1500
    assert "region_asymmetry_hippocampus" not in measures
    assert all(isinstance(value, float) for value in measures.values())


def test_soft_volumes_take_the_place_of_hard_ones():
    measures = measured(soft={11: 4e3, 50: 4e3, 999: 1.0})
    assert measures["region_volume_caudate_mm3"] == 8e3
    assert measures["region_volume_putamen_mm3"] == 10e3


def test_sides_may_be_exchanged():
    mirrored = {11: 50, 50: 11, 12: 51, 51: 12}
    volumes = {**ADULT, 11: 3e3, 12: 7e3}
    exchanged = {mirrored.get(label, label): v for label, v in volumes.items()}
    assert measured(exchanged) == measured(volumes)


def test_a_healthy_adult_or_no_segmentation_has_no_flag():
    assert flag_segmentation(measured()) == []
    assert flag_segmentation(measured(scores=SCORES)) == []
    assert flag_segmentation({"chi_sd_ppm": 0.03}) == []
    assert (
        flag_segmentation(measure_segmentation({"index": [], "volume_mm3": [], "coverage": []}))
        == []
    )


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"intracranial_mm3": 0.9e6}, "implausible_intracranial_volume", "900 ml"),
        ({"intracranial_mm3": 2.1e6}, "implausible_intracranial_volume", "2100 ml"),
        ({"volumes": {**ADULT, 13: 200.0, 52: 220.0}}, "implausible_region_volume", "pallidum 420"),
        ({"volumes": {**ADULT, 16: 0.0}}, "implausible_region_volume", "brain stem 0 "),
        (
            {"volumes": {**ADULT, 17: 9e3, 53: 9e3}},
            "implausible_region_volume",
            "hippocampus 18000",
        ),
        ({"confidence_13": 0.55}, "region_confidence", "pallidum 0.55"),
        ({"volumes": {**ADULT, 12: 7e3}}, "region_asymmetry", "putamen 0.33"),
        ({"scores": {**SCORES, "fluid": 0.64}}, "region_score", "fluid 0.64"),
        ({"coverage_3": 0.4}, "region_coverage", "cerebral cortex 0.40"),
        ({"volumes": {**ADULT, 12: 5e3}, "coverage_12": None}, "region_not_measured", "putamen"),
    ],
)
def test_one_wrong_measure_raises_its_own_flag_only(changes, name, words):
    (flag,) = flag_segmentation(measured(**changes))
    assert (flag.name, flag.severity) == (name, "warning")
    assert words in flag.message
    assert "{" not in flag.message


def test_uncertain_cortex_and_atrophy_of_one_hippocampus_are_not_remarked():
    assert flag_segmentation(measured(confidence_3=0.5)) == []
    assert flag_segmentation(measured({**ADULT, 17: 2.5e3})) == []


def test_parcels_have_no_confidence_as_a_whole():
    volumes = {3: 240e3, 42: 240e3, 1001: 5e3}
    table = {"index": [*volumes], "volume_mm3": [*volumes.values()], "coverage": [0.9] * 3}
    measures = measure_segmentation(table, confidence={1001: 0.9})
    assert "region_confidence_cerebral_cortex" not in measures
    assert flag_segmentation({**measures, "intracranial_volume_ml": math.nan}) == []


def test_a_lost_structure_is_told():
    flags = flag_segmentation(measured({**ADULT, 11: 0.0, 50: 0.0}, coverage_11=None))
    assert [flag.name for flag in flags] == ["implausible_region_volume", "region_not_measured"]
    assert math.isnan(measured({**ADULT, 11: 0.0, 50: 0.0})["region_asymmetry_caudate"])


def test_measures_of_scan_and_segmentation_do_not_disturb_each_other():
    together = measured(coverage_3=0.4)
    assert flag_scan(together) == flag_scan({})
