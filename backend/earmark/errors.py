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


class MissingExtraError(ConfigurationError):
    """What was asked for needs an optional library that is not installed."""

    reason = "missing_extra"


class LabelConfigError(EarmarkError):
    """A label config is not XML, or holds nothing that sound can be predicted for."""

    reason = "label_config"


class SoundNotFoundError(EarmarkError):
    """The sound that a task points to does not exist, or may not be read."""

    reason = "not_found"


class SoundUnreachableError(EarmarkError):
    """The server that holds a sound did not hand it over: network, timeout or refused token."""

    reason = "unreachable"


class SoundTooSlowError(SoundUnreachableError):
    """The server that holds a sound sends it more slowly than the least rate."""

    reason = "too_slow"


class OutOfTimeError(EarmarkError):
    """The time limit of a request or a training passed before the work was done."""

    reason = "out_of_time"


class SoundNotFetchedError(EarmarkError):
    """A sound is not here yet, or its content was not read yet, and the caller did not want to wait."""

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


class SecretKeyError(LabelStudioError):
    """A stored token was encrypted with another key than the one that is here."""

    reason = "secret_key"


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


class ProjectNameError(EarmarkError):
    """No project has the name that was given, or several have it."""

    reason = "project_name"


class HeadDroppedError(HeadDamagedError):
    """A superseded version's head was deleted to save space."""

    reason = "head_dropped"


class NotFiniteError(EarmarkError):
    """A computation ended in NaN or infinity: a fault of ours, of which nothing is stored or served."""

    reason = "not_finite"


class VersionError(EarmarkError):
    """A version that was named does not exist, or cannot be made active."""

    reason = "version"


class RegionError(EarmarkError):
    """A stretch of a sound that was named is not in it, or nothing can be suggested for it."""

    reason = "region"
