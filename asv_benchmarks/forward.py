"""The forward pass of each peer: the error of all samples, in mini-batches."""

from collections.abc import Callable
from functools import singledispatch

import numba

from bpkernel.cli.peers import Bpkernel, Jax, Peer, PyTorch, ScikitLearn


@singledispatch
def forward_pass(peer: Peer) -> Callable[[], None]:
    """A function that runs the forward pass."""
    raise NotImplementedError(type(peer).__name__)


@forward_pass.register
def _(peer: Bpkernel) -> Callable[[], None]:
    def forward() -> None:
        numba.set_num_threads(peer.n_threads)
        peer.net.loss(peer.X, peer.T)

    return forward


@forward_pass.register
def _(peer: ScikitLearn) -> Callable[[], None]:
    def forward() -> None:  # it has no public function for the error
        for n in range(0, len(peer.X), peer.batch):
            peer.net.predict(peer.X[n : n + peer.batch])

    return forward


@forward_pass.register
def _(peer: PyTorch) -> Callable[[], None]:
    import torch

    def forward() -> None:
        with torch.inference_mode():
            for rows in torch.arange(len(peer.X)).split(peer.batch):
                peer.error(rows)

    return forward


@forward_pass.register
def _(peer: Jax) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp

    errors = jax.jit(lambda params, rows: jax.lax.map(lambda batch: peer.error(params, batch), rows))

    def forward() -> None:
        errors(peer.state[0], jnp.arange(peer.n_samples).reshape(-1, peer.batch)).block_until_ready()

    return forward
