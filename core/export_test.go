package multilock

import (
	"testing"

	"github.com/multilock/multilock-go/core/driver"
)

// For tests outside the package, which may import the packages that import it.

// NewFakeBackend returns a backend on a store of its own, and a switch that makes
// its renewals fail.
func NewFakeBackend(t testing.TB) (b *Backend, failRenewals func(error)) {
	s := newFakeStore()
	return newFake(t, s), func(err error) {
		s.set(func() { s.onRenew = func(driver.RenewRequest) error { return err } })
	}
}

// NewExampleBackend is NewFakeBackend for examples.
func NewExampleBackend() *Backend {
	b, err := NewBackend(pushing{&fakeDriver{s: newFakeStore(), done: make(chan struct{})}}, fakeInfo)
	if err != nil {
		panic(err)
	}
	return b
}
