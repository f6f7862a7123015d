"""Exceptions for all failures that Earmark expects.

Each message is one sentence that says what is wrong and what to do about it, because it is shown
to users verbatim: in the log, in the terminal and in HTTP responses.
"""


class EarmarkError(Exception):
    """Base of all expected failures. ``reason`` is a short constant for metrics labels."""

    reason = "error"


class ConfigurationError(EarmarkError):
    """A setting is missing or contradicts another one."""

    reason = "configuration"


class NewerDatabaseError(ConfigurationError):
    """The database was made by a newer release."""

    reason = "newer_database"


class EncoderPluginError(ConfigurationError):
    """An encoder of another package cannot be loaded, or does not do what an encoder must."""

    reason = "encoder_plugin"


class MissingExtraError(ConfigurationError):
    """An optional library that a request needs is not installed."""

    reason = "missing_extra"


class LabelConfigError(EarmarkError):
    """A label config is not XML, or has no control that predictions of sound are possible for."""

    reason = "label_config"


class SoundNotFoundError(EarmarkError):
    """The sound that a task points to does not exist, or may not be read."""

    reason = "not_found"


class SoundUnreachableError(EarmarkError):
    """A sound could not be downloaded from its server: network, timeout or refused token."""

    reason = "unreachable"


class SoundTooSlowError(SoundUnreachableError):
    """The server of a sound sends it more slowly than the minimum rate."""

    reason = "too_slow"


class OutOfTimeError(EarmarkError):
    """The time limit of a request or a training passed before the work was done."""

    reason = "out_of_time"


class SoundNotFetchedError(EarmarkError):
    """A sound is not downloaded yet, or its content not read yet, and the caller does not wait for it."""

    reason = "not_fetched"


class BucketError(EarmarkError):
    """A bucket refuses, or cannot be reached."""

    reason = "bucket"


class BucketTimeoutError(BucketError):
    """A bucket has not answered in time."""


class SoundUnreadableError(EarmarkError):
    """The file exists, but cannot be decoded as audio."""

    reason = "unreadable"


class NoSoundTrackError(SoundUnreadableError):
    """A video holds no sound."""

    reason = "no_sound_track"


class WeightsError(EarmarkError):
    """The encoder's weights are missing, damaged or cannot be fetched."""

    reason = "weights"


class WeightsAwaitedError(WeightsError):
    """The encoder's weights are still being downloaded; the caller can retry later."""

    reason = "weights_awaited"


class LabelStudioError(EarmarkError):
    """Label Studio cannot be reached, refuses the token, or answered something unusable."""

    reason = "label_studio"


class ProjectGoneError(LabelStudioError):
    """Label Studio has the project no longer, or another one under its number."""

    reason = "project_gone"


class SecretKeyError(LabelStudioError):
    """A stored token was encrypted with another key than the current one."""

    reason = "secret_key"


class RedisUnavailableError(EarmarkError):
    """Redis cannot be reached, and none could be started."""

    reason = "redis"


class PortInUseError(EarmarkError):
    """Another program listens on a required port."""

    reason = "port"


class DataFolderInUseError(EarmarkError):
    """Another backend runs on the same data folder."""

    reason = "data_folder"


class NotEnoughAnnotationsError(EarmarkError):
    """There are too few annotations to train on; the training is postponed, nothing is broken."""

    reason = "not_enough_annotations"


class TaskError(EarmarkError):
    """A task lacks the field that its label config names, or the field holds no sound."""

    reason = "task"


class FormatError(EarmarkError):
    """A file of labels does not follow its format, or a format cannot hold the data."""

    reason = "format"


class HeadDamagedError(EarmarkError):
    """A stored head is truncated, or in another format."""

    reason = "head_damaged"


class ProjectNameError(EarmarkError):
    """No project has the given name, or several have it."""

    reason = "project_name"


class HeadDroppedError(HeadDamagedError):
    """A superseded version's head was deleted to save space."""

    reason = "head_dropped"


class NotFiniteError(EarmarkError):
    """A computation ended in NaN or infinity: a bug, of which nothing is stored or served."""

    reason = "not_finite"


class VersionError(EarmarkError):
    """A requested version does not exist, or cannot be made active."""

    reason = "version"


class RegionsLeftOutError(EarmarkError):
    """A task has more regions than are shown: not raised, but remembered with its sound."""

    reason = "regions_left_out"


class RegionError(EarmarkError):
    """A requested stretch is not within its sound, or nothing can be suggested for it."""

    reason = "region"
