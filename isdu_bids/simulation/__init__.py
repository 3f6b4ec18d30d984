"""Simulated heads, patches and scans."""
