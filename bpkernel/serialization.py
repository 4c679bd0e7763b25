"""Files of nets, in the safetensors format: tensors and metadata in JSON.  A file contains no code that could run."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bpkernel.extras import need

FORMAT = "bpkernel 1"


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, completely or not at all: a temporary one in the same folder, which then replaces the target.

    Symbolic links are followed.  A target that exists and is not a regular file, such as a pipe, is written to directly.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, "wb") as pipe:
            yield pipe
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r}: make it before writing {path.name} to it")
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file as `open_atomically` does."""
    with open_atomically(path) as file:
        file.write(data)


def save(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write tensors, and metadata that JSON can represent."""
    safetensors = need("safetensors.numpy", "save")
    texts = {"format": FORMAT, **{key: json.dumps(value) for key, value in metadata.items()}}
    write_atomically(path, _in_order(safetensors.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, texts)))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in another order each time."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + data[end:]


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
