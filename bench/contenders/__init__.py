"""What people would use instead of this service: each in one file, as its users would write it.

They read and write the tables that our migrations make, give the answers that ours gives to the
requests that are measured, and leave out what nobody would build for a comparison: access, audit,
idempotency, metrics.
"""
