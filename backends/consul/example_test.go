package consul_test

import (
	"context"
	"log"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
)

// A client of your own, with what it takes from the environment.
func ExampleFromClient() {
	ctx := context.Background()
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	b, err := consul.FromClient(client, consul.Options{KeyPrefix: "myapp/leaders"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
}
