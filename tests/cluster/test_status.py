from __future__ import annotations

import pytest

from isdu_bids.cluster.status import (
    Outcome,
    Results,
    ScanStatus,
    judge,
    missing_scans,
    table_text,
    tsv_text,
)

OLD, NEW = Results(5.0), Results(20.0)
NONE = Results()


@pytest.mark.parametrize(
    ("task", "results", "status"),
    [
        # the scheduler's word on what runs and waits
        (Outcome(queued="pending"), NONE, "pending"),
        (Outcome(queued="pending"), OLD, "pending"),
        (Outcome(queued="running", started_s=10), OLD, "running"),
        # it cannot be asked: the task's own files
        (Outcome(queued=None), NONE, "pending"),
        (Outcome(queued=None, started_s=10), NONE, "running"),
        (Outcome(queued=None, started_s=10, exit_code=0), NEW, "done"),
        # it was put back into the queue after it had ended
        (Outcome(queued="pending", started_s=10, exit_code=1), NONE, "pending"),
        # the task has told its exit code, and the scheduler has not noticed
        (Outcome(queued="running", started_s=10, exit_code=0), NEW, "done"),
        # ended
        (Outcome(queued="", started_s=10, exit_code=0), NEW, "done"),
        (Outcome(queued="", started_s=10, exit_code=0), OLD, "done"),  # cached: not written again
        (Outcome(queued="", started_s=10, exit_code=0), NONE, "failed"),
        (Outcome(queued="", started_s=10, exit_code=1), NONE, "failed"),
        (Outcome(queued="", started_s=10, exit_code=1), OLD, "failed"),  # of an earlier run
        (Outcome(queued="", started_s=10, exit_code=1), NEW, "done"),  # another scan failed
        (Outcome(queued="", started_s=10), NONE, "failed"),  # killed
        (Outcome(queued="", started_s=10), NEW, "done"),  # killed after this scan
        (Outcome(queued=""), NONE, "failed"),  # cancelled
        (Outcome(queued=""), OLD, "done"),  # cancelled, but there are results
    ],
)
def test_status_follows_from_outputs_task_and_scheduler(task, results, status):
    assert judge("sub-01", task, results)[0] == status


def test_flags_are_told():
    task = Outcome(queued="", started_s=10, exit_code=0)
    assert judge("sub-01", task, Results(20.0, ("noisy", "streaks"))) == (
        "flagged",
        "noisy; streaks",
    )


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (
            Outcome(queued="", started_s=1, exit_code=1, log="sub-01: no echo\nsub-02: x\nbye\n"),
            "exit code 1: no echo",
        ),
        (
            Outcome(queued="", started_s=1, exit_code=143, is_stopped=True, log="fitting\n"),
            "exit code 143, stopped by the scheduler: fitting",
        ),
        (
            Outcome(queued="", started_s=1, ended="OUT_OF_MEMORY", log="oom_kill\n"),
            "killed, OUT_OF_MEMORY: oom_kill",
        ),
        (Outcome(queued="", ended="CANCELLED"), "never started CANCELLED"),
        (
            Outcome(queued="", started_s=1, exit_code=0),
            "exit code 0, but its outputs are missing",
        ),
    ],
)
def test_failure_says_why(task, why):
    assert judge("sub-01", task, NONE) == ("failed", why)


def test_tables():
    rows = [
        ScanStatus("sub-01", "done", submission="a", task=1),
        ScanStatus("sub-02_run-1", "failed", "exit code 1: no\techo", "a", 2),
        ScanStatus("sub-03", "failed", "not submitted: no phase", "b"),
    ]
    assert table_text(rows).splitlines() == [
        "sub-01        done",
        "sub-02_run-1  failed   exit code 1: no\techo",
        "sub-03        failed   not submitted: no phase",
        "3 scans: 1 done, 2 failed",
    ]
    lines = tsv_text(rows).splitlines()
    assert lines[0].split("\t") == ["scan", "status", "detail", "submission", "task"]
    assert {len(line.split("\t")) for line in lines} == {5}
    assert missing_scans(rows) == {"a": ["sub-02_run-1"], "b": ["sub-03"]}
