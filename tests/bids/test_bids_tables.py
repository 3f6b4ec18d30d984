"""What a table may look like, and what is said of one that cannot be used."""

import pytest

from isdu_bids.bids.tables import read_label_names, read_tsv
from isdu_bids.errors import DataError

COLUMNS = ("subject", "map")


def test_values_are_the_text_of_the_file(tmp_path):
    path = tmp_path / "maps.tsv"
    path.write_text("subject\tmap\tdseg\n01\tn/a\t\nNA\t1.50\tx\n", encoding="utf-8-sig")
    assert read_tsv(path, COLUMNS) == [
        {"subject": "01", "map": "n/a", "dseg": ""},
        {"subject": "NA", "map": "1.50", "dseg": "x"},
    ]


def test_a_column_that_is_not_needed_may_end_early(tmp_path):
    path = tmp_path / "maps.tsv"
    path.write_text("subject\tmap\tdseg\n01\ta.nii\n02\tb.nii\tc.nii\n")
    assert [row["dseg"] for row in read_tsv(path, COLUMNS)] == ["", "c.nii"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"subject\tmap\n01\ta.nii\n02\t\n", "line 3 has no 'map'"),
        (b"subject\tmap\n01\ta.nii\n02\n", "line 3 has no 'map'"),
        (b"subject,map\n01,a.nii\n", "line 2 has no 'subject'.*separated by tabs"),
        (b"subject\tmap\n", "no rows below its header"),
        (b"", "cannot be read as a TSV"),
        (b"subject\tmap\n01\ta\n02\tb\tc\td\n", "cannot be read as a TSV"),
        (b"subject\tmap\n01\ta\tx\n02\tb\tx\n", "longer than its header"),
        (b"\xff\xfe", "cannot be read as a TSV"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "maps.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_tsv(path, COLUMNS)


def test_a_table_that_is_absent_is_named(tmp_path):
    with pytest.raises(DataError, match=r"maps\.tsv cannot be read"):
        read_tsv(tmp_path / "maps.tsv", COLUMNS)


def test_label_names_are_by_number(tmp_path):
    path = tmp_path / "sub-01_dseg.tsv"
    path.write_text("index\tname\n10\tred nucleus\n")
    assert read_label_names(path) == {10: "red nucleus"}
    path.write_text("index\tname\nten\tred nucleus\n")
    with pytest.raises(DataError, match="must hold integers"):
        read_label_names(path)
