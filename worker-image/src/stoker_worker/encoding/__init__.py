"""Pictures in and out: uploads that strangers send, PNG and MP4 that callers get."""
