package file_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/multilock/multilock-go/backends/file"
	multilock "github.com/multilock/multilock-go/core"
)

func Example() {
	dir, err := os.MkdirTemp("", "leaders") // a real one is not in a temporary directory
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	b, err := file.Open(ctx, file.Options{Directory: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "nightly"})
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		fmt.Println("leading", term.Group)
		return nil // resigns
	})
	fmt.Println(err)
	// Output:
	// leading nightly
	// <nil>
}
