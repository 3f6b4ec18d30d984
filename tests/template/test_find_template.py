import os
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from isdu_bids.errors import UsageError
from isdu_bids.template.find import find_template, find_templates, templateflow_home
from isdu_bids.template.spaces import OutputSpace

NKI = OutputSpace("NKI")


def write(home: Path, template: str, resolution: str, content: str = "x") -> None:
    for end in ("T1w", "desc-brain_mask"):
        path = home / f"tpl-{template}" / f"tpl-{template}_res-{resolution}_{end}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def templateflow(monkeypatch):
    """In place of TemplateFlow; keeps what it was asked for and downloads by `download`."""
    monkeypatch.setenv("TEMPLATEFLOW_HOME", "elsewhere")
    api = types.ModuleType("templateflow.api")
    api.asked = []
    api.download = lambda template, **query: None

    def get(template, **query):
        api.asked.append((template, query))
        return api.download(template, **query)

    api.get = get
    package = types.ModuleType("templateflow")
    package.api = api
    monkeypatch.setitem(sys.modules, "templateflow", package)
    return api


@pytest.mark.parametrize("number", ["01", "1"])
def test_a_filled_folder_needs_no_templateflow(tmp_path, templateflow, number):
    write(tmp_path, "NKI", number)
    template = find_template(NKI, tmp_path)
    assert template.fixed == template.grid
    assert template.fixed.t1w.name == f"tpl-NKI_res-{number}_T1w.nii.gz"
    assert template.reference.endswith(f"/tpl-NKI/tpl-NKI_res-{number}_T1w.nii.gz")
    assert templateflow.asked == []


def test_maps_lie_on_the_grid_asked_for_but_registration_does_not_depend_on_it(tmp_path):
    write(tmp_path, "NKI", "01")
    write(tmp_path, "NKI", "02")
    template = find_template(OutputSpace("NKI", 2), tmp_path)
    assert "res-01" in template.fixed.mask.name
    assert "res-02" in template.grid.mask.name


def test_stubs_are_downloaded_and_the_folder_is_told_first(tmp_path, templateflow):
    write(tmp_path, "NKI", "01", content="")
    templateflow.download = lambda template, **query: write(tmp_path, template, "01")
    assert find_template(NKI, tmp_path).space == NKI
    assert {query["suffix"] for _, query in templateflow.asked} == {"T1w", "mask"}
    assert os.environ["TEMPLATEFLOW_HOME"] == str(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("no\nnetwork"), OSError("read-only"), KeyError()])
def test_whatever_a_download_raises_is_one_line_with_the_remedy(tmp_path, templateflow, error):
    def fail(template, **query):
        raise error

    templateflow.download = fail
    with pytest.raises(UsageError, match=r"NKI.*TEMPLATEFLOW_HOME") as caught:
        find_template(NKI, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_template_without_the_resolution(tmp_path, templateflow):
    write(tmp_path, "NKI", "01")
    with pytest.raises(UsageError, match=r"NKI, res-7.*usual names"):
        find_template(OutputSpace("NKI", 7), tmp_path)


def test_without_the_library_nothing_is_looked_for(tmp_path, templateflow, monkeypatch):
    monkeypatch.setitem(sys.modules, "ants", None)
    templates, unusable = find_templates([NKI], tmp_path)
    assert templates == []
    assert "isdu-bids[template]" in unusable["NKI"]
    assert templateflow.asked == []


def test_one_missing_template_does_not_cost_the_others(tmp_path, templateflow, monkeypatch):
    ants = types.ModuleType("ants")
    ants.__spec__ = ModuleSpec("ants", None)
    monkeypatch.setitem(sys.modules, "ants", ants)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    write(tmp_path, "NKI", "01")
    templates, unusable = find_templates([OutputSpace("PNC"), NKI], tmp_path / "cache")
    assert [template.space for template in templates] == [NKI]
    assert list(unusable) == ["PNC"]


def test_which_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TEMPLATEFLOW_HOME", raising=False)
    cache = tmp_path / "work"
    assert templateflow_home(cache) == cache
    (tmp_path / "templateflow").mkdir()
    assert templateflow_home(cache) == tmp_path / "templateflow"
    monkeypatch.setenv("TEMPLATEFLOW_HOME", "named")
    assert templateflow_home(cache) == Path("named")
