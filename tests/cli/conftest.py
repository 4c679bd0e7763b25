"""The command line, called in this process."""

import sys

import pytest

from bpkernel.cli import commands


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Run `bpkernel ...` in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # of programs that tests start
    monkeypatch.setattr(commands.out, "width", 200)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bpkernel", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            commands.run()
        return (exit.value.code or 0, *capsys.readouterr())

    return run
