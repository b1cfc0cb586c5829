"""A frozen encoder as it is read out: weights, devices, and where features go."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

from mmdiffmask import config, settings_json, versions
from mmdiffmask.probe import encoders, feature_parts, features
from mmdiffmask.training.family import Params
from mmdiffmask.training.job import Watched


@dataclasses.dataclass(frozen=True)
class Frozen:
    """The weights of a checkpoint, and the records that they look at.

    Attributes:
      experiment: the settings.
      manifest: sha256 of the records' manifest.
      folder: of the feature cache; None: features are not kept.
      weights: fingerprint of the weights, or another name for them.
      make_params: makes or hands out the weights; asked only where a part is missing.
      devices: that share the work.
      watched: goes over the batches of clips; may end the work by an exception.
    """

    experiment: config.Experiment
    manifest: str
    folder: pathlib.Path | None
    weights: str
    make_params: Callable[[], Params]
    devices: encoders.Devices = dataclasses.field(default_factory=encoders.devices)
    watched: Watched = iter

    @functools.cached_property
    def params(self) -> Params:
        """The weights on every device."""
        return self.devices.put(self.make_params())

    @property
    def batch_size(self) -> int:
        """Clips or windows of a batch: probe.batch_size, filled up to the devices."""
        return self.devices.batch(self.experiment.probe.batch_size)

    def features(
        self,
        part: str,
        names: Sequence[str],
        compute: feature_parts.Compute,
        *bounds: str,
    ) -> features.Features:
        """The features of some rows, from the cache as far as they are in it.

        Args:
          part: name of the rows: of a split, as a rule.
          names: of all rows, in order.
          compute: makes those of a stretch.
          *bounds: what else they depend on, beside data, model and code.
        """
        kind = feature_parts.stored_type(self.experiment.model)
        if self.folder is None:
            return feature_parts.computed(names, compute, kind)
        key = features.cache_key(
            self.weights,
            self.manifest,
            part,
            settings_json.to_json(self.experiment.data),
            settings_json.to_json(self.experiment.model),
            *bounds,
            versions.number("features"),
        )
        return feature_parts.cached(self.folder, key, names, compute, kind=kind)
