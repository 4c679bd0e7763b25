"""Entry point of the `bpkernel` command and of `python -m bpkernel`."""

from bpkernel.extras import need


def main() -> None:
    """Run the command line, or exit with a message that names the missing extra."""
    try:
        for module in ("typer", "rich", "pandas", "pyarrow", "sklearn", "matplotlib", "safetensors"):
            need(module, "cli")
    except ImportError as error:
        raise SystemExit(str(error)) from None
    try:
        from bpkernel.cli.commands import run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
