"""SQS: queues at Amazon SQS, or at a server that speaks its protocol.

| file | duty |
|---|---|
| ``driver.py`` | the verbs: checks, and who does what |
| ``settings.py`` | where and as whom to connect |
| ``clients.py`` | one client an event loop, a deadline a call, errors translated |
| ``translate.py`` | the client's exceptions and SQS's codes → driver errors |
| ``names.py`` | names of queues, groups and ids as SQS allows them |
| ``envelope.py`` | a message as body and attributes, and back; foreign messages too |
| ``batches.py`` | batches of ten, within the size of a request; results entry by entry |
| ``limits.py`` | refused messages, and which queues are FIFO queues |
| ``source.py`` | one declared queue, and its open deliveries |
| ``session.py`` | what an open driver works with |
| ``declaring.py`` | making a queue exist |
| ``attributes.py`` | a queue's options as SQS knows them |
| ``publishing.py`` | sending batches |
| ``polling.py`` | receiving, long polls that outlive their caller, early messages |
| ``settling.py`` | ending, extending and returning deliveries |
| ``suspects.py`` | the queue in which a suspect is while it is handled |
| ``timing.py`` | whole seconds, limits of hiding, attempts |
"""
