"""Internals of bpkernel that the suite uses.  Their modules differ between commits, and `asv continuous` compares commits."""

from importlib import import_module


def find(name, *modules):
    """The attribute `name` of the first of these modules that has it.

    Raises NotImplementedError if none has: asv then skips the benchmark for this commit.
    """
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise NotImplementedError(f"this commit has no {name}")
