"""A project's training as a job, and a webhook that causes one."""

from __future__ import annotations

import redis
from rq.job import Job
from rq.serializers import JSONSerializer

from earmark.jobs.queue import JobRequest

KEY = "1.1795198673"
REQUEST = JobRequest("learn", KEY, timeout_seconds=60, lease_seconds=30.0)
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}}


def fetch(client: redis.Redis) -> Job:
    """Return the job as Redis has it."""
    return Job.fetch(REQUEST.job_id, connection=client, serializer=JSONSerializer)
