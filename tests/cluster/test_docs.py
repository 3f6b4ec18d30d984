"""The example of the documentation is what the command writes."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

from isdu_bids.cli.cluster import submission_of
from isdu_bids.cli.parser import parse_options
from isdu_bids.cli.toolbox import build_parser

DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
N_SUBJECTS = 120


def test_script_is_what_the_command_writes(tmp_path, monkeypatch):
    blocks = re.findall(r"```bash\n(.*?)```", DOCS.read_text(), re.DOTALL)
    command, header, script = blocks[1:4]
    monkeypatch.chdir(tmp_path)
    Path("site.sh").write_text(header)
    words = shlex.split(command.replace("\\\n", " "))[1:]
    options = build_parser(words[:1]).parse_args(words)
    submission = submission_of(options, parse_options([options.bids_dir, *options.words]))
    named = replace(submission, name="20260105-101500_4f3a")
    launch = replace(named.launch, current_dir=Path("/study"))
    assert replace(named, launch=launch).scripts(N_SUBJECTS)["array.sh"] == script
