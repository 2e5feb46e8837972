"""Small things that every room needs: files written whole and sealed, folders held by one process, names, quoting."""
