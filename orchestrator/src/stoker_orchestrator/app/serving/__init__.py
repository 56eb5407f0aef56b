"""The HTTP server of the orchestrator: callers' connections, on httptools, with as little as can be between them and a job."""
