// Package proc runs the servers that tests need as child processes: it finds
// free loopback ports, waits until a server answers, stops, freezes, kills and
// restarts it, shows the end of its log when a test fails, and takes it down
// with the test, even if the test process is killed.
package proc
