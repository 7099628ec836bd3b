package report

import "github.com/multilock/multilock-go/bench/internal/measure"

// reasons say why another library can be better. They are printed only where a
// run finds that it is. Empty fields fit anything; the first that fits counts.
var reasons = []struct{ section, store, library, text string }{
	{"cycles", "Redis", "", "a term is three or four commands in each script (the server's clock, the record, one write, the wake-up of followers) where the lock is one or two; and each call to the driver has a goroutine of its own, so that an elector can give up one that hangs, which costs the client about as much again."},
	{"cycles", "PostgreSQL", "", "resigning notifies the followers, and PostgreSQL lets one transaction with a NOTIFY commit at a time; the lock notifies nobody, and its followers wait for a whole lease."},
	{"cycles", "ZooKeeper", "", "each of a term's two transactions is two writes, one of which raises the fencing token or keeps who led, and a watch is set behind the first; the recipe creates one node, lists it and deletes it."},
	{"cycles", "Consul", "", "a term reads the record and renews its session beside the transaction that takes the key, so that what is believed holds from the first moment; the lock is one write, and believes what its session said up to half a TTL ago."},
	{"handover", "Redis", "rueidislock", "the message that wakes a follower is followed by a script that decides by the server's clock and raises the token; rueidislock sets one key."},
	{"handover", "ZooKeeper", "", "whoever is woken still has to win, by a transaction of the quorum whose number is the fencing token, and all followers are woken; in the recipe the order was written when its candidates queued, one is woken, and needs one read."},
	{"handover", "Consul", "", "an attempt reads the record, and renews its session beside the transaction that takes the key; the lock writes the key at once, from what its long poll returned."},
	{"load", "Consul", "", "a heartbeat is two requests, one for the session and one that confirms the keys: a session proves only that the process lives. The lock watches its key with a long poll and renews at half of the TTL."},
	{"load", "ZooKeeper", "", "a leader proves by a write to the quorum, and by a sync between two of its requests, that its session lives; followers have a sync in the place of each ping, a little oftener. The lock trusts the pings of the library, which a server answers by itself, and so can believe longer than the quorum."},
	{"startup", "", "", "the first attempt also makes sure that wake-ups will be heard of, and makes what the record needs; a lock asks for nothing before it has to wait."},
	{"takeover", "", "", "followers wait until the lease has run out at the store and then a random part of Spread, at most 100 ms, so that they do not all come at once."},
}

func reason(r measure.Row) string {
	fits := func(want, is string) bool { return want == "" || want == is }
	for _, x := range reasons {
		if fits(x.section, r.Section) && fits(x.store, r.Store) && fits(x.library, r.Library) {
			return x.text
		}
	}
	return "not explained yet."
}
