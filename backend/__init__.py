"""From engine IR to answers: engines and the executor."""
