"""From logs to the result file: what was measured, what theory predicts for the same packets, and the verdicts."""
