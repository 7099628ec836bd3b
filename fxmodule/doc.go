// Package fxmodule wires MultiLock into applications built with go.uber.org/fx.
//
//	fx.New(
//		fxmodule.AddLeaderElection(redis.Open, redis.Options{Addrs: []string{"localhost:6379"}}, multilock.Options{Group: "reports"}),
//		fxmodule.WhileLeader((*Reporter).Run),
//		fx.Provide(NewReporter),
//	)
//
// [AddLeaderElection] opens a backend and takes part in one election.
// [WhileLeader] runs a function, or the method of a component, only while leading.
//
// # What is provided
//
// *[multilock.Backend], *[multilock.Elector], *[Election] (the handle that
// WhileLeader hangs on), [Leadership] (an interface that tests can fake), and the
// elector once more in the value group "multilock.electors", for health checks and
// metrics of all of them. An optional *slog.Logger and the optional
// multilock.Observer values of the group "multilock.observers" are taken from the
// container, unless Options has its own.
//
// # Several elections
//
// One backend, several elections: [Backend] or [BackendFrom] once, [AddElection]
// for each, told apart by [Name]. That is the normal case, with one connection and
// one renew loop. Several backends are named as well, and elections say [OnBackend].
//
// # Start and stop
//
// Elections start in OnStart, after everything the works depend on, without
// waiting for leadership; a misconfiguration that the store's first answer shows
// fails the start, an unreachable store does not. They stop in OnStop before
// anything the works depend on: the works are cancelled and drain under a live
// lease, then it is resigned, and the backend is closed after the last of them.
// All of it shares fx.StopTimeout, 15 s by default; an election keeps a quarter of
// what is left, at most 2 s, for what has to be stopped after it.
//
// Options.ManualStart leaves the start to the application: call Start or Run of
// the elector.
package fxmodule
