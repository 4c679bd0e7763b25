"""Floor 5: `bpkernel`, and `python -m bpkernel`."""

from bpkernel.extras import need


def main() -> None:
    """Run the command line, or say which extra it needs."""
    try:
        for module in ("typer", "rich", "pandas", "pyarrow", "sklearn", "matplotlib", "safetensors"):
            need(module, "cli")
    except ImportError as error:
        raise SystemExit(str(error)) from None
    try:
        from bpkernel.command_line import run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
