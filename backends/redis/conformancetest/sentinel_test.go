package conformancetest

import (
	"errors"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
)

func sentinels(r *server.Replicated) redis.Options {
	return redis.Options{Addrs: r.SentinelAddrs(), SentinelMaster: server.MasterName}
}

// TestSentinelFailover shows what a failover keeps and what it loses: a term whose
// write the replica had goes on; one that it had not is gone, another leads, the
// old leader learns of it at its next renewal, and the tokens still increase.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	r := server.StartReplicated(t, server.Options{})
	d := open(t, sentinels(r))
	sink, sub := watchOn(t, d)
	kept := request(newGroup(), "a")
	kept.TTL = time.Minute
	keptTerm := acquire(t, d, kept)
	if err := sub.Add(patience(t), kept.Group); err != nil {
		t.Fatal(err)
	}
	if n := r.Master.Do("WAIT", "1", "10000"); n != "1" {
		t.Fatal("the replica does not follow")
	}
	r.Link.Blackhole(proxy.BothWays) // from now on writes are acknowledged, but not replicated
	lost := request(newGroup(), "a")
	lost.TTL = time.Minute
	lostTerm := acquire(t, d, lost)
	r.Master.Kill()
	r.WaitPromoted()

	var err error
	eventually(t, "the new master answers", func() bool {
		_, err = renewOne(t, d, keptTerm, time.Minute)
		return err == nil || errors.Is(err, driver.ErrLost)
	})
	if err != nil {
		t.Fatalf("Renew of a replicated term: %v", err)
	}
	sink.woken(t, kept.Group, 1)

	other := request(lost.Group, "b")
	second := acquire(t, d, other)
	if _, err := renewOne(t, d, lostTerm, time.Minute); err != driver.ErrLost {
		t.Errorf("Renew of a term the failover lost: %v", err)
	}
	if second.Token <= lostTerm.Token {
		t.Errorf("token %d after %d", second.Token, lostTerm.Token)
	}
	n := sink.count(kept.Group)
	if err := d.Resign(patience(t), keptTerm); err != nil {
		t.Fatal(err)
	}
	sink.woken(t, kept.Group, n+1)
}

// TestSentinelFailoverWithWaitReplicas: with WaitReplicas the write that the
// failover would lose was never granted.
func TestSentinelFailoverWithWaitReplicas(t *testing.T) {
	t.Parallel()
	r := server.StartReplicated(t, server.Options{})
	o := sentinels(r)
	o.WaitReplicas = 1
	d := open(t, o)
	if err := d.Resign(patience(t), acquire(t, d, request(newGroup(), "a"))); err != nil {
		t.Fatal(err)
	}
	r.Link.Blackhole(proxy.BothWays)
	if _, err := d.Acquire(patience(t), request(newGroup(), "a")); err == nil {
		t.Error("granted while the replica hears nothing")
	}
}

func TestSentinelUnknownMaster(t *testing.T) {
	t.Parallel()
	r := server.StartReplicated(t, server.Options{})
	o := sentinels(r)
	o.SentinelMaster = "another"
	d := open(t, o)
	_, err := d.Acquire(patience(t), request(newGroup(), "a"))
	want(t, "a master the sentinels do not know", err, driver.ErrMisconfigured)
}
