//go:build unix

package conformance

import "syscall"

const canStop = true

var (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)
