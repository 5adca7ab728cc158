"""SQS: queues at Amazon SQS, or at a server that speaks its protocol.

| file | duty |
|---|---|
| ``driver.py`` | the verbs: checks, and who does what |
| ``settings.py``, ``aws.py`` | where and as whom to connect |
| ``clients.py`` | one client an event loop, a deadline a call, batches of ten, errors translated |
| ``limits.py`` | names, whole seconds, attributes and refusals of SQS |
| ``envelope.py`` | a message as body and attributes, and back; foreign messages too |
| ``source.py`` | one declared queue, and its open deliveries |
| ``session.py`` | the state of an open driver |
| ``declaring.py`` | makes a queue exist |
| ``publishing.py`` | sends batches |
| ``polling.py`` | receives: long polls that outlive their caller, early messages |
| ``settling.py`` | ends, extends and returns deliveries; keeps suspects in a queue of their own |
"""
