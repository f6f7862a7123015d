"""Readiness, metrics, project status and the doctor."""
