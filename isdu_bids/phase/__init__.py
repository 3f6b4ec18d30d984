"""From stored phase to the total field: scaling, offsets, unwrapping, echo combination, R2*."""
