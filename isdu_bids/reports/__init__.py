"""What the user sees: figures, subject report, methods text."""
