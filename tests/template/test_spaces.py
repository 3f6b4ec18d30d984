import pytest

from isdu_bids.cli.parser import parse_options
from isdu_bids.errors import UsageError
from isdu_bids.template.spaces import OutputSpace, parse_spaces

BASE = ["in", "out", "participant", "--output-spaces"]


def test_names_and_what_they_add_to_files():
    plain, coarse = parse_spaces(("MNI152NLin2009cAsym", "gre", "MNI152NLin6Asym:res-02"))
    assert plain.entities == {"space": "MNI152NLin2009cAsym"}
    assert coarse.entities == {"space": "MNI152NLin6Asym", "res": "2"}
    assert OutputSpace.parse(str(coarse)) == coarse


@pytest.mark.parametrize(
    "text", ["MNI", "mni152nlin2009casym", "T1w", "NKI:2", "NKI:res-0", "NKI:", "PNC:cohort-1"]
)
def test_a_name_that_cannot_be_right_is_a_wrong_call(text):
    with pytest.raises(UsageError, match=text.split(":")[0]):
        parse_options([*BASE, text])


def test_a_template_has_one_resolution():
    with pytest.raises(UsageError, match="once"):
        parse_options([*BASE, "NKI", "NKI:res-2"])


def test_settings_hold_plain_text_and_the_native_grid_is_the_default():
    settings = parse_options([*BASE, "gre", "NKI:res-01"]).settings
    assert settings.output_spaces == ("gre", "NKI:res-1")
    assert parse_options(BASE[:3]).settings.output_spaces == ()
