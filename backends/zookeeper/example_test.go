package zookeeper_test

import (
	"context"
	"log"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/multilock/multilock-go/backends/zookeeper"
)

// A connection of your own. Its hook tells the backend what the client keeps to
// itself: when the server was heard last, and when the session is over.
func ExampleFromConn() {
	ctx := context.Background()
	hook := zookeeper.NewHook(nil, nil) // or your own dialer and event callback
	conn, _, err := zk.Connect([]string{"zk-1:2181", "zk-2:2181", "zk-3:2181"}, 15*time.Second,
		zk.WithDialer(hook.Dial), zk.WithEventCallback(hook.Event))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	b, err := zookeeper.FromConn(conn, hook, zookeeper.Options{SessionTimeout: 15 * time.Second, RootPath: "/myapp/leaders"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx) // before the connection
}
