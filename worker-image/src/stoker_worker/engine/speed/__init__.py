"""What makes a loaded model fast, by switches: graphs, attention, layout, compiled code."""
