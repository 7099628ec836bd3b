// Package conformance puts a backend of MultiLock through the same race and
// failover tests as every other, and quotes the promise a failing one broke.
//
// It needs nothing but the standard library and MultiLock's core, so importing
// it in a test costs one module.
//
// # Use
//
// Write one function that makes a [Harness]: a fresh namespace in a store, a way
// to open clients of it, and the powers you have over that store. Then either
// run everything as subtests,
//
//	func TestMain(m *testing.M) { conformance.Main(m, mystore.OpenURL) }
//
//	func TestConformance(t *testing.T) { conformance.Run(t, newHarness) }
//
//	func newHarness(tb conformance.TB) conformance.Harness {
//		dir := tb.TempDir()
//		return conformance.Harness{
//			Name: "mystore",
//			TTL:  2 * time.Second,
//			NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
//				d, info, err := mystore.NewDriver(mystore.Options{Dir: dir})
//				if err != nil {
//					tb.Fatalf("open: %v", err)
//				}
//				return d, info
//			},
//			URL: "mystore://" + dir,
//			Missing: map[conformance.Power]string{
//				conformance.PowerLink: "the store is a local file",
//				// ... one line for each power you do not have
//			},
//		}
//	}
//
// or let the generator write one test function for each rule, so that a failure
// names its rule: "gen conformance". Each such function is
//
//	func TestACQOneWinner(t *testing.T) { conformance.RunRule(t, "ACQ-one-winner", newHarness) }
//
// # Rules
//
// [Rules] lists them, and so does rules.txt beside this file: ID, Go name, flags
// and title, separated by tabs. The rules ACQ, REN, RES, FEN, LDR, WAK, NAM, CLS,
// BAT and CLK talk to the driver; RACE, FAIL, ELE and SIZ run electors on it; HAR
// looks at the harness itself.
//
// A rule has a time limit, checks that it leaves no goroutine behind, and runs in
// parallel with others unless it uses a power over the whole store. Rules only
// use [TB], so [Execute] also runs them inside a testing/synctest bubble.
//
// # Powers
//
// Some promises can be tested only by somebody who can cut a connection, restart
// the store or kill a process. A [Power] the harness does not have must be
// declared in [Harness.Missing] with the reason. The rules that need it are then
// reported as missing; a power that is neither given nor declared is a failure.
// Faults of single requests (delayed, repeated, executed after the sender gave
// up, reply lost) are made by the kit itself around any driver.
//
// # Report
//
// With MULTILOCK_CONFORMANCE_REPORT=path, path.json and path.txt receive what
// each rule found, how long it took, and which powers were missing and why. With
// -v the text is printed as well.
//
// # Time
//
// Bounds in time ("granted soon after", "woken") are asserted with a slack of
// max(2 s, TTL/2), so that a busy machine fails no rule. Exact figures belong to
// benchmarks. What must not happen too early is asserted exactly. A rule that
// fails while a call of the store, or a goroutine, took a good part of the TTL is
// tried again with twice the TTL, a few times; what no slowness can explain (two
// leaders, a token that does not increase, an early grant) counts at once.
package conformance
