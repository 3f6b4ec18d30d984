"""How a scan's workflow is wired: nothing is run."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from os import utime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import File, isdefined

from isdu_bids.bids.acquisition import Acquisition
from isdu_bids.cli.parser import parse_options
from isdu_bids.inversion.registry import INVERSION, SCALARS, VOLUMES
from isdu_bids.registry import Choice, Method
from isdu_bids.workflows.contents import Contents
from isdu_bids.workflows.memory import estimate_memory
from isdu_bids.workflows.scan import init_scan_wf


@pytest.fixture
def scan(tmp_path) -> Acquisition:
    """Four echoes whose files are there."""
    path = tmp_path / "volume.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), path)
    files = (path,) * 4
    return Acquisition(
        "01",
        magnitude_files=files,
        phase_files=files,
        echo_times_s=(0.004, 0.008, 0.012, 0.016),
        field_strength_t=3.0,
    )


def wired(scan: Acquisition, *options: str):
    settings = parse_options(["in", "out", "participant", *options]).settings
    return init_scan_wf(
        acquisition=scan,
        b0_direction=(0.0, 0.0, 1.0),
        settings=settings,
        output_dir=Path("out").absolute(),
        memory=estimate_memory((2, 2, 2), len(scan.echo_times_s)),
        contents=Contents(scan.source_files[0].with_name("checksums.json")),
    )


def test_another_file_of_equal_size_and_time_is_another_input(scan):
    """Of the echoes, of the user's mask, of the user's labels and of their names."""
    path = scan.source_files[0]
    mask, dseg, table = (path.with_name(name) for name in ("mask.nii", "dseg.nii", "dseg.tsv"))
    for file in (mask, dseg, table):
        file.write_text("before")
    scan = replace(scan, mask_file=mask, dseg_file=dseg)
    steps = {path: "load", mask: "mask", dseg: "segmentation", table: "regions"}
    for file, step in steps.items():
        before = wired(scan).get_node(step).inputs.get_hashval()[1]
        content, found = bytearray(file.read_bytes()), file.stat()
        content[-1] ^= 1
        file.write_bytes(content)
        utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert wired(scan).get_node(step).inputs.get_hashval()[1] != before, step


def sources(workflow, name):
    """Input of a step -> step and output that it comes from."""
    found = {}
    for step, target, data in workflow._graph.edges(data=True):
        if target.name == name:
            found |= {end: f"{step.name}.{start}" for start, end in data["connect"]}
    return found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--two-pass", "--inversion", "tkd"),
        ("--uncertainty", "--reference", "csf"),
        ("--segmentation", "small", "--reference", "none"),
    ],
    ids=" ".join,
)
def test_every_step_gets_what_it_cannot_do_without(scan, options):
    workflow = wired(scan, *options)
    for name in workflow.list_node_names():
        node, connected = workflow.get_node(name), sources(workflow, name)
        for trait, spec in node.inputs.traits(mandatory=True).items():
            assert trait in connected or isdefined(getattr(node.inputs, trait)), (name, trait, spec)


def test_every_map_that_is_written_comes_from_the_last_step_that_changes_it(scan):
    plain = sources(wired(scan), "write")
    assert plain["chi_ppm"] == "reference.chi_ppm"
    assert plain["local_field_ppm"] == "background.local_field_ppm"
    assert plain["r2star"] == "relaxation.r2star"
    assert not {"labels", "regions"} & set(plain)
    two = sources(wired(scan, "--two-pass"), "write")
    assert two["eroded_mask"] == "merge.eroded_mask"
    assert two["local_field_ppm"] == "merge.local_field_ppm"


def test_the_second_pass_takes_every_voxel(scan):
    workflow = wired(scan, "--two-pass")
    assert sources(workflow, "background")["trusted_mask"] == "field.trusted_mask"
    assert sources(workflow, "background_whole")["trusted_mask"] == "field.measured_mask"
    assert sources(workflow, "merge")["whole_chi_ppm"] == "inversion_whole.chi_ppm"


def test_only_a_reference_in_fluid_waits_for_the_relaxation(scan):
    assert "r2star_per_s" not in sources(wired(scan), "reference")
    fluid = sources(wired(scan, "--reference", "csf"), "reference")
    assert fluid["r2star_per_s"] == "relaxation.r2star"


def test_two_echoes_give_no_relaxation(scan):
    short = replace(
        scan,
        magnitude_files=scan.magnitude_files[:2],
        phase_files=scan.phase_files[:2],
        echo_times_s=scan.echo_times_s[:2],
    )
    assert "relaxation" not in wired(short).list_node_names()


def test_weights_that_change_in_place_count_as_new(scan, tmp_path):
    method = wired(scan).get_node("inversion").inputs
    assert Path(method.parameters["weights"]).is_absolute()
    assert list(method.checksums) == ["weights"]


@pytest.mark.parametrize("given", [".", "synthstrip.1.pt"])
def test_weights_given_relative_to_the_call_are_found_by_the_step(
    scan, tmp_path, monkeypatch, given
):
    (tmp_path / "synthstrip.1.pt").write_text("random")
    monkeypatch.chdir(tmp_path)
    step = wired(scan, "--mask", "synthstrip", "--synthstrip-weights", given).get_node("mask")
    assert step.inputs.parameters["weights"] == str(tmp_path / "synthstrip.1.pt")
    assert step.inputs.checksums["weights"] == sha256(b"random").hexdigest()


@pytest.fixture
def register(monkeypatch):
    """A way to add an inversion to the registry for the time of a test."""

    def add(**contract):
        method = Method("new", "isdu_bids.inversion.direct:tkd", "new", "", **contract)
        monkeypatch.setitem(INVERSION._methods, "new", method)

    return add


def test_a_new_method_gets_the_maps_that_it_asks_for(scan, register):
    register(inputs=(*VOLUMES[:1], *VOLUMES[2:], *SCALARS))
    taken = sources(wired(scan, "--inversion", "new"), "inversion")
    assert taken == {
        "field_ppm": "background.local_field_ppm",
        "mask": "background.eroded_mask",
        "magnitude": "load.magnitude",
        "field_sd_ppm": "field.field_sd_ppm",
        "r2star_per_s": "relaxation.r2star",
    }
    assert sources(wired(scan, "--inversion", "tkd"), "inversion").keys() == {"field_ppm", "mask"}


def test_a_method_of_the_total_field_is_valid_where_that_can_be_trusted(scan, register):
    register(inputs=("total_field_ppm", "mask"))
    workflow = wired(scan, "--inversion", "new")
    assert sources(workflow, "inversion") == {
        "total_field_ppm": "field.total_field_ppm",
        "mask": "field.trusted_mask",
    }
    assert sources(workflow, "write")["eroded_mask"] == "field.trusted_mask"


def test_every_volume_that_a_method_may_ask_for_is_an_input_of_the_step(scan):
    step = wired(scan).get_node("inversion").inputs
    assert set(VOLUMES) <= set(step.copyable_trait_names())
    assert all(isinstance(step.trait(name).trait_type, File) for name in VOLUMES)
    assert set(SCALARS) - {"voxel_size_mm"} <= set(step.copyable_trait_names())


def test_a_missing_file_stops_the_run_before_it_starts(scan):
    with pytest.raises(Exception, match="nowhere"):
        wired(scan, "--weights", "nowhere")


def test_choices_are_told_as_they_are_written():
    choice = Choice("resharp", {"radius_mm": 4.0, "weight": 1e-3})
    assert str(choice) == "resharp:radius_mm=4.0:weight=0.001"
