"""``stoker-bench``: how fast a model is, in this process or behind a URL, and whether that has changed."""
