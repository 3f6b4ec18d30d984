"""The group level: tables and a page over all scans, from what participant runs left behind."""
