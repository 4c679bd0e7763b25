"""Files of nets, in the safetensors format: tensors and metadata in JSON.  A file contains no code that could run."""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bpkernel.extras import need

FORMAT = "bpkernel 1"


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file completely or not at all: to a temporary file in the same folder, which then replaces the target.

    Symbolic links are followed.  A target that exists and is not a regular file, such as a pipe, is written to directly.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r}: make it before writing {path.name} to it")
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write tensors, and metadata that JSON can represent."""
    safetensors = need("safetensors.numpy", "save")
    texts = {"format": FORMAT, **{key: json.dumps(value) for key, value in metadata.items()}}
    write_atomically(path, safetensors.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, texts))


def as_json(value: Any) -> Any:
    """A value as it is when it has been written and read."""
    return json.loads(json.dumps(value))


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read tensors and metadata from a file written by `save`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file has another format or is damaged.
    """
    safetensors = need("safetensors", "save")
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            texts = file.metadata() or {}
        if texts.pop("format", None) != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        return tensors, {key: json.loads(text) for key, text in texts.items()}
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not a net that bpkernel saved, or it is damaged: {error}") from None
