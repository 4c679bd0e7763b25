"""The command that offers a model as an HTTP service."""

import socket
from pathlib import Path
from typing import Annotated

import typer

from bpkernel.cli.app import app, show
from bpkernel.extras import need
from bpkernel.tables.model import Model
from bpkernel.tables.service import service

LOCAL = ("localhost", "127.0.0.1", "[::1]")


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="Model saved by `bpkernel train`.")],
    host: Annotated[str, typer.Option(help="Address to listen at; the default can be reached from this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further name by which the service may be called. May be repeated.")
    ] = None,
) -> None:
    """Offer a saved model as an HTTP service: a page to try predictions by hand, and JSON for programs.

    POST `{"rows": [{"column": value, ...}, ...]}` to /predict; GET /schema describes columns and answers. There is no
    authentication, so do not open it to others without a proxy that has one.

    Example: `bpkernel serve runs/iris/model.safetensors`
    """
    uvicorn = need("uvicorn", "serve")
    trained = Model.load(model)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise typer.BadParameter(f"cannot listen at {host}, port {port}: {error.strerror}", param_hint="--port") from None
    name = f"[{host}]" if ":" in host else host
    show(f"{trained.target.name}: http://{name}:{listening.getsockname()[1]}/  (Ctrl-C ends it)")
    application = service(trained, [*LOCAL, name, *(allow_host or [])])
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", server_header=False))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()
