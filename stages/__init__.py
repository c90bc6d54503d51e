"""One entry per DVC stage: paths in, its section of the parameters, one call into kgrec, a report out."""
