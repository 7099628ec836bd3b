package conformance

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel end a child, even a stopped one, whose test
// process was killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
