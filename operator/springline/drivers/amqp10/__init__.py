"""AMQP 1.0: one connection with one session and the declared links, on the engine of proton."""
