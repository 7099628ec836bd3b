// Package zookeeper is MultiLock's backend for Apache ZooKeeper, over
// github.com/go-zookeeper/zk.
//
//	b, err := zookeeper.Open(ctx, zookeeper.Options{Servers: []string{"zk1:2181", "zk2:2181", "zk3:2181"}})
//	e, err := multilock.New(b, multilock.Options{Group: "nightly"})
//
// A backend has one session and one connection for all groups. To lead is to own
// the ephemeral node RootPath/<group>/lock; it is created by one transaction,
// whose id is the fencing token. Followers watch that node, so they hear within
// milliseconds of a resignation, and of a crash as soon as the session expires.
// There is no queue of candidates: the first transaction after an end wins. Who has
// seen the record of a term knows what its resignation leaves behind, so a
// follower's transaction needs no read before it; who has lost such a race waits
// for a random part of 10 ms next time, and looks first.
//
// # Time-outs
//
// The TTL of every elector is the session time-out, [Options.SessionTimeout]. The
// servers bound it, by default to 2 to 20 times their tickTime; a session that was
// granted another time-out than the one asked for is a misconfiguration. Tell the
// ensemble's tickTime in [Options.Tick]: a client cannot ask for it. Session
// time-outs below four ticks are refused.
//
// # What a term is believed on
//
// A server answers pings and reads by itself, even while it is cut off from the
// ensemble and the others let the session expire. So a renewal is a write, decided
// by the ensemble: one for all terms of the process, to a node of the session's
// own. But even a confirmed write does not prolong the session by itself. Servers
// report which clients they have heard from with their answers to the pings of
// the ensemble's leader, which come twice per tick. So belief hangs on three
// requests over one connection:
//
//   - a first request was answered, so our server had heard from us;
//   - a second one, a write or a sync that was sent a tick later, was answered: that
//     answer came from the leader behind a ping, so our server had reported us
//     before it arrived;
//   - a write sent after that reaches the leader behind the report. Once it is
//     confirmed, the leader is known to have counted the session's time-out from
//     the first request on, or from later.
//
// To open a session, or to take it up over a new connection, is such a proof by
// itself. What Acquire and Renew grant is the session time-out less the age of the
// proof they built on. That age is what the backend declares as shortening: 41 in a
// hundred parts of the time-out, or two ticks and a fifteenth of it if that is more.
// Within it fit three heartbeats, so that the writes of a leader are the requests of
// its proofs, and it sends nothing else. Only where they are rarer, or a little more
// often than a tick apart, does the driver send a sync before the proof is too old.
// Electors take all this into account by themselves; with 15 s and a tick of 2 s a
// term is believed for at least 7.85 s after a renewal, and renewed every 2.6 s.
//
// A session without terms needs no proof until it wins one. It sends a sync when it
// has asked nothing for 48 hundredths of the time-out, in the place of the library's
// pings, which come oftener. So an attempt finds a proof that is young enough, or a
// request that one sync makes a proof of.
//
// A record that is removed or replaced under a leader ends its term within a
// heartbeat, mostly at once: the server sends the event of a watch before the
// answer to a later write, and after each reconnect the record is read. Deleting a
// lock node by hand frees the group without any delay, though, while its holder
// may believe for a moment longer; to make a leader step down, ask its elector.
//
// # One session, many terms
//
// The session proves only that the process lives. Which term a lock node belongs
// to is told by the nonce in it, and a nonce that no elector has made good for a
// whole session time-out is removed: an attempt that was given up before its
// answer came, a term whose work did not return in time.
//
// # The client library
//
// go-zookeeper is steady, but quiet, and leaves four things to its users. Its
// calls know no context: they run on goroutines of their own, which are abandoned
// when the context ends, and claims keep track of what they may still bring about.
// It drops events when its channel is full: the driver listens to its callback,
// which is never skipped. It tells neither the granted time-out nor when a
// connection was opened, and it keeps waiting on a connection that has gone
// silent: a [Hook] around its dialer reads the time-out from the first answer and
// closes such a connection after a third of the time left, upon which the library
// opens another one for the same session. When the session's time-out passes
// without any answer, the Hook holds back new connections until the session has
// surely expired: otherwise, where requests arrive and answers are lost, attempts
// to reconnect would keep a leaderless group locked for ever. We would replace the
// library if a server spoke a protocol it does not, or if one of these bypasses
// stopped working in a new version; the tests would tell.
//
// The library has no log of ours to write to, so its own is switched off; every
// fault is returned by the call it concerns.
//
// # What is not promised
//
// Tokens are transaction ids. An ensemble that lost its data, or was restored from
// a copy, begins again with smaller ones. A record that somebody else edits or
// deletes, and a clock far outside the margin, are the limits of every backend.
package zookeeper
