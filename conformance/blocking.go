package conformance

import (
	"context"
	"log/slog"

	multilock "github.com/multilock/multilock-go/core"
)

// blockingHandler is a slog.Handler that hangs until it is released.
type blockingHandler struct{ block chan struct{} }

func (h blockingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h blockingHandler) Handle(context.Context, slog.Record) error { <-h.block; return nil }

func (h blockingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h blockingHandler) WithGroup(string) slog.Handler { return h }

type blockingObserver struct{ block chan struct{} }

func (o blockingObserver) Observe(multilock.Observation) { <-o.block }
