"""Every failure that Earmark expects, in one place.

Each message is one sentence that says what is wrong and what to do about it, because it is shown
to people as it stands: in the log, in the terminal and in HTTP answers.
"""


class EarmarkError(Exception):
    """Base of all expected failures. ``reason`` is a short constant for metrics labels."""

    reason = "error"


class ConfigurationError(EarmarkError):
    """A setting is missing or contradicts another one."""

    reason = "configuration"


class LabelConfigError(EarmarkError):
    """A label config is not XML, or holds nothing that sound can be predicted for."""

    reason = "label_config"


class SoundNotFoundError(EarmarkError):
    """The sound that a task points to does not exist, or may not be read."""

    reason = "not_found"


class SoundUnreachableError(EarmarkError):
    """The server that holds a sound did not hand it over: network, timeout or refused token."""

    reason = "unreachable"


class SoundNotFetchedError(EarmarkError):
    """A sound is elsewhere, and nobody wanted it to be fetched now."""

    reason = "not_fetched"


class BucketError(EarmarkError):
    """A bucket refuses, or cannot be reached."""

    reason = "bucket"


class SoundUnreadableError(EarmarkError):
    """The file is there, but it is not sound that can be decoded."""

    reason = "unreadable"


class WeightsError(EarmarkError):
    """The encoder's weights are missing, damaged or cannot be fetched."""

    reason = "weights"


class WeightsAwaitedError(WeightsError):
    """The encoder's weights are on their way; who cannot wait tries again later."""

    reason = "weights_awaited"


class LabelStudioError(EarmarkError):
    """Label Studio cannot be reached, refuses the token, or answered something unusable."""

    reason = "label_studio"


class RedisUnavailableError(EarmarkError):
    """No Redis answers, and none could be started."""

    reason = "redis"


class PortInUseError(EarmarkError):
    """Another program listens on a port that is needed."""

    reason = "port"


class NotEnoughAnnotationsError(EarmarkError):
    """There is too little to learn from; training is put off, nothing is broken."""

    reason = "not_enough_annotations"


class TaskError(EarmarkError):
    """A task lacks the field that its label config names, or the field holds no sound."""

    reason = "task"


class FormatError(EarmarkError):
    """A file of labels does not follow its format, or a format cannot hold what it should."""

    reason = "format"


class HeadDamagedError(EarmarkError):
    """A stored head is cut short, or was written by something else."""

    reason = "head_damaged"


class HeadDroppedError(HeadDamagedError):
    """A superseded version's head was deleted to save space."""

    reason = "head_dropped"


class VersionError(EarmarkError):
    """A project or a version that was named does not exist, or cannot be made active."""

    reason = "version"
