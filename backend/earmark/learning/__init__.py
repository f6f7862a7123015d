"""From annotation events to a served version."""
