package changes

import (
	"context"
	"iter"
	"time"
)

// pump moves a sequence into a channel, so that it can be waited for together
// with a timer. stop, called by the consumer, keeps the pump from blocking for
// ever; the goroutine itself ends with its source. A panic of the source is
// raised again in the consumer.
func pump[T any](seq iter.Seq[T]) (values <-chan T, stop func(), failed func() any) {
	ch, quit := make(chan T), make(chan struct{})
	var panicked any
	go func() {
		ok := false
		defer close(ch)
		defer func() {
			if !ok {
				if panicked = recover(); panicked == nil {
					panicked = errPumpExit
				}
			}
		}()
		for v := range seq {
			select {
			case ch <- v:
			case <-quit:
				ok = true
				return
			}
		}
		ok = true
	}()
	return ch, func() { close(quit) }, func() any { return panicked }
}

// Debounce yields the last element of a burst once d has passed without a further
// one, and at the end the one held back.
func Debounce[T any](seq iter.Seq[T], d time.Duration) iter.Seq[T] {
	need(seq != nil, "Debounce: nil sequence")
	need(d > 0, "Debounce: duration must be positive")
	return func(yield func(T) bool) {
		values, stop, failed := pump(seq)
		defer stop()
		timer := time.NewTimer(d)
		timer.Stop()
		defer timer.Stop()
		var last T
		held := false
		for {
			select {
			case v, ok := <-values:
				if !ok {
					if p := failed(); p != nil {
						panic(p)
					}
					if held {
						yield(last)
					}
					return
				}
				last, held = v, true
				timer.Reset(d)
			case <-timer.C:
				held = false
				if !yield(last) {
					return
				}
			}
		}
	}
}

// BufferTime yields, d after the first element of each, slices of what came in
// the meantime, and at the end one of those left over. It yields no empty slice.
func BufferTime[T any](seq iter.Seq[T], d time.Duration) iter.Seq[[]T] {
	need(seq != nil, "BufferTime: nil sequence")
	need(d > 0, "BufferTime: duration must be positive")
	return func(yield func([]T) bool) {
		values, stop, failed := pump(seq)
		defer stop()
		timer := time.NewTimer(d)
		timer.Stop()
		defer timer.Stop()
		var buf []T
		for {
			select {
			case v, ok := <-values:
				if !ok {
					if p := failed(); p != nil {
						panic(p)
					}
					if len(buf) > 0 {
						yield(buf)
					}
					return
				}
				if buf = append(buf, v); len(buf) == 1 {
					timer.Reset(d)
				}
			case <-timer.C:
				out := buf
				buf = nil
				if !yield(out) {
					return
				}
			}
		}
	}
}

// Chan moves a sequence into a channel, for select loops. The channel is closed
// when the sequence or ctx ends. It is not buffered, so a slow receiver holds back
// only itself.
func Chan[T any](ctx context.Context, seq iter.Seq[T]) <-chan T {
	need(seq != nil, "Chan: nil sequence")
	ch := make(chan T)
	go func() {
		defer close(ch)
		for v := range seq {
			select {
			case ch <- v:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch
}
