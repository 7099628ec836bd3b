// Package certmagiclock gives github.com/caddyserver/certmagic locks over any backend
// of MultiLock, so that of several instances one obtains or renews a certificate. The
// certificates stay in a certmagic.Storage of yours that all instances share:
//
//	storage, err := certmagiclock.New(shared, backend, certmagiclock.Options{})
//	certmagic.Default.Storage = storage
//
// A lock is one term of a group of its own. It is kept alive for as long as it is
// held, ends with its time-to-live if the process dies, and waiting instances are
// woken where the store can push. certmagic does not ask for a fencing token, and an
// operation that it has begun goes on if the lock is lost meanwhile; it looks for a
// finished certificate after it has got a lock, so that costs a request to the
// certificate authority and no more.
package certmagiclock
