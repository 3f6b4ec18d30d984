"""Maps against the truth: named families of metrics, tables, tests and figures."""
