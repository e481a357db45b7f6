"""What people would use instead of this service: each in one file, as its users would write it.

They read and write the tables that our migrations make, give the answers that ours gives to the
requests that are measured, and write an audit event with each new user. Those of them that are
protected check a token and read its user. They leave out what nobody would build for a comparison:
roles, the end of a sign-in, the trail of other changes, idempotency, metrics.
"""
