"""``isdu-qsm segment`` and ``isdu-qsm regions``, and the choice of a network."""

from __future__ import annotations

import csv
import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from properties import with_statistics

import isdu_bids.cli.segment as command
from isdu_bids import images
from isdu_bids.cli.toolbox import main
from isdu_bids.errors import DataError, UsageError
from isdu_bids.files import file_sha256
from isdu_bids.packaged import WEIGHTS_FOLDER
from isdu_bids.registry import Choice
from isdu_bids.segmentation import locating
from isdu_bids.segmentation.labels import SYNTHSEG_LABELS, label_name
from isdu_bids.segmentation.loading import load_parcellation
from isdu_bids.segmentation.region_net import RegionNet, save_region_net
from isdu_bids.segmentation.registry import SEGMENTATION
from isdu_bids.segmentation.segment import segment
from isdu_bids.segmentation.statistics import STATISTICS_COLUMNS
from isdu_bids.segmentation.synthseg import RobustSynthSeg

KERAS = Path(__file__).parents[1] / "segmentation" / "data"
PLAIN, ROBUST = KERAS / "synthseg_unet_tiny.h5", KERAS / "synthseg_robust_tiny.h5"


@pytest.fixture
def small_file(tmp_path, monkeypatch):
    """A random network in place of the packaged one; no FreeSurfer."""
    torch.manual_seed(2)
    network = with_statistics(RegionNet(SYNTHSEG_LABELS, (4, 8)))
    weight = network.logits.weight.data.reshape(8, len(SYNTHSEG_LABELS), -1)
    weight[:] = 300 * weight[:1].clone()  # large pieces of several labels
    path = tmp_path / "regions_small.safetensors"
    save_region_net(path, network, "a test")
    monkeypatch.setattr(locating, "SMALL_FILE", path)
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    return path


@pytest.fixture
def freesurfer(tmp_path, monkeypatch):
    """FreeSurfer's folder with the weights of two networks."""
    models = tmp_path / "freesurfer" / "models"
    models.mkdir(parents=True)
    (models / "synthseg_2.0.h5").symlink_to(PLAIN)
    (models / "synthseg_robust_2.0.h5").symlink_to(ROBUST)
    monkeypatch.setenv("FREESURFER_HOME", str(models.parent))
    return models


def located(name, weights=None):
    """Method and parameters of a run; None where nothing is to be labelled."""
    choice = SEGMENTATION.resolved(Choice(name, {"weights": weights} if weights else {}), {})
    if choice is None:
        return None
    method = SEGMENTATION[choice.name]
    return method, method.located(choice.parameters)


def load_network(name, weights=None):
    method, parameters = located(name, weights)
    return method(**parameters)


def test_the_small_network_is_never_chosen_by_itself(small_file):
    assert located("auto") is None
    chosen = load_network("small")
    assert isinstance(chosen.network, RegionNet)
    assert (chosen.name, chosen.official) == ("regions_small", None)
    assert chosen.sha256 == hashlib.sha256(small_file.read_bytes()).hexdigest()
    assert "a test" in chosen.description


def test_freesurfer_has_synthseg(small_file, freesurfer):
    for name, file in {"auto": PLAIN, "synthseg": PLAIN, "robust": ROBUST}.items():
        chosen = load_network(name)
        assert isinstance(chosen.network, RobustSynthSeg) == (name == "robust")
        assert (chosen.sha256, chosen.official) == (file_sha256(file), False)
        assert "not an official file" in chosen.description
        assert ("robust" in chosen.description) == (name == "robust")
        assert load_network(name, freesurfer).sha256 == chosen.sha256
    assert load_network("small").name == "regions_small"


def test_a_file_with_another_network_is_refused(small_file):
    assert isinstance(load_network("auto", ROBUST).network, RobustSynthSeg)
    for name, file in {"synthseg": ROBUST, "robust": PLAIN}.items():
        with pytest.raises(DataError, match=f"{file.name} holds another network than {name}"):
            load_network(name, file)


@pytest.mark.parametrize("name", ["synthseg", "robust"])
def test_missing_weights_name_the_ways_out(small_file, name):
    with pytest.raises(UsageError) as error:
        load_network(name)
    for remedy in ("--synthseg-weights", "FREESURFER_HOME", "--segmentation small"):
        assert remedy in str(error.value)


def test_every_choice_but_none_is_a_network(small_file, freesurfer):
    for name in SEGMENTATION.offered:
        if name != "none":
            assert load_network(name).network.labels == SYNTHSEG_LABELS
    with pytest.raises(UsageError, match="auto, synthseg, robust, small"):
        SEGMENTATION.parse("fast")


def test_the_parcellation_lies_beside_the_other_weights(small_file, freesurfer):
    for where in (None, freesurfer, freesurfer / "synthseg_2.0.h5"):
        with pytest.raises((UsageError, DataError), match=r"synthseg_parc_2\.0\.h5"):
            load_parcellation(where)
    (freesurfer / "synthseg_parc_2.0.h5").symlink_to(PLAIN)
    with pytest.raises(DataError, match="no cortical parcellation"):
        load_parcellation()


def test_the_score_net_lies_beside_the_network(small_file, freesurfer):
    assert load_network("auto").score_net is None
    score_net = freesurfer / "synthseg_qc_2.0.h5"
    score_net.symlink_to(KERAS / "synthseg_qc_tiny.h5")
    for name in ("auto", "synthseg", "robust"):
        assert load_network(name).score_net == score_net
    assert located("none") is None
    assert load_network("small").score_net is None


def test_packaged_networks_are_as_recorded():
    lines = (WEIGHTS_FOLDER / "SHA256SUMS").read_text().splitlines()
    recorded = {name: digest for digest, name in map(str.split, lines)}
    assert recorded == {p.name: file_sha256(p) for p in WEIGHTS_FOLDER.glob("*.safetensors")}


@pytest.fixture
def scan(tmp_path, small_file, monkeypatch):
    """A random image whose first axis points left, and the command on small volumes."""
    monkeypatch.setattr(command, "segment", partial(segment, smallest=32))
    smooth = torch.rand(1, 1, 7, 8, 6, generator=torch.Generator().manual_seed(2))
    image = torch.nn.functional.interpolate(smooth, scale_factor=4.0, mode="trilinear")[0, 0]
    affine = np.diag([-1.0, 1.0, 1.2, 1.0])
    images.save_volume(image.numpy(), affine, tmp_path / "image.nii.gz")
    images.save_volume(image.numpy() - 0.5, affine, tmp_path / "chi.nii.gz")
    images.save_volume(image.numpy(), np.eye(4), tmp_path / "chi_elsewhere.nii.gz")
    return tmp_path


def run_segment(folder, *more):
    output = folder / "out" / "dseg.nii.gz"
    return main(["segment", str(folder / "image.nii.gz"), str(output), "--device", "cpu", *more])


def test_labels_names_and_sidecar(scan, small_file, capsys):
    assert run_segment(scan, "--network", "small") == 0
    path = scan / "out" / "dseg.nii.gz"
    assert capsys.readouterr().out.strip() == str(path)
    images.check_same_grid([scan / "image.nii.gz", path])
    labels = images.load_volume(path)
    assert labels.stored_dtype == np.int16
    found = set(np.unique(labels.data).astype(int).tolist())
    assert len(found) > 2
    image = images.load_volume(scan / "image.nii.gz")
    expected = segment(image.data, image.affine, network=load_network("small").network, smallest=32)
    np.testing.assert_array_equal(labels.data, expected.labels)

    with (scan / "out" / "dseg.tsv").open() as stream:
        names = {int(r["index"]): r["name"] for r in csv.DictReader(stream, delimiter="\t")}
    assert names == {label: label_name(label) for label in SYNTHSEG_LABELS if label}
    sidecar = json.loads((scan / "out" / "dseg.json").read_text())
    assert sidecar["WeightsSHA256"] == file_sha256(small_file)
    assert "OfficialWeights" not in sidecar
    assert sidecar["SoftVolumes_mm3"] == {
        label_name(k): pytest.approx(v, abs=0.1) for k, v in expected.soft_volumes_mm3.items()
    }
    assert sidecar["IntracranialVolume_mm3"] == pytest.approx(expected.intracranial_mm3, abs=1)
    assert set(sidecar["Confidence"]) == {label_name(label) for label in found - {0}}
    flags = {flag["name"] for flag in sidecar["Flags"]}
    assert {"implausible_intracranial_volume", "implausible_region_volume"} <= flags
    assert "region_coverage" not in flags


def test_susceptibility_is_seen_and_told(scan, small_file):
    assert run_segment(scan, "--network", "small", "--chi", str(scan / "chi.nii.gz")) == 0
    sidecar = json.loads((scan / "out" / "dseg.json").read_text())
    assert sidecar["NucleiWeightsSHA256"] == load_network("small").nuclei_sha256 != ""
    assert sidecar["Sources"] == [str(scan / "image.nii.gz"), str(scan / "chi.nii.gz")]


def test_scores_are_told_and_remarked(scan, freesurfer, monkeypatch):
    score_net = freesurfer / "synthseg_qc_2.0.h5"
    score_net.symlink_to(KERAS / "synthseg_qc_tiny.h5")
    loaded = []

    class Scorer(torch.nn.Module):
        def forward(self, one_hot):
            return torch.tensor([[0.5, 0.9, -1, 2, 0.66, 0.64, 0.7, 0.8, 0.7]])

    def load(path):
        loaded.append(path)
        return Scorer()

    monkeypatch.setattr(command, "load_scores", load)
    assert run_segment(scan) == 0
    assert loaded == [score_net]
    sidecar = json.loads((scan / "out" / "dseg.json").read_text())
    assert list(sidecar["Scores"].values()) == [0.9, 0, 1, 0.66, 0.64, 0.7, 0.8, 0.7]
    assert sidecar["ScoresWeightsSHA256"] == file_sha256(score_net)
    (message,) = [flag["message"] for flag in sidecar["Flags"] if flag["name"] == "region_score"]
    assert "grey matter 0.00, brain stem 0.64;" in message


def test_without_the_mirrored_image_it_is_another_result(scan):
    run_segment(scan, "--network", "small")
    both = images.load_volume(scan / "out" / "dseg.nii.gz").data
    run_segment(scan, "--network", "small", "--no-flip")
    assert (images.load_volume(scan / "out" / "dseg.nii.gz").data != both).mean() > 0.01


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--network", "synthseg"], 64, "--synthseg-weights"),
        (["--network", "none"], 64, "choose from: synthseg, robust, small"),
        (
            ["--network", "small", "--synthseg-weights", "x"],
            64,
            "not small",
        ),
        (["--synthseg-weights", "nowhere.h5"], 65, "nowhere.h5"),
        (["--network", "small", "--parcellation"], 64, "--parcellation"),
        (["--network", "small", "--chi", "chi_elsewhere.nii.gz"], 65, "one grid"),
        (["--network", "synthseg", "--chi", "chi.nii.gz"], 64, "--chi is for --network small"),
    ],
)
def test_what_cannot_be_segmented_is_refused(scan, options, code, message, capsys, monkeypatch):
    monkeypatch.chdir(scan)
    assert run_segment(scan, *options) == code
    assert message in capsys.readouterr().err
    assert not (scan / "out").exists()


def test_an_image_of_echoes_and_a_strange_output_are_refused(scan, capsys):
    assert main(["segment", str(scan / "image.nii.gz"), str(scan / "dseg.mgz")]) == 64
    assert "dseg.mgz" in capsys.readouterr().err
    images.save_volume(np.ones((8, 8, 8, 2)), np.eye(4), scan / "image.nii.gz")
    assert run_segment(scan) == 65
    assert "image.nii.gz has shape (8, 8, 8, 2)" in capsys.readouterr().err


@pytest.fixture
def maps(tmp_path):
    """A map that is 0.1 ppm times the label's side, its labels, a mask without a plane, R2*."""
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    labels = np.zeros((8, 6, 6), np.int16)
    labels[1:4, 1:5, 1:5], labels[4:7, 1:5, 1:5] = 12, 51
    chi = np.where(labels == 12, 0.1, np.where(labels == 51, 0.2, 0.0))
    mask = labels > 0
    mask[1] = False
    for name, data in {"chi": chi, "dseg": labels, "mask": mask, "r2star": 100 * chi}.items():
        images.save_volume(data, affine, tmp_path / f"{name}.nii.gz")
    return tmp_path


def regions(folder, *more):
    return main(["regions", str(folder / "chi.nii.gz"), str(folder / "dseg.nii.gz"), *more])


def rows(text):
    table = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    assert list(table[0]) == list(STATISTICS_COLUMNS)
    return {row["name"]: row for row in table}


def test_table_of_regions(maps, capsys):
    output = maps / "out" / "regions.tsv"
    options = ["-m", str(maps / "mask.nii.gz"), "--r2star", str(maps / "r2star.nii.gz")]
    assert regions(maps, *options, "-o", str(output)) == 0
    assert capsys.readouterr().out.strip() == str(output)
    table = rows(output.read_text())
    left, merged = table["Left-Putamen"], table["Putamen"]
    assert (left["index"], left["hemisphere"], left["n_voxels"]) == ("12", "L", "32")
    assert (left["volume_mm3"], left["coverage"]) == ("96", "0.666667")
    assert float(left["chi_mean_ppm"]) == pytest.approx(0.1)
    assert float(left["r2star_mean_per_s"]) == pytest.approx(10)
    assert (merged["index"], merged["hemisphere"], merged["n_voxels"]) == ("n/a", "n/a", "80")
    assert float(merged["chi_mean_ppm"]) == pytest.approx((32 * 0.1 + 48 * 0.2) / 80)
    dictionary = json.loads((maps / "out" / "regions.json").read_text())
    assert set(STATISTICS_COLUMNS) <= set(dictionary)
    assert dictionary["BrainReference"]["n_voxels"] == 80
    assert "mean_ppm" not in dictionary["CSFReference"]  # there are no ventricles


def test_labels_with_a_table_have_its_names(maps, capsys):
    (maps / "dseg.tsv").write_text(
        "index\tname\n" + "".join(f"{i}\tmine {i}\n" for i in range(1, 99))
    )
    assert regions(maps) == 0
    table = capsys.readouterr().out
    assert "mine 12" in table
    assert "Putamen" not in table


def test_without_mask_the_map_says_where_it_is(maps, capsys):
    assert regions(maps) == 0
    table = rows(capsys.readouterr().out)
    assert table["Left-Putamen"]["coverage"] == "1"
    assert table["Left-Putamen"]["r2star_mean_per_s"] == "n/a"
    assert table["Whole-Mask"]["n_voxels"] == "96"


def test_another_grid_is_named_with_the_remedy(maps, capsys):
    images.save_volume(np.ones((8, 6, 6)), np.eye(4), maps / "mask.nii.gz")
    assert regions(maps, "-m", str(maps / "mask.nii.gz")) == 65
    message = capsys.readouterr().err
    assert "mask.nii.gz" in message
    assert "resample both to one grid" in message
