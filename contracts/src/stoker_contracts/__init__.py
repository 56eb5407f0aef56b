"""The words that Stoker's programs share: resources, jobs, capabilities, errors and names. Pure data, no I/O."""
