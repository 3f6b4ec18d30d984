"""Labels of SynthSeg: numbers, sides, groups."""

import pytest

from isdu_bids.segmentation.labels import (
    GROUPS,
    PARC_LABELS,
    REGIONS,
    SYNTHSEG1_LABELS,
    SYNTHSEG_LABELS,
    mirrored,
    mirrored_channels,
)


def test_channels_are_in_numeric_order():
    assert (len(SYNTHSEG_LABELS), len(SYNTHSEG1_LABELS), len(PARC_LABELS)) == (33, 32, 69)
    assert list(SYNTHSEG_LABELS) == sorted(SYNTHSEG_LABELS)
    assert set(SYNTHSEG_LABELS) - set(SYNTHSEG1_LABELS) == {24}
    assert not {1004, 2004} & set(PARC_LABELS)


@pytest.mark.parametrize("labels", [SYNTHSEG_LABELS, SYNTHSEG1_LABELS, PARC_LABELS])
def test_mirroring_twice_is_nothing(labels):
    order = mirrored_channels(labels)
    assert [order[channel] for channel in order] == list(range(len(labels)))
    assert [labels[channel] for channel in order] == [mirrored(label) for label in labels]


def test_names_and_sides_mirror():
    names = [region.name for region in REGIONS.values()]
    assert len(set(names)) == len(names)
    turned = {"left": "right", "right": "left", "midline": "midline"}
    for region in REGIONS.values():
        other = REGIONS[region.mirror]
        assert other.side == turned[region.side]
        assert other.name == region.name.replace("Left", "Right").replace("-lh-", "-rh-") or (
            region.name == other.name.replace("Left", "Right").replace("-lh-", "-rh-")
        )


def test_groups_are_known_labels():
    assert {label for labels in GROUPS.values() for label in labels} <= set(SYNTHSEG_LABELS)
    assert GROUPS["Pallidum"] == (13, 52)
    assert GROUPS["Right-Grey-Matter"] == (42,)
