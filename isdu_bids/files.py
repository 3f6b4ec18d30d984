"""Files: the only place that writes, so that every file appears whole or not at all.

Jobs share one output folder, and a job can be killed while it writes. A file is therefore written
under another name beside its own and put in place in one step; its permissions are those that the
user's umask gives to new files.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import tomli_w

from isdu_bids.errors import DataError, OutputError, UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Name to write a file under; what was written takes the place of ``path`` on success.

    The name ends like the path, because writers of images and tensors go by the extension. Folders
    are created.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    partial = path.with_name(f".{token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written ({reason}); check the folder") from error
    except OutputError as error:  # of a writer that writes beside its place as well
        raise OutputError(str(error).replace(partial.name, path.name)) from error
    finally:
        with suppress(OSError):  # it is gone where all went well
            partial.unlink()


def write_text(path: Path, text: str) -> Path:
    """Write a text file.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON object; what is not a number becomes null, as JSON has no NaN."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def finite(value: Any) -> Any:
    """Copy of nested mappings and sequences with None in place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    DataError
        If the file cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # the last of deep nesting
        raise DataError(f"{path} is no valid JSON file ({error}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, i.e. start with {{")
    return content


def to_toml(values: Mapping[str, Any]) -> str:
    """Render values as TOML; None is left out, and what TOML lacks becomes text.

    Examples
    --------
    >>> print(to_toml({"settings": {"unwrapping": "romeo", "phase_range": None}}), end="")
    [settings]
    unwrapping = "romeo"
    """
    return tomli_w.dumps(_plain(values))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    UsageError
        If it is missing or broken.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML ({error})") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_state(path: Path) -> list[int]:
    """Numbers that change whenever a file may have changed.

    Size and time of writing do not tell: a copy can have those of another file. The time of the
    last change of the file's entry cannot be set, and a new file has another number.
    """
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def beside(path: Path, extension: str) -> Path:
    """Path of the file that goes with an image or a table: its name with another extension.

    Examples
    --------
    >>> beside(Path("anat/sub-01_Chimap.nii.gz"), ".json").as_posix()
    'anat/sub-01_Chimap.json'
    """
    return Path(str(path).removesuffix(".gz")).with_suffix(extension)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
