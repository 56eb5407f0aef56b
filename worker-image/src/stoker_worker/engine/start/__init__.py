"""From files to a model that is ready: found, judged, read ahead, loaded, warmed up, parked."""
