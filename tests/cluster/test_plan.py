from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skeleton import make_dataset

from isdu_bids.bids.query import find_acquisitions
from isdu_bids.cluster.plan import PER, list_text, plan_tasks, read_list

SCANS = [
    "sub-01_ses-a_run-1",
    "sub-01_ses-a_run-2",
    "sub-01_ses-b",
    "sub-02_ses-a_acq-x_rec-y",
    "sub-02_ses-a_acq-x_rec-z",
]


@pytest.mark.parametrize(
    ("per", "names"),
    [
        ("subject", ["sub-01", "sub-02"]),
        ("session", ["sub-01_ses-a", "sub-01_ses-b", "sub-02_ses-a"]),
        (
            "scan",
            ["sub-01_ses-a_run-1", "sub-01_ses-a_run-2", "sub-01_ses-b", "sub-02_ses-a_acq-x"],
        ),
    ],
)
def test_tasks_are_named_after_what_they_do(per, names):
    assert [task.name for task in plan_tasks(SCANS, per)] == names


@pytest.mark.parametrize("per", PER)
def test_every_scan_is_in_one_task(per):
    assert sorted(s for task in plan_tasks(SCANS, per) for s in task.scans) == sorted(SCANS)


def test_scans_that_differ_in_rec_alone_meet_in_one_task():
    assert plan_tasks(SCANS, "scan")[-1].scans == tuple(SCANS[-2:])


def test_sessions_are_frozen_too():
    assert plan_tasks(SCANS)[0].arguments == (
        "--participant-label", "01", "--session-label", "a", "b",
    )  # fmt: skip


def test_a_scan_is_selected_by_its_labels_and_by_those_it_lacks():
    task = plan_tasks(SCANS, "scan")[0]
    assert task.arguments == ("--participant-label", "01", "--session-label", "a")
    assert task.filters == {"megre": {"acquisition": None, "run": "1"}}


def test_filters_of_the_user_are_kept_and_frozen():
    filters = {"suffix": "T2starw", "run": ["1", "2"]}
    assert plan_tasks(SCANS, "subject", filters)[0].filters == {"megre": filters}
    own = plan_tasks(SCANS, "scan", filters)[1].filters["megre"]
    assert own == {"suffix": "T2starw", "acquisition": None, "run": "2"}


@given(st.lists(st.sampled_from(SCANS), unique=True), st.sampled_from(sorted(PER)))
def test_list_survives_being_written(scans, per):
    tasks = plan_tasks(scans, per)
    assert read_list(list_text(tasks)) == tasks


@pytest.mark.parametrize("per", PER)
def test_arguments_and_filters_select_the_scans_of_a_task(per, tmp_path):
    names = [*SCANS, "sub-02_ses-a", "sub-03_run-01", "sub-03_run-02", "sub-03_acq-x_run-01"]
    dataset = make_dataset(tmp_path, {name: {} for name in names})
    for task in plan_tasks(names, per):
        participants, _, sessions = " ".join(task.arguments[1:]).partition(" --session-label ")
        query = find_acquisitions(
            dataset,
            participant_labels=participants.split(),
            session_labels=sessions.split(),
            filters=task.filters or None,
        )
        assert {scan.name for scan in query.acquisitions} == set(task.scans)
