//go:build unix

package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/multilock/multilock-go/testservers/proc"
)

const install = "apt-get install postgresql pgbouncer, or set MULTILOCK_TEST_POSTGRES_URL"

// credential is whom the server runs as: nil means the user of the test.
func credential(tb proc.TB) *syscall.Credential {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	tb.Fatalf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
	return nil
}

// tempDir is a directory that the server's user can reach: that of the test
// below a directory only root can enter would not do.
func tempDir(tb proc.TB, c *syscall.Credential) string {
	tb.Helper()
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		tb.Fatalf("temporary directory: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			tb.Fatalf("temporary directory: %v", err)
		}
	}
	return dir
}

const prefix = "multilock-postgres-"

// sweep removes what test processes left behind that ended without a chance to
// clean up.
func sweep() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*")) // the pattern is right
	for _, dir := range old {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = os.RemoveAll(dir)
		}
	}
}

// write makes a file that the server's user can read.
func write(tb proc.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatalf("%v", err)
	}
}

// program finds one of PostgreSQL's own programs: Debian keeps them, one
// directory per version, outside PATH. The newest version wins.
func program(tb proc.TB, name string) string {
	tb.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is right
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return proc.Look(tb, name, install, found...)
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // 0 is as good as any
	return n
}

// run runs a program as the server's user to its end.
func run(tb proc.TB, c *syscall.Credential, dir, path string, args ...string) {
	tb.Helper()
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c}
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", filepath.Base(path), err, out)
	}
}
