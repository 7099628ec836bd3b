//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
)

// machine describes where the run takes place, as far as the system tells.
func machine(ctx context.Context) measure.Machine {
	m := measure.Machine{
		OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: "unknown model", CPUs: runtime.NumCPU(), Memory: "unknown memory",
		Go: runtime.Version(), Commit: commit(ctx), LoadBefore: loadAverage(),
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.OS += " " + strings.TrimSpace(string(release))
	}
	if v := line("/proc/cpuinfo", "model name"); v != "" {
		m.CPU = v
	}
	if v := line("/proc/meminfo", "MemTotal"); v != "" {
		m.Memory = v
	}
	return m
}

// line is what follows the colon of the first line that begins with name.
func line(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(text))
	if err != nil || len(f) < 3 {
		return "unknown"
	}
	return strings.Join(f[:3], " ")
}

// commit is that of the working directory, marked if it is not all there is.
func commit(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
