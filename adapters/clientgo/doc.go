// Package clientgolock lets k8s.io/client-go's leader election, and so
// controller-runtime's manager, elect over any backend of MultiLock instead of a
// Kubernetes Lease: [Lock] is a resourcelock.Interface.
//
//	lock, err := clientgolock.New(backend, clientgolock.Options{
//		Group: "controller", LeaseDuration: 15*time.Second, RenewDeadline: 10*time.Second, RetryPeriod: 2*time.Second,
//	})
//	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
//		Lock: lock, LeaseDuration: 15*time.Second, RenewDeadline: 10*time.Second, RetryPeriod: 2*time.Second,
//		ReleaseOnCancel: true,
//		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: lock.Guard(work), OnStoppedLeading: exit},
//	})
//
// With controller-runtime, set LeaderElectionResourceLockInterface of the manager's
// options, with the same three durations.
//
// Use this where the program is built on client-go's election. Elsewhere
// multilock.Elector is better: it renews on its own, is woken instead of polling,
// looks at the clocks when asked who leads, and never releases under running work.
//
// # How it is kept safe
//
// client-go decides by its own timers how long it believes to lead: up to
// RetryPeriod + RenewDeadline after an answer. So:
//
//   - The store decides who leads, by its own clock, and by a random nonce held in the
//     Lock, not by the identity. Two processes with one identity do not share a lease,
//     and a process that was restarted waits for the lease of its predecessor.
//   - A success is reported only if the lease outlives all that client-go may believe
//     because of it, counted from before the request. [New] refuses durations that
//     leave no room for that.
//   - After a term is lost no new one is taken before client-go has given up the old
//     one: it would go on as if nothing had happened, with another leader in between.
//   - client-go releases the lease without waiting for the work, and after a failed
//     renewal even before it tells the work. Lock refuses such a release, and the lease
//     expires instead, unless the work is wrapped by [Lock.Guard], which ends it first,
//     or Options.ReleaseAfterWork says that it is over.
//
// What it cannot do: client-go's timers stop while a machine is suspended or a process
// is stopped, and nothing looks at the clock when they go on. Check [Lock.Term] before
// a write that cannot be undone, and send its token with it.
//
// Coordinated leader election (LeaderElectionConfig.Coordinated) is not supported.
package clientgolock
