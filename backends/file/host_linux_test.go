package file

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multilock/multilock-go/core/driver"
)

// TestNetworkFileSystem: a directory on a file system of the list is refused,
// also one that does not exist yet, unless it is forced.
func TestNetworkFileSystem(t *testing.T) {
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(remoteFileSystems)
	t.Cleanup(func() { remoteFileSystems = before })
	remoteFileSystems = map[uint32]string{uint32(st.Type): "nfs"}
	for _, path := range []string{dir, filepath.Join(dir, "not", "yet")} {
		d := open(t, Options{Directory: path})
		_, err := d.Acquire(t.Context(), request("g", "a", time.Minute))
		if !errors.Is(err, driver.ErrMisconfigured) || !errors.Is(err, errNetwork) || !strings.Contains(err.Error(), "nfs") {
			t.Errorf("acquire: %v", err)
		}
		if _, err := os.Stat(filepath.Join(path, ownersDirectory)); err == nil {
			t.Error("it was written to all the same")
		}
		acquire(t, open(t, Options{Directory: path, AllowNetworkFS: true}), request("g", "a", time.Minute))
	}
}

func TestClockIdentity(t *testing.T) {
	one, err := clockIdentity()
	if err != nil {
		t.Fatal(err)
	}
	two, err := clockIdentity()
	if err != nil || one != two || strings.HasPrefix(one, "private/") || !strings.HasPrefix(one, "linux/") {
		t.Errorf("clocks %q and %q, %v", one, two, err)
	}
	if a, b := privateClock(), privateClock(); a == b {
		t.Error("two private clocks share a name")
	}
}
