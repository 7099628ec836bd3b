package report

import "github.com/multilock/multilock-go/bench/internal/measure"

// redisTerm is what a cycle of ours is on Redis, whatever the lock's is.
const redisTerm = "a term is two scripts of four commands each: the server's clock, the record, one write, and since when the server is up or the wake-up of followers. What the server does more for it is in the column of server µs. Run in a loop, the two scripts take 12 µs more than redislock's two: about 6 to read and write the record's fields, 2 for the clock, 1 for the restart check and the wake-up, and the rest to check and format; between the requests of one client, with cold caches, it is about 34. The rest is the client's, where an elector keeps its state, publishes changes, and can give up a call that hangs; with 16 clients it is processor time that they and the server share."

// firstHandover is what makes a handover past a dead candidate slower than others.
const firstHandover = "Here each client hands over for the first time, which takes longer than later: connections and statements are not warm."

// reasons say why another library can be better. They are printed only where a
// run finds that it is. Empty fields fit anything; the first that fits counts.
var reasons = []struct{ section, store, library, text string }{
	{"cycles", "Redis", "redsync", "the lock is one SET without a script, and a script of two commands; " + redisTerm},
	{"cycles", "Redis", "redislock", "the lock is a script of one command and one of two; " + redisTerm},
	{"cycles", "Redis", "", "the lock is two scripts of two commands; " + redisTerm},
	{"cycles", "PostgreSQL", "", "resigning notifies the followers, and PostgreSQL lets one transaction with a NOTIFY commit at a time; the lock notifies nobody, and its followers wait for a whole lease."},
	{"cycles", "ZooKeeper", "", "either is two writes of the quorum, and the server works as long for one as for the other, though ours also raise the fencing token and keep who led. The rest is the client's: an elector keeps its state, publishes changes, watches its deadline, and can give up a call that hangs, which the library cannot."},
	{"cycles", "Consul", "", "taking a key and giving it back are transactions that hold only if nothing changed, so that a late duplicate cannot take a key again (TestLateTransaction), and whose answer is the fencing token; each of the lock's two writes sets one key under no such condition, and is answered with yes or no."},
	{"handover", "Redis", "rueidislock", "the message that wakes a follower is followed by a script that decides by the server's clock and raises the token; rueidislock sets one key."},
	{"handover", "Redis", "redsync", "all followers hear of a resignation, though only a few try at a time, and the server sends each of them the message; many that poll at random moments are sent nothing, and one of them soon comes by."},
	{"handover", "ZooKeeper", "", "two writes of the quorum follow each other, the resignation and the transaction of the successor, which decides among those that are alive; and all followers are told of the end, before the server takes the next write. In the recipe the order was written when its candidates queued, so that one is told, and needs one read. For that, a candidate that has died while it waited keeps its place until its session ends, and nobody leads meanwhile."},
	{"handover", "Consul", "", "there are the same three requests between the two leaders as with the lock, and no more for those that lose. But resigning and taking over are transactions that hold only if nothing changed, so that a late duplicate cannot take or free a key again (TestLateTransaction), and whose answer is the fencing token; the lock's writes set a key under no such condition and are answered with yes or no, and a token would cost it one more read. What is left is the elector's: it ends a term in order, begins one, and can give up a call that hangs."},
	{"load", "Consul", "", "a heartbeat, three in a TTL, is two requests: a renewal of the session, and a read that confirms the key. The lock renews at half of the TTL and has a long poll alone. If that is not answered any more and an operator deletes the key, another leads, and the lock goes on for as long as its session lives; our leader is told by its next heartbeat (TestKeyDeletedBehindASilentPoll). Consul has no request that does both."},
	{"load", "PostgreSQL", "", "a follower looks when the lease that it saw would have run out, 6.7 to 10 s later with a TTL of 10 s, so that it takes over at once; the lock's looks once per lease, whenever that is, and takes over up to a lease later."},
	{"load", "ZooKeeper", "", "the leader's: it shows by a write to the quorum per heartbeat that its session lives, while the lock trusts the pings of the library. A server answers those by itself, also when it is cut off from the others and they have given the lock to somebody else (backends/zookeeper: TestServerCutFromQuorum). A follower asks less often than the lock's."},
	{"dead", "Consul", "", firstHandover + " And a follower has no session yet, since one that only waits asks nothing but its long poll, while the lock's renews a session twice in a TTL. It makes one now: a write of the servers more before it can take the key, which takes about 1.5 ms."},
	{"dead", "", "", firstHandover},
	{"startup", "Redis", "", "the lock's attempt is one SET, in the goroutine that waits for it. Ours is a script of four commands, sent by a goroutine from which a call that hangs can be taken away, and an elector begins a run, a term and its renewals: with a connected client that is about half of the difference (decision 0060 tells what that is made of). The first attempt of a new client also looks at the eviction policy, at 35 µs of the server."},
	{"startup", "PostgreSQL", "", "both connect, which is most of the time, and then a new server process parses and plans its first statement, which costs it about a millisecond more than the lock's: it also skips a row that somebody has locked instead of waiting for it, decides by the server's clock, makes the token of it and keeps the record. It goes in one message with the settings of the session; there is nothing else to ask."},
	{"startup", "Consul", "", "the same requests as the lock, one after the other: a follower that starts must not write, so that the key is read before a session is made (TestStoppedFollowerLeavesNoTrace). But taking the key is a transaction that holds only if nothing changed, so that a late duplicate cannot take it again (TestLateTransaction), and whose answer is the fencing token; the lock's is answered with yes or no."},
	{"startup", "ZooKeeper", "", "both need a session and two round trips; ours reads the group and makes a transaction of two writes, one of which raises the fencing token. The rest is that an elector begins a run, a term and its renewals. A group's very first term also makes the nodes that stay."},
	{"startup", "", "", "the attempt also keeps who leads and raises the fencing token, and an elector begins a run, a term and its renewals."},
	{"takeover", "Consul", "", "the lock-delay after the end of a session is the TTL, so that nobody else leads while a leader may still believe, however its session ended (docs/decisions/0011-consul-lock-delay.md); the lock's is 15 s whatever the TTL."},
	{"takeover", "ZooKeeper", "", "a session ends a time-out after the ensemble last heard of it, in steps of its tick, which is 2 s here. When a process was last heard of before it was killed is known within the time that the table tells, and which step that comes to makes more of a difference than is measured here."},
	{"takeover", "", "", "followers wait until the lease has run out at the store and then a random part of Spread, at most 100 ms, so that they do not all come at once."},
}

func reason(r measure.Row) string {
	if r.Section == "dead" { // a planned handover too
		handover := r
		handover.Section = "handover"
		return lookup(handover) + " " + lookup(r)
	}
	return lookup(r)
}

func lookup(r measure.Row) string {
	fits := func(want, is string) bool { return want == "" || want == is }
	for _, x := range reasons {
		if fits(x.section, r.Section) && fits(x.store, r.Store) && fits(x.library, r.Library) {
			return x.text
		}
	}
	return "not explained yet."
}
