"""From tasks to predictions, and into Label Studio."""
