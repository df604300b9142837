"""The same order-flow job on this project's shell and on its competitors, on one broker in one run.

The job: read quotes as JSON from four partitions, validate them, keep each instrument's last quote and open 10 s bucket
in keyed state, and publish one `OfiEvent` per instrument and bucket. Outputs are compared before a number is printed.
"""
