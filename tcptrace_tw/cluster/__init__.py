"""One analysis by many processes: files are dealt to shards, shards are tracked, and what comes out is put together."""
