"""Template spaces: their names, their images, and registration to them. The one optional stage."""
