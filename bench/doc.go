// Command bench measures what MultiLock costs, beside what else one could use on
// the same server in the same run:
//
//	go run ./bench                 everything, about 25 minutes
//	go run ./bench -quick          smaller numbers, a few minutes
//	go run ./bench -stores redis,postgres -sections handover,cycles
//
// It starts the servers itself, on free loopback ports. A server that is not
// installed is named, with the way to install it, and the rest runs. The report
// goes to standard output; -out DIR writes it with JSON and plots, and -write
// docs/performance.md renews that document.
//
// Libraries are measured in turn, round by round, and compared round by round,
// so that what else the machine does hits all of them; the table tells the
// smallest, the median and the largest ratio.
package main
