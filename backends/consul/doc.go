// Package consul keeps MultiLock's terms in Consul.
//
// A group is one key below [Options.KeyPrefix], locked by a session while a term
// is live. All groups of a process share one session for each time-to-live. The
// session proves only that the process is alive; a term is owned by (session,
// nonce), and its key is confirmed with every renewal.
//
// The fencing token is the Raft index of the transaction that acquired the key.
// It grows with every write to the cluster and survives resignation, expiry and
// deletion of the key. Restoring an older snapshot, or moving to a new cluster,
// can set it back.
//
// # After a crash
//
// Consul ends a session at the earliest one and at the latest about two
// times-to-live after its last renewal, and then refuses the key for the
// lock-delay. The lock-delay defaults to the time-to-live, because a session can
// also be destroyed, or its node deregistered, in the moment after a renewal,
// while its leader goes on believing for the time-to-live less the margin; only
// the lock-delay keeps a second leader away then, and the margin is left for
// clocks that do not run alike. The worst case is therefore three times-to-live;
// see multilock.Elector.WorstCaseFailover. A planned handover pays none of it:
// the key is released before the session ends.
//
// The lock-delay lives in the memory of each Consul server and counts by its own
// clock. It does not survive the restart of the whole cluster from a snapshot.
//
// # Many followed groups
//
// Followers beyond [Options.MaxWatches] groups hear of resignations by doorbell
// keys. They make those that are missing, and whoever resigns rings those that are
// there.
//
// # What others may do to it
//
// An operator who deletes the key frees it at once, without lock-delay. The
// leader notices by its long poll, and with its next heartbeat at the latest.
// Until then two leaders are possible, and only the token tells them apart.
//
// # Environment
//
// Where Options leave Token, Namespace or Partition empty, Consul's own client
// library reads CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH,
// CONSUL_NAMESPACE and CONSUL_PARTITION.
//
// Consul 1.14 or newer is needed.
package consul
