package certmagiclock_test

import (
	"context"
	"log"

	"github.com/caddyserver/certmagic"

	certmagiclock "github.com/multilock/multilock-go/adapters/certmagic"
	multilock "github.com/multilock/multilock-go/core"
)

// Certificates on a file system that all instances share, locks over a backend.
func Example() {
	var backend *multilock.Backend // of any store
	storage, err := certmagiclock.New(&certmagic.FileStorage{Path: "/mnt/certificates"}, backend, certmagiclock.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close(context.Background())
	certmagic.Default.Storage = storage
	log.Fatal(certmagic.ManageSync(context.Background(), []string{"example.com"}))
}
