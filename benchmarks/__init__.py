"""Measurements that print ratios, and the pages they write."""
