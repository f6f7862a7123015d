"""A Label Studio in memory that treats an ML backend as the recorded one (1.23.2) does."""

from benchmarks.simulated_label_studio.sending import Notice, post
from benchmarks.simulated_label_studio.studio import SimulatedLabelStudio

__all__ = ["Notice", "SimulatedLabelStudio", "post"]
