package conformance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	multilock "github.com/multilock/multilock-go/core"
)

// OpenURL opens the store of a URL; every backend exports one.
type OpenURL func(ctx context.Context, url string) (*multilock.Backend, error)

var (
	// underMain says that Main runs the tests and will write the report.
	underMain atomic.Bool
	// mainCalled tells the rules that a child process of this test binary would
	// know what it is.
	mainCalled atomic.Bool
)

// Main runs the tests of a package, then after (a shared server's Close, say), and
// writes the report. Call it from TestMain. In a child process of the kit it runs no tests: it takes part in an
// election on the store that open opens, as its parent tells it to, so that rules
// can kill and stop real processes. open may be nil if PowerProcess is declared
// missing. Unless -parallel is given, Main lets some more rules run at one time
// than there are processors. When all tests were to run, each harness must have
// met every rule: entry tests that a newer kit has outgrown fail.
func Main(m *testing.M, open OpenURL, after ...func()) { os.Exit(mainCode(m, open, true, after)) }

// mainCode is Main without the exit; whole says that rules and harnesses are to
// be complete.
func mainCode(m *testing.M, open OpenURL, whole bool, after []func()) int {
	if spec := os.Getenv(childEnv); spec != "" {
		return childMain(spec, open)
	}
	underMain.Store(true)
	mainCalled.Store(open != nil)
	moreAtOnce()
	code := m.Run()
	for _, f := range after {
		f()
	}
	if whole && code == 0 && everything() {
		for _, l := range untried(resultsSoFar()) {
			fmt.Fprintln(os.Stderr, "conformance:", l)
			code = 1
		}
	}
	say := func(string, ...any) {}
	if testing.Verbose() {
		say = func(format string, args ...any) { fmt.Printf(format, args...) }
	}
	if err := writeReport(say); err != nil {
		fmt.Fprintln(os.Stderr, "conformance: the report cannot be written:", err)
		code = max(code, 1)
	}
	return code
}

// parallel is how many rules run at one time unless -parallel says otherwise:
// rules mostly wait.
const parallel = 6

func moreAtOnce() {
	if !flag.Parsed() {
		flag.Parse()
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.GOMAXPROCS(0) < parallel {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel)) // a number is valid
	}
}

// everything reports whether the command line asks for all tests.
func everything() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f == nil || f.Value.String() != "" {
			return false
		}
	}
	count := flag.Lookup("test.count")
	return count != nil && count.Value.String() != "0"
}
