"""What each diagnosis is called, and what usually mends it, in a student's words."""

TITLES = {
    "receive-cycle": "every one of these ranks receives first, so nobody ever sends",
    "send-cycle": "every one of these ranks sends first, and nobody is there to receive",
    "cycle": "these ranks wait for each other in a ring",
    "message-and-collective": "a message and a collective wait for each other",
    "collective-cycle": "these ranks wait for each other in different collectives",
    "self": "a rank waits for a message from itself",
    "wrong-tag": "the message is there, but under another tag",
    "wrong-source": "a message is there, but from another rank than the one named",
    "wrong-destination": "the message was sent, but to another rank",
    "wrong-communicator": "the message was sent, but in another communicator",
    "missing-send": "nobody sends the message that is waited for",
    "missing-receive": "nobody receives the message that is being sent",
    "left-early": "a rank returned without taking part in a collective that others wait in",
    "collective-mismatch": "the ranks call different collectives where they must call the same",
    "root-mismatch": "the ranks name different roots in the same collective",
    "operation-mismatch": "the ranks name different operations in the same reduction",
    "count-mismatch": "the ranks hand over different amounts in the same collective",
    "truncated": "a message is longer than the buffer that receives it",
    "type-mismatch": "a message was sent as one type and received as another",
    "kind-mismatch": "an object was pickled on one side and a buffer expected on the other",
    "invalid-rank": "a rank is named that this communicator does not have",
    "lock": "a window stays locked",
    "raised": "a rank raised an exception, and others wait for it",
    "exited": "a rank ended its process, and others wait for it",
    "killed": "a rank was killed, and others wait for it",
    "crashed": "a rank crashed, and others wait for it",
    "slow": "this is no deadlock: a rank is still at work, and others wait for it",
    "incomplete": "the ranks made more calls than a trace keeps, so who met whom is not known",
    "none": "nothing wrong is to be seen in the calls",
}

MENDS = {
    "receive-cycle": "Let one side send first: comm.Sendrecv does both at once, or start the "
    "receive with Irecv, send, and then Wait.",
    "send-cycle": "A Send of a large message waits until it is received (a small one may be "
    "buffered, so it works in the test and hangs with real data). Use Sendrecv, or Isend and "
    "then Wait, or let even ranks send first and odd ranks receive first.",
    "cycle": "Write down for each rank the order of its sends and receives: there must be one "
    "rank whose first call another rank answers first. Sendrecv or Irecv breaks the ring.",
    "message-and-collective": "A collective needs all ranks. Finish the messages first, on all "
    "ranks that take part, and call the collective after that, or the other way round, but in "
    "the same order everywhere.",
    "collective-cycle": "Call the collectives of different communicators in the same order on "
    "all ranks that belong to both.",
    "self": "A rank that sends to itself has to use Isend or Sendrecv; more often the partner's "
    "number is wrong: look at (rank + 1) % size at the edges.",
    "wrong-tag": "Use the same tag on both sides, or leave the tag out on both.",
    "wrong-source": "Name the rank that really sends (in a ring: you receive from the left when "
    "you send to the right), or MPI.ANY_SOURCE if any will do. If the message that is there is "
    "meant for a later receive, then the one that is waited for is never sent.",
    "wrong-destination": "Check the destination: with size ranks the right neighbour is "
    "(rank + 1) % size, the left one is (rank - 1) % size.",
    "wrong-communicator": "Send and receive in the same communicator; ranks are counted anew in "
    "each one that Split, Dup or Create_cart makes.",
    "missing-send": "For each Recv there must be one Send. Count them, also for the first and "
    "the last rank, and for ranks with nothing to send.",
    "missing-receive": "For each Send there must be one Recv. Count them, also for the first and "
    "the last rank, and for ranks that expect nothing.",
    "left-early": "Every rank of the communicator must call the collective: take it out of "
    "`if rank == ...`, let no rank return or break before it, and let a rank without data take "
    "part with an empty buffer.",
    "collective-mismatch": "All ranks must call the same collectives in the same order, the root "
    "too. Look for one inside an `if rank == ...`, and for a loop that runs more often on some "
    "ranks.",
    "root-mismatch": "The root is the same number on all ranks, not `root=rank`.",
    "operation-mismatch": "Give the same op on all ranks.",
    "count-mismatch": "Buffers must agree on all ranks. Where ranks own different numbers of "
    "rows use Allgatherv, Gatherv or Scatterv with counts and displacements; a receive buffer "
    "for Gather and Allgather has room for all ranks.",
    "truncated": "Make the receive buffer at least as long as the message; send the length "
    "first, or ask for it with Probe and Get_count.",
    "type-mismatch": "Give both arrays the same dtype (np.zeros is float64, np.arange int64).",
    "kind-mismatch": "send goes with recv (pickled objects), Send with Recv (buffers); the same "
    "holds for bcast and Bcast and all others.",
    "invalid-rank": "Ranks go from 0 to size - 1. At the edge use % size, or MPI.PROC_NULL for "
    "'nobody'.",
    "lock": "Every Lock needs an Unlock on the same rank and target, also when something is "
    "raised in between.",
    "raised": "Mend the exception first: the others only wait because that rank is gone.",
    "exited": "Do not leave while others still wait: let the rank return from the function, "
    "after the last call that it shares with the others.",
    "killed": "Look at the memory that this rank used: the system kills processes when there is "
    "none left.",
    "crashed": "Look at the rank's last line: a buffer that is too short, or of the wrong type, "
    "is the usual reason.",
    "slow": "Give it more time, or share the work out more evenly.",
    "incomplete": "Run fewer steps, or start the trace later.",
    "none": "",
}
