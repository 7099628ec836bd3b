package file

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	multilock "github.com/multilock/multilock-go/core"
)

func TestURL(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the paths below are not Windows paths")
	}
	for raw, want := range map[string]Options{
		"file:///var/lib/app":                                           {Directory: "/var/lib/app"},
		"file:/var/lib/app":                                             {Directory: "/var/lib/app"},
		"file://localhost/var/lib/app":                                  {Directory: "/var/lib/app"},
		"file:///with%20space/a%3Fb":                                    {Directory: "/with space/a?b"},
		"file:///d?multilock.extension=.x":                              {Directory: "/d", Extension: ".x"},
		"file:///d?multilock.no_auto_create=true":                       {Directory: "/d", NoAutoCreate: true},
		"file:///d?multilock.allow_network_fs=1&multilock.extension=.y": {Directory: "/d", AllowNetworkFS: true, Extension: ".y"},
	} {
		got, err := ParseURL(raw)
		if err != nil || got != want {
			t.Errorf("%s → %+v, %v; want %+v", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"file://", "file:///", "file:relative/path", "file://relative/path", "file://user:secret@host/d", "file:///d?extension=.x",
		"file:///d?multilock.directory=/e", "file:///d?multilock.extension=x", "file:///d?multilock.extension=.X/..", "file:///a%00b", "redis:///d",
	} {
		if got, err := ParseURL(raw); !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%s → %+v, %v; want a fault", raw, got, err)
		}
	}
}

func TestTargetIsAbsolute(t *testing.T) {
	_, info, err := NewDriver(Options{Directory: "relative"})
	if err != nil || !filepath.IsAbs(info.Target) {
		t.Errorf("target %q, %v", info.Target, err)
	}
}
