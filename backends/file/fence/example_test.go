package fence_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/multilock/multilock-go/backends/file/fence"
)

// A file that only the leader writes. A leader that is over is refused, even if it
// was stopped in the middle and does not know yet.
func Example() {
	dir, err := os.MkdirTemp("", "fence") // a real one is where the resource is
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	guard, err := fence.Open(filepath.Join(dir, "state.fence"))
	if err != nil {
		log.Fatal(err)
	}
	write := func(token uint64) error { // term.Token
		return guard.Do(context.Background(), token, func() error {
			return os.WriteFile(filepath.Join(dir, "state"), fmt.Appendf(nil, "written by term %d", token), 0o600)
		})
	}
	fmt.Println(write(8))
	fmt.Println(errors.Is(write(7), fence.ErrStale))
	fmt.Println(guard.Highest(context.Background()))
	// Output:
	// <nil>
	// true
	// 8 <nil>
}
