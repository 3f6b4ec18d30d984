"""Brain masks from magnitude and phase quality; morphology in millimetres."""
