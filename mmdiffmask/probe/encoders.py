"""What is read out of a run's network, and how its devices share the work."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from mmdiffmask import build, config
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import steps
from mmdiffmask.training.family import Batch, Encode, Family, Params, ReadQuestions

# Most sequences of questions that go through the joint transformer of a device at once.
# On a CPU these are all of a batch of 32 questions in four views with five candidates.
AT_ONCE = {"cpu": 768}
AT_ONCE_ELSEWHERE = 128  # of `base`, in bfloat16: about 1.5 GB for one layer's scores


class Devices(NamedTuple):
    """The devices of a probe: weights lie on each, a batch is cut over them.

    Results are those of one device but for rounding. Rows that only fill up a batch
    are dropped, so any number of devices serves any number of questions.
    """

    mesh: Mesh

    def batch(self, size: int) -> int:
        """The least multiple of the devices that is at least `size`."""
        return math.ceil(size / self.mesh.size) * self.mesh.size

    def questions(self, size: int, sequences: int, platform: str | None = None) -> int:
        """How many questions go through the joint transformer at once.

        Args:
          size: how many shall, at most: probe.batch_size.
          sequences: of each question: views times candidates (and one for `match`).
          platform: that the devices stand for; None: their own.

        Returns:
          A multiple of the devices: `batch` of `size`, or fewer, so that each has at
          most AT_ONCE sequences (but one question, however many it has).
        """
        platform = platform or self.mesh.devices.flat[0].platform
        most = AT_ONCE.get(platform, AT_ONCE_ELSEWHERE)
        return min(self.batch(size), max(1, most // sequences) * self.mesh.size)

    def put(self, params: Params) -> Params:
        """The weights on every device."""
        return jax.device_put(params, meshes.replicated(self.mesh))

    def cut(self, batch: Batch) -> Batch:
        """A batch, cut along its first axis; compiled steps follow where arrays lie."""
        return jax.device_put(batch, meshes.by_example(self.mesh))


def devices(count: int | None = None) -> Devices:
    """All devices, or the first of them."""
    chosen = jax.devices()[:count]
    return Devices(meshes.make(len(chosen), chosen))


def of_clips(experiment: config.Experiment) -> Encode:
    """(params, batch) -> {read-out: features (b, d)}, jitted."""
    return steps.make_encode(_family(experiment))


def of_questions(
    experiment: config.Experiment, read_outs: Sequence[str]
) -> ReadQuestions:
    """`Family.questions` of these read-outs.

    Raises:
      ValueError: if the model reads no questions.
    """
    family = _family(experiment)
    if family.questions is None:
        raise ValueError(
            f"probe.read_outs={','.join(read_outs)}: this model reads no questions;"
            " ask for clip alone"
        )
    return _reader(family, tuple(read_outs))


@functools.lru_cache(maxsize=steps.KEPT)
def _reader(family: Family, read_outs: tuple[str, ...]) -> ReadQuestions:
    """The same one for all splits and parts: it is compiled once."""
    return family.questions(read_outs)


def _family(experiment: config.Experiment) -> Family:
    """The run's network without what only training needs.

    So no file of a term has to be there still, and all rows of a comparison share what
    is compiled.
    """
    bare = config.Experiment(
        experiment.name, data=experiment.data, model=experiment.model
    )
    return build.family(bare)
