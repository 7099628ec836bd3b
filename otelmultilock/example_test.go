package otelmultilock_test

import (
	"context"
	"fmt"
	"log"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/otelmultilock"
)

// One observer for all electors of a process, with the global providers.
func Example() {
	var backend *multilock.Backend // redis.Open(...)
	observer, err := otelmultilock.New()
	if err != nil {
		log.Fatal(err)
	}
	e, err := multilock.New(backend, multilock.Options{Group: "billing", Observer: observer})
	if err != nil {
		log.Fatal(err)
	}
	log.Print(e.Start(context.Background()))
}

// Providers of your own.
func ExampleNew() {
	observer, err := otelmultilock.New(
		otelmultilock.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelmultilock.WithTracerProvider(tracenoop.NewTracerProvider()),
	)
	fmt.Println(observer != nil, err)
	// Output: true <nil>
}

// The word for a cause in the attribute multilock.cause, for metrics of your own.
func ExampleCause() {
	fmt.Println(otelmultilock.Cause(multilock.ErrExpired), otelmultilock.Cause(multilock.ErrResigned))
	// Output: expired resigned
}
