"""Random corruption of the metadata and headers of one scan: refused by name, or as before."""

import shutil
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skeleton import edit_json, make_dataset

from isdu_bids.bids.assembly import assemble
from isdu_bids.bids.query import _scans
from isdu_bids.errors import DataError

FIELDS = (
    *("EchoTime", "MagneticFieldStrength", "ImagingFrequency", "RepetitionTime", "Units"),
    *("Manufacturer", "ImageType", "B0_dir", "EchoNumber"),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
near = st.sampled_from([0.4, 0.0004, 4, 30.0, 0.3, 3.01, [0.004], [3.0, 1.5], "rad", 10**400])
edits = st.tuples(st.just("field"), st.integers(0, 5), st.sampled_from(FIELDS), values | near)
# offsets of the fixed part of a NIfTI header; what follows 348 is the image
pokes = st.tuples(st.just("header"), st.integers(0, 5), st.integers(0, 347), st.binary(max_size=4))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "bids"
    return make_dataset(folder, {"sub-01": {"extension": ".nii"}})


def assembled(dataset):
    ((_, files),) = _scans(sorted(dataset.rglob("*.nii")), dataset)
    return assemble(files, dataset)


@given(corruptions=st.lists(edits | pokes, min_size=1, max_size=2))
@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.slow
def test_a_corrupt_scan_is_refused_by_name_or_means_the_same(original, tmp_path, corruptions):
    dataset = tmp_path / "bids"
    shutil.rmtree(dataset, ignore_errors=True)
    shutil.copytree(original, dataset)
    images = sorted(dataset.rglob("*.nii"))
    for kind, number, where, what in corruptions:
        if kind == "field":
            edit_json(images[number].with_suffix(".json"), **{where: what})
        else:
            content = bytearray(images[number].read_bytes())
            struct.pack_into(f"{len(what)}s", content, min(where, 348 - len(what)), what)
            images[number].write_bytes(content)
    sound = assembled(original)
    scan, message = None, f"{dataset}"
    try:
        scan = assembled(dataset)
    except DataError as error:
        message = str(error)
    assert str(dataset) in message
    assert "\n" not in message
    if scan is None:
        return
    # what may be read is what was written, or it differs openly
    assert all(0 < time <= 0.5 for time in scan.echo_times_s)
    assert 0.01 <= scan.field_strength_t <= 25
    assert [path.name for path in scan.phase_files] == [path.name for path in sound.phase_files]
