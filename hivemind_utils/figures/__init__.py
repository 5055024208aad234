"""Pictures and pages, from finished tables."""
