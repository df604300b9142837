"""Orders, admission, kills and the account: pure steps, and the parts of the session that need no gateway."""
