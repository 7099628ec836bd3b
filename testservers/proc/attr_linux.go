package proc

import "syscall"

// attr makes the child die with the test process. Its own process group keeps
// an interrupt at the terminal from reaching it before the test's clean-up.
func attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
