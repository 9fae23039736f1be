"""The samples of a span beside those of their siblings, where a query asks for that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exporter.engine.cadence import Span
from exporter.engine.peers.samples import PeerSamples, PeerVerdicts
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.scale import LARGEST, Scale
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts

__all__ = ["beside_peers", "inward"]


def beside_peers(state: EngineState, verdicts: Verdicts, span: Span, mask: SampleMask | None) -> PeerVerdicts | None:
    """Compare the samples of a span with those of their siblings, note that in the verdicts, and learn them."""
    if state.peers is None:
        return None
    settings, values = state.settings, verdicts.observed[span.when]
    low, high = settings.valid_range
    usable = (values >= max(low, -LARGEST)) & (values <= min(high, LARGEST))
    learn = np.broadcast_to(True, usable.shape)
    if mask is not None:
        part = mask.part(span.when, slice(None))
        # Where another value is expected of some of them, they are not alike.
        usable, learn = usable & (part.factor == 1.0), learn & part.learn
    samples = PeerSamples(
        times=verdicts.times[span.when],
        values=values,
        usable=usable,
        learn=learn,
        seconds=span.seconds,
        step=state.seconds or span.seconds,
        steps=span.steps.flags,
        least=settings.min_deviation,
        relative=settings.min_relative_deviation,
        accept_after=settings.baseline.accept_level_shift_after,
    )
    result = state.peers.judge(samples, state.table)
    if verdicts.peers is None:
        verdicts.peers = PeerVerdicts.of(verdicts.observed.shape)
    verdicts.peers.put(span.when, result)
    return result


def inward(peers: PeerVerdicts, scale: Scale, rows: slice, threshold: float | FloatArray) -> PeerVerdicts:
    """Return what siblings say of `rows` in baseline units, and the severities divided by the threshold."""
    edges = {name: scale.inward(rows, getattr(peers, name)) for name in ("expected", "lower", "upper")}
    return replace(peers, above=peers.above / threshold, below=peers.below / threshold, **edges)
