"""The commands by subject; the function of ``run-now`` is called ``run_now_command``."""
