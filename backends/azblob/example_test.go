package azblob_test

import (
	"context"
	"log"
	"os"

	azblobsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/multilock/multilock-go/backends/azblob"
)

// A client of your own.
func ExampleFromClient() {
	ctx := context.Background()
	client, err := azblobsdk.NewClientFromConnectionString(os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), nil)
	if err != nil {
		log.Fatal(err)
	}
	b, err := azblob.FromClient(client, azblob.Options{Container: "leader-election"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
}

// A client that may use one container only, which exists.
func ExampleFromContainer() {
	ctx := context.Background()
	client, err := container.NewClientWithNoCredential(os.Getenv("LEADERS_SIGNED_URL"), nil)
	if err != nil {
		log.Fatal(err)
	}
	b, err := azblob.FromContainer(client, azblob.Options{NoAutoCreate: true})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
}
