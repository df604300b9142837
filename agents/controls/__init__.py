"""The pre-trade controls of admission: what they know, what they check, what their denials mean."""
