// Package redis keeps leader elections in Redis, or a compatible server such as
// Valkey: standalone, behind sentinels, or as a cluster.
//
//	backend, err := redis.Open(ctx, redis.Options{Addrs: []string{"localhost:6379"}})
//	if err != nil {
//		return err
//	}
//	defer backend.Close(context.WithoutCancel(ctx))
//	elector, err := multilock.New(backend, multilock.Options{Group: "reports"})
//	if err != nil {
//		return err
//	}
//	return elector.Run(ctx, func(ctx context.Context, term multilock.Term) error {
//		return work(ctx, term.Token)
//	})
//
// # How it works
//
// A group is one hash, KeyPrefix:{group}. Acquire, renew and resign are one Lua
// script each, which reads the server's clock, so clocks of clients do not
// matter. The hash has no time-to-live of its own and is never deleted: it holds
// the token counter, and eviction under a volatile-* policy takes only keys that
// expire. A resignation publishes a message on the channel of the same name;
// followers hear it over one connection for all groups. The server executes the
// scripts even when its memory is full (Redis 7 or newer).
//
// # What it guarantees, and what Redis cannot
//
// One leader at a time, as long as the server keeps acknowledged writes and its
// wall clock is not stepped forward by more than the margin. What is not so:
//
//   - FLUSHALL, or a deleted key, frees the group at once: the old leader may
//     believe until its next renewal, at most one heartbeat later, while another
//     leads.
//   - A restart may lose data: all of it, or what came after the last snapshot. It
//     frees nothing at once: for Grace after it a group that looks free counts as
//     led. So does a group that is new, if the server has just been started. If an
//     ACL forbids INFO, then until LASTSAVE is longer ago than Grace, or always if
//     that is forbidden too, a group without a record waits for Grace once, whatever
//     the reason, and a group whose record a snapshot brought back does not wait.
//   - Replication is asynchronous: a failover to a replica that lags loses the
//     newest writes. If that is the acquisition, two may lead until the renewal of
//     the first fails. WaitReplicas narrows this, it cannot exclude it.
//   - maxmemory-policy allkeys-* is refused as a misconfiguration where INFO tells
//     it. The first attempt at each server looks, and the first after a failure
//     there; what is refused has written nothing.
//
// In all these cases tokens still increase, since each is at least the server's
// clock in microseconds: let the resource check them.
//
// # WaitReplicas
//
// A grant or renewal then counts only if so many replicas have confirmed it. If
// they do not in time, the answer is uncertain: the same request is sent again,
// and if it never succeeds, nobody is told that it leads. Without enough replicas
// nobody leads, and who leads ceases to.
//
// # Connections
//
// Open makes three connections: calls, renewals, subscription; a fourth while a
// renewal hangs. In a cluster it is up to four for each master, since the SDK asks
// for the slots over one of its own; with sentinels each comes with two to a
// sentinel. FromClient uses your client's pool.
//
// # ACL
//
// See the error of a missing permission, or: +eval +evalsha +hmget +hset +hincrby
// +hget +exists +time +lastsave +info +publish +subscribe +unsubscribe +ping, in a
// cluster also +cluster|slots +spublish +ssubscribe +sunsubscribe, with
// WaitReplicas +wait; keys ~KeyPrefix:*, channels &KeyPrefix:*.
package redis
