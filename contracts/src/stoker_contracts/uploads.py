"""What holds for every picture that comes with a job. Apart from the requests, for whoever decodes without reading them."""

MAX_UPLOAD_BYTES = 16 * 2**20
"""Largest image file a job may carry."""
MAX_UPLOAD_PIXELS = 16 * 10**6
"""Largest decoded input image."""
UPLOAD_FORMATS = ("PNG", "JPEG", "WEBP")
MIN_SIDE = 8
