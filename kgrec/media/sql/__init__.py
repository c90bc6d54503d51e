"""The SQL of the media stage; each file says which tables it reads and writes."""
