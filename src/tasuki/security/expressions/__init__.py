"""The expression language of ``security.policy.expr``."""
