"""What a training step's gradient costs in forward passes of the encoder.

`python -m benchmarks.bert_speed` runs, turn by turn in one process, the masked-LM loss
of a batch and its gradient, with the backward passes of `models/backward.py` and with
those of automatic differentiation of the same formulas. Ratios hold on a busy machine,
seconds do not; processor seconds (all threads) are the steadier figure. The gate is the
first of the ratios: 3.3 forward passes for the gradient.

The size is MiniLM's (6 layers, width 384, 12 heads, 30,522 word pieces), 16 texts of 64
pieces, dropout as in training, logits at the hidden quarter of the pieces.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from mmdiffmask.models import activations, backward
from mmdiffmask.models.bert import checkpoints, losses, model
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.types import Array

GATE = 3.3  # forward passes
MINILM = BertSettings(
    family="bert",
    vocabulary=30522,
    hidden=384,
    layers=6,
    heads=12,
    intermediate=1536,
    positions=512,
)
QUICK = dataclasses.replace(MINILM, vocabulary=500, hidden=48, layers=2)
TEXTS, LENGTH, HIDDEN = 16, 64, 16  # of a batch; pieces of each that are predicted


def _plain_norm(x: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(wide - mean).mean(axis=-1, keepdims=True)
    scale, bias = (jnp.expand_dims(v, range(x.ndim - 1)) for v in (scale, bias))
    return (wide - mean) / jnp.sqrt(variance + epsilon) * scale + bias


def _plain_attend(
    query: Array,
    key: Array,
    value: Array,
    bias: Array,
    is_kept: Array | None,
    drop_rate: float,
) -> tuple[Array, Array]:
    logits = jnp.einsum("bqhs,bkhs->bhqk", query, key)
    weights = used = jax.nn.softmax(logits + bias, axis=-1)
    if is_kept is not None:
        used = jnp.where(is_kept, weights / (1.0 - drop_rate), 0.0)
    return jnp.einsum("bhqk,bkhs->bqhs", used, value), weights


def _plain_product(x: Array, kernel: Array, *_: object, **__: object) -> Array:
    return x @ kernel


def _plain_activated(
    x: Array, kernel: Array, *_: object, activation: str, **__: object
) -> Array:
    return activations.by_name(activation).value(x) @ kernel


def _plain_each(logits: Array, labels: Array) -> Array:
    shares = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(shares, labels[..., None], -1)[..., 0]


@contextlib.contextmanager
def plain_passes() -> Iterator[None]:
    """While it lasts, models are built of formulas alone."""
    with contextlib.ExitStack() as stack:
        for where, name, formula in (
            (backward, "layer_norm", _plain_norm),
            (backward, "attend", _plain_attend),
            (backward, "product", _plain_product),
            (backward, "activated_product", _plain_activated),
            (losses, "each", _plain_each),
        ):
            stack.enter_context(mock.patch.object(where, name, formula))
        yield


def passes(settings: BertSettings) -> dict[str, Callable[[], object]]:
    """Compiled calls: the loss, its gradient, and the gradient by formulas alone."""
    rng = np.random.default_rng(0)
    shape = (TEXTS, LENGTH)
    ids = rng.integers(1, settings.vocabulary, shape)
    is_valid = np.arange(LENGTH)[None] < rng.integers(LENGTH // 2, LENGTH, (TEXTS, 1))
    place = np.stack([rng.permutation(LENGTH)[:HIDDEN] for _ in ids])
    labels = rng.integers(0, settings.vocabulary, place.shape)
    params = checkpoints.start(jax.random.key(0), settings, ("mlm",)).params

    def loss(params: checkpoints.Params, key: Array) -> Array:
        call = functools.partial(model.Bert(settings).apply, {"params": params})
        seq = call(model.Pieces(ids, is_valid), key=key).seq
        logits = call(model.take(seq, place), method="predict")
        return losses.cross_entropy(logits, labels)

    arguments = (params, jax.random.key(1))

    def compiled(function: Callable) -> Callable[[], object]:
        run = jax.jit(lambda *x: function(*x)).lower(*arguments).compile()
        return lambda: jax.block_until_ready(run(*arguments))

    calls = {"forward": compiled(loss), "gradient": compiled(jax.value_and_grad(loss))}
    with plain_passes():
        calls["plain forward"] = compiled(loss)
        calls["plain gradient"] = compiled(jax.value_and_grad(loss))
    return calls


def seconds(
    calls: dict[str, Callable[[], object]], repeat: int
) -> dict[str, tuple[float, float]]:
    """Median processor and wall seconds of each call, taking turns."""
    spent = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            cost = time.process_time() - cpu, time.perf_counter() - wall
            if turn > 0:  # the first turn warms up
                spent[name].append(cost)
    return {
        name: tuple(statistics.median(x) for x in zip(*costs, strict=True))
        for name, costs in spent.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; exit status 1 if the gradient costs more than the gate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bert_speed")
    parser.add_argument("--repeat", type=int, default=7, metavar="N")
    parser.add_argument("--quick", action="store_true", help="a tiny model, no gate")
    parser.add_argument("--no-dropout", action="store_true")
    options = parser.parse_args(arguments)
    settings = QUICK if options.quick else MINILM
    if options.no_dropout:
        settings = dataclasses.replace(
            settings, hidden_dropout=0.0, attention_dropout=0.0
        )
    costs = seconds(passes(settings), max(1, options.repeat))
    print(f"jax {jax.__version__}, {os.cpu_count()} processors, {sys.platform}")
    print(f"{TEXTS} texts of {LENGTH} pieces; processor s, wall s, forward passes")
    base = costs["forward"][0]
    for name, (cpu, wall) in costs.items():
        print(f"{name:15} {cpu:8.3f} {wall:8.3f} {cpu / base:6.2f}")
    ratio = costs["gradient"][0] / base
    print(f"gradient: {ratio:.2f} forward passes, gate {GATE}")
    return int(ratio > GATE and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
