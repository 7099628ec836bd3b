// Package file elects leaders among the processes of one host, through files in
// a directory they share. It needs no server.
//
//	b, err := file.Open(ctx, file.Options{Directory: "/var/lib/myapp/leader"})
//
// # What it gives
//
//   - A leader that dies, however it dies, is replaced at once: the kernel drops
//     its lock and tells the followers, whatever the TTL.
//   - A leader that is stopped (SIGSTOP, a debugger, a stalled disk) is replaced
//     when its TTL has run out, and finds itself deposed when it goes on.
//   - A process that is stopped in the middle of an operation blocks nobody:
//     there is no lock that anybody waits for.
//   - Tokens increase across resign, crash and reboot.
//
// # One host
//
// All participants run under one kernel. Containers may share the directory by
// a bind mount or a volume; virtual machines and other hosts may not.
// Network, cluster and FUSE file systems are refused, unless
// [Options.AllowNetworkFS] insists: flock, link and cached reads do not have the
// same meaning there, and then only the fencing token protects the resource.
//
// The directory must not be one that is cleaned by age (/tmp, /var/tmp): a
// cleaner that unlinks records takes the lease from its holder.
//
// # How it works
//
// A term is one file, a generation: <group directory>/<number>. It is written
// and fsynced under another name and then hard-linked to the number after the
// highest one, which only one process can do. Afterwards only its owner writes
// it: a renewal is one small write into the older of two slots. The highest
// generation is never unlinked. See lease.go for the rules and why they hold,
// and record.go for the format.
//
// Liveness is a lock file per Backend, held locked with flock (LockFileEx on
// Windows) and named in each record; a free lock means that the owner is gone.
//
// Time is a clock that counts suspend (CLOCK_BOOTTIME). Every record names the
// clock it was written by (the boot and, on Linux, the time namespace). If that
// is not the reader's clock, neither the expiry in the record nor a free lock
// says anything: such a record, and one that is torn or unknown, is taken over
// only after it has not changed for a whole TTL of the reader's own clock. So
// the first takeover after a reboot takes one TTL.
//
// # Platforms
//
// Linux is notified by inotify. macOS and Windows look at the records of the
// watched groups every 100 ms instead. Other systems are refused.
package file
