"""Nipype interfaces: files in, one call into the packages below, files out."""
