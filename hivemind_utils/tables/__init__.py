"""What lies on disk: tables, schemas, files, ids."""
