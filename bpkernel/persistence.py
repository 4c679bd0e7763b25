"""Floor 4: nets in files.  A file is safetensors: tensors and a JSON text, nothing in it can run."""

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
    """Write a file whole or not at all: beside its place first, then into it.

    A link is followed to its file; what is there and is no file, such as a pipe, is written into as it is.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name} into")
    beside = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def save(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write tensors, and metadata that JSON can hold."""
    safetensors = need("safetensors.numpy", "save")
    texts = {"format": FORMAT, **{key: json.dumps(value) for key, value in metadata.items()}}
    write_atomically(path, safetensors.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, texts))


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and metadata of a file that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such file, or is damaged.
    """
    safetensors = need("safetensors", "save")
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
            texts = file.metadata() or {}
        if texts.pop("format", None) != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        return tensors, {key: json.loads(text) for key, text in texts.items()}
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not a net that bpkernel saved, or is damaged: {error}") from None
