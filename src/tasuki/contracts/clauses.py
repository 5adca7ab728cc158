"""The clauses of the driver contract. Each has a test of the same number in ``tasuki.testing.conformance``.

They stand in groups: the first holds for every driver, the others for a driver that claims them. A number is a name,
and says nothing about the group. The verbs of :class:`tasuki.contracts.driver.Driver` and of
:mod:`tasuki.contracts.groups` say which clauses each must keep.

Every driver:

 1. Declaring twice is harmless and loses nothing; declaring again with other options updates them and keeps messages.
 2. Body (any bytes), id and headers arrive unchanged.
 3. ``receive`` gives at most ``limit``; on an empty queue it waits about ``wait`` and then gives an empty list.
 4. A message is with one receiver until it is settled or its lease ends.
 5. Acked is gone.
 6. Nacked with delay 0 is back at once, not at the end of the lease.
 7. Nacked or released with delay d is hidden for at least d. Published with delay d likewise.
 8. ``attempt`` is 1 plus the failures so far: nacks, and recorded starts (28) that ended without a settlement. Neither
    a release raises it, nor the end of a delivery that never started with its holder or its lease. Only where
    ``counts_releases`` says so of a delivery, a release of it raises it too.
 9. Settling twice reports the second as stale; it never raises for a stale receipt.
10. A receipt is stale once its message was handed out again.
11. ``extend`` sets the lease to now + lease, and reports receipts that are no longer held as stale.
12. One publisher's messages arrive in the order of publishing, if ``ordered``; a release puts them back at the head.
13. An undeclared queue: QueueNotFoundError from every verb.
14. Broker gone: BrokerUnavailableError from every verb, within a bound. Broker silent: BrokerTimeoutError or
    BrokerUnavailableError. Both are retryable. A connection that answers nothing within its deadline is replaced.
15. Concurrent receivers share a queue without overlap.
16. A cancelled ``receive`` or ``publish`` loses nothing that it had taken.
17. ``close`` is idempotent, releases held messages (their leases end at once where the broker allows), and wakes a
    waiting ``receive``, which returns an empty list or raises BrokerUnavailableError.
18. After a SIGKILL of the holder its messages are back within the lease (drivers that serve several processes).
19. After a broker restart every confirmed message is still there (durable drivers).
20. Attempts, suspects and recorded starts survive both.
25. A ``temporary`` queue lives while the process that declared it does, also unused; that process's end or
    ``undeclare`` lets the broker delete it, some minutes later at the latest where it can.
27. ``delete`` removes a queue with all its messages, held ones too; it is then as if it had never been declared.
28. A delivery that ended without a settlement (its holder died, its lease ended) comes back with the same ``attempt``
    and as a ``suspect``; it stays one through releases, until it is nacked. ``start`` records at the broker that its
    handler begins: if that delivery ends without a settlement as well, the message is one attempt older. A nack after
    a start counts once; a release takes the record back.
29. ``undeclare`` forgets a queue in this process and frees what it used here: every verb then answers
    QueueNotFoundError, and a waiting ``receive`` ends with an empty list or that error. Open deliveries can be settled
    and extended while their leases last. Nothing changes at the broker. Idempotent.
30. ``inspect`` makes the verbs work on a queue that exists, and neither makes nor changes it, now or later: once it is
    gone, a publish to it is rejected with QueueNotFoundError. Publishing never makes a ``temporary`` queue.
31. No message stays held without a holder: if a settlement cannot be delivered, the broker requeues the message, also
    when the caller has given up.
32. Empty batches and a ``limit`` of 0 give an empty answer without asking the broker. A delay that is negative or not
    finite, or a priority outside 0 to 9, is refused with UnsupportedError. A settlement after the lease is accepted as
    long as the message was not handed out again, unless the broker refuses that or cannot tell.
33. The options of the last declaration hold for all processes, without another declaration of theirs.
34. A forked child leaves its parent's connections alone: its verbs answer BrokerUnavailableError, or use connections of
    their own. It has the queues of its parent, and keeps no temporary one of them alive.
35. ``occupancy`` says which numbers of ``depth`` are at least one, and costs the same with any number of messages.
54. After the broker's data was put back to an earlier state, as from a backup, a receipt from before then is stale: it
    settles, moves, extends and starts no delivery of a message that was published afterwards. A driver that is open
    meanwhile goes on, and no message that is confirmed afterwards is lost.
55. Records of another layout than the driver's are refused before it changes any of them. A message that a failed step
    has left where no receive finds it is found by the workers of its queue within minutes, and is ready again.
58. ``depth`` counts the messages that all processes hold and have delayed, or says None of a number that the broker
    does not tell. Then ``kept`` tells what this process has of it, and only this process: the sum over all processes
    is the number.

Abilities, and options of queues:

21. Higher ``priority`` is received first (``native_priority``).
22. Of the messages of one ``key``, at most one is held, and they are received in order, also past nacks
    and releases, delayed or not (``ordering_key``, only on a queue declared with ``ordering="key"``).
23. ``max_length``: a full queue rejects new messages with QueueFullError, message by message, in order: once one of a
    batch is rejected for room, all after it are. A held message keeps its place, so nack and release never fail.
26. In a queue declared with ``dedup_window`` a message whose id was published within that time is confirmed and not
    stored again, even if the first one was acked meanwhile. A message with ``deduplicate=False`` is always stored, and
    does not change the remembered ids (``dedup``). Each queue remembers its own ids. A rejected message is not
    remembered.
61. After a SIGKILL of the holder its messages are back within 15 s, however long the lease. A holder that lives keeps
    them for the lease, however long it is silent, suspended or blocked (``sees_deaths``).

Moves:

36. ``move`` acks a delivery and stores messages in another queue of the driver. If they cannot be stored, the delivery
    stays held; a stale receipt is answered with StaleReceiptError. Where ``is_move_atomic``, each move is one step:
    a kill at any time leaves both effects or neither, and a stale receipt stores nothing.

Browses:

24. ``peek`` shows without receiving. ``purge`` removes the messages that were not held when it began, and says how
    many; a message that is published during a purge survives it.
38. ``peek`` shows the last ``error`` that a nack gave, and its time, as the headers ``x_last_error`` and
    ``x_last_error_time`` (Unix seconds); another nack without one and a release keep it. ``receive`` never shows it
    (``keeps_errors``).
51. ``find`` shows the waiting messages of some ids as ``peek`` does (24, 38), by a search: each message of an id, the
    oldest first. Held ones are not shown, and nothing changes (``find``).
52. ``causes`` counts the waiting messages, ready or delayed, by their header ``x_cause``, as of one moment: how many
    have each, when the first and the last of them were stored, and how many in each part of the last hour; with the
    newest, as ``peek`` shows it but without its body, and the ids of the three newest. Of the causes beyond ``most``
    that are not in ``also`` it tells the sums. A cause is twelve hexadecimal digits (0-9, a-f); messages with another
    ``x_cause`` or none are ``unmarked``, and one without it costs its publisher nothing. Held ones do not count, and
    nothing changes (``causes``).
53. ``peek_cause`` shows the waiting messages of one cause as ``peek`` does (24, 38), in the order in which they were
    stored or from the newest back. The first of them cost the same with any number of messages (``causes``).
57. ``peek``, ``find`` and ``peek_cause`` of a driver with ``remove`` or ``transfer`` name the place of each message
    (``Waiting.place``), as long as the message is in its queue, also past nacks and releases; no other message of the
    queue has it. A ``transfer`` of a place takes out the message of its id at this place, or is answered with
    MessageNotFoundError and stores nothing, whatever other messages have the id: of two that name one place, one does
    it. A ``remove`` with places removes the messages of its ids at these places, and no others of these ids.
59. ``locate`` says for each of some ids where its message is: ``held`` by a receiver, ``ready``, or ``delayed`` until a
    time; of several messages of an id the first of these that holds for one. An id of which the queue has no message is
    left out. It needs one request, however many messages wait, and nothing changes (``locate``).
60. ``peek``, ``find`` and ``peek_cause`` of a driver with ``transfer`` say for each message in how many seconds it is
    ready (``Waiting.delay``: 0 if it is), by the broker's clock, whether its publisher delayed it, a nack or a release;
    and how many of its attempts have failed (``Waiting.failures``), as the next delivery counts them (8).

Changes:

37. ``remove`` deletes ready and delayed messages of a queue by their ids, each message of an id, and returns how many;
    held messages stay. A remembered id (26) stays remembered, and the next message of a key moves up (``remove``).
49. ``expedite`` ends the delays of the delayed messages of these ids, and returns how many there were: they are ready
    as if their time had come, with their attempts, priorities, keys and places in order, and wake a waiting
    ``receive``. Held and ready messages are left alone (``expedite``).
50. ``transfer`` takes waiting messages, ready or delayed, out of a queue by their ids, and stores a message in a
    queue of the driver for each, in one step: a kill at any time leaves both effects or neither, and of many callers
    one does it. An id of which no message waits there, because it is held or gone, is answered with
    MessageNotFoundError, and nothing is stored for it; of several messages of an id, one leaves each time that it is
    named. If the other queue cannot take its message (13, 23), both stay as they were; within one queue a transfer
    needs no room. The message that leaves does so as with ``remove`` (37), costs nothing of a limit (42), and wakes
    receivers of what may follow it. The stored one is as a published one (2, 7, 12, 21, 22, 43), but is never a
    duplicate, and changes no remembered id (26) (``transfer``).

Unique messages:

39. A message with ``unique`` is stored only if no other message of its queue has its key; else the answer is Merged.
    ``pending``: a ready or delayed message has the key; ``running``: a held one too; a window: the last one stored has
    it for so long, by the broker's clock, whatever became of it. Of many publishers at once, exactly one stores.
40. ``keep`` changes nothing. ``replace`` gives the waiting message the new id, body and headers, and no attempts; it
    stays at its place, with its priority, key and delay. ``extend`` hides it for the new delay as well, but not beyond
    ``latest`` seconds after the first message of the key was stored. A held message is kept, whatever the act.
41. A key is free once its message is gone: acked, moved, removed or purged. A message that comes back has its key
    again, unless a newer one has it. A window ends by its time alone, or with its queue. A rejected message takes no
    key, a kept one is not remembered (26), and a remembered id changes nothing. A restart of the broker keeps the keys.

Limits and lanes:

42. A queue with a ``limit`` hands out at most ``burst + rate * w`` messages in any window of w seconds, and lets at
    most ``concurrency`` be held, over all processes, by the broker's clock. A release without a delay gives its part of
    the rate back (it counts as one less, and fills no more than the burst); nothing else does, also no release with
    ``SHORTEST_DELAY``, with which a message is postponed whose handler has started. What must wait is
    neither held nor an attempt, and ``receive`` returns when its time or a place has come. Another rate leaves as many
    messages owed as before, and a larger burst adds the difference: a declaration gives no second burst. A deleted
    queue owes nothing, a purged one as much as before (``limits``).
43. In a queue with ``fair`` above 0 each message is in its ``lane``. ``lane_limit`` holds for each lane alone, and a
    lane that must wait holds up no other and costs a ``receive`` nothing, however long it is. Within a lane the order
    is as in any queue (12, 21, 22). With ``ordering="key"`` the lane of a message is its ``key``, or '' without one.
    Others from before the queue had lanes are in the lane ''; whether a message of a lane that the queue lost meanwhile
    is in it again, or in '', is left to the driver. A replaced one (40) stays in its lane (``limits``).
44. Lanes take turns of at most ``fair`` messages: while two of them have messages that could be handed out, the numbers
    that they are given differ by at most twice ``fair``, however many messages one has. A lane that comes to life (its
    first message, its place, its time) goes behind those that are in turn, as one that has had its turn: so it waits
    for no more than a round, and lanes that come repeatedly hold up none (``limits``).
45. What frees a place or brings a lane to life wakes a waiting ``receive``: a settlement, a move, the end of a lease, a
    publish, a new declaration. No message that could be handed out waits while a receiver asks. A lane that is empty
    leaves nothing behind once its rate has recovered. A queue without these options makes the same requests as before.

Transacts:

46. ``settle_within`` settles with the commit of the caller's transaction, which wakes receivers; until then, and after
    a rollback, the deliveries are held and their receipts good. While it is open, ``extend`` takes them as held and
    does not wait, unless the broker has ``one_writer`` (``settle_within``).
47. A stale receipt makes ``settle_within``, and ``hold_within`` of a transaction that settles nothing, raise
    StaleReceiptError, and nothing of the transaction can be committed.
48. Of transactions that claim one key of a consumer, one commits. A later claim gets what that one has remembered,
    until the time of the key is over; a claim that was rolled back never was.
56. A ``publish`` of several messages waits for no transaction of a caller's that keeps a unique key (39): the message
    of that key is answered with KeyBusyError, which names it, and the others are stored at once. One of a single
    message may wait for a second. Where one transaction writes at a time (``one_writer``), each publish waits for it.

Keeps:

62. Looking makes nothing: ``Store.exists`` says whether the broker has what ``Store.open`` makes, to each process, and
    makes nothing (``store``). See 30 for queues.
"""

CONTRACT = 6
"""The edition of this contract, which a driver's kind names."""
