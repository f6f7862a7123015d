"""Files and buckets."""
