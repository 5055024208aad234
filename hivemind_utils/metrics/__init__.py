"""Numbers from arrays: no tables, no disk, no drawing."""
