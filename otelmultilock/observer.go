package otelmultilock

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	multilock "github.com/multilock/multilock-go/core"
)

// scope is the name of the instrumentation.
const scope = "github.com/multilock/multilock-go/otelmultilock"

// Option is an option of New.
type Option func(*options)

type options struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
}

// WithMeterProvider sets the provider of metrics; the default is the global one.
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithTracerProvider sets the provider of spans; the default is the global one.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// Observer is a multilock.Observer. Its methods may be called concurrently.
type Observer struct {
	tracer                                       trace.Tracer
	changes, attempts                            metric.Int64Counter
	term, acquire, renew, left, resign, handover metric.Float64Histogram

	mu    sync.Mutex
	state map[key]*state
	reg   metric.Registration
}

// key is one elector as far as metrics can tell.
type key struct{ backend, group, participant string }

// state is what the gauges show.
type state struct {
	token    uint64 // 0 without a term
	since    time.Time
	stepDown time.Time // when a planned end was told, until its resignation
}

var _ multilock.Observer = (*Observer)(nil)

// New makes an observer and registers its instruments.
func New(opts ...Option) (*Observer, error) {
	o := options{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, f := range opts {
		f(&o)
	}
	m := o.meters.Meter(scope)
	x := &Observer{tracer: o.tracers.Tracer(scope), state: make(map[key]*state)}
	var errs []error
	counter := func(name, text string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithDescription(text))
		errs = append(errs, err)
		return c
	}
	seconds := func(name, text string, bounds ...float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithDescription(text), metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	fast := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	slow := []float64{.1, .5, 1, 2, 4, 6, 8, 10, 12, 15, 30, 60}
	long := []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600}
	x.changes = counter(MetricChanges, "Transitions of electors by kind and cause.")
	x.attempts = counter(MetricAttempts, "Attempts to acquire by outcome.")
	x.term = seconds(MetricTerm, "How long terms lasted.", long...)
	x.acquire = seconds(MetricAcquire, "Time until an attempt was answered.", fast...)
	x.renew = seconds(MetricRenew, "Time until a renewal was answered.", fast...)
	x.left = seconds(MetricLeft, "Time left until the deadline when a renewal was answered.", slow...)
	x.resign = seconds(MetricResign, "Time until a resignation was answered.", fast...)
	x.handover = seconds(MetricHandover, "From stepping down to the confirmed resignation, the drain of the work included.", fast...)
	leader, err := m.Int64ObservableGauge(MetricLeader, metric.WithDescription("1 while this process leads the group, else 0."))
	errs = append(errs, err)
	token, err := m.Int64ObservableGauge(MetricToken, metric.WithDescription("Fencing token of the current term, 0 without one."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	x.reg, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		x.mu.Lock()
		defer x.mu.Unlock()
		// Two electors of one group in this process are one series: the one that leads.
		tokens := make(map[key]uint64, len(x.state))
		for k, s := range x.state {
			k.participant = ""
			tokens[k] = max(tokens[k], s.token)
		}
		for k, highest := range tokens {
			leads := int64(0)
			if highest != 0 {
				leads = 1
			}
			attrs := metric.WithAttributes(attribute.String(AttrBackend, k.backend), attribute.String(AttrGroup, k.group))
			o.ObserveInt64(leader, leads, attrs)
			o.ObserveInt64(token, int64(highest), attrs)
		}
		return nil
	}, leader, token)
	return x, err
}

// Close unregisters the gauges.
func (x *Observer) Close() error { return x.reg.Unregister() }

// Observe implements multilock.Observer.
func (x *Observer) Observe(o multilock.Observation) {
	ctx := context.Background()
	base := []attribute.KeyValue{attribute.String(AttrBackend, o.Backend), attribute.String(AttrGroup, o.Group)}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributes(append(base[:len(base):len(base)], more...)...)
	}
	outcome := attribute.String(AttrOutcome, outcomeOf(o))
	switch o.Op {
	case "acquire":
		x.attempts.Add(ctx, 1, with(outcome))
		x.acquire.Record(ctx, o.Duration.Seconds(), with(outcome))
	case "renew":
		x.renew.Record(ctx, o.Duration.Seconds(), with(outcome))
		x.left.Record(ctx, o.Left.Seconds(), with(outcome))
	case "resign":
		x.resign.Record(ctx, o.Duration.Seconds(), with(outcome))
		x.resigned(ctx, o, with())
	case "change":
		x.changed(ctx, o, with)
		return
	}
	_, span := x.tracer.Start(ctx, "multilock."+o.Op, trace.WithTimestamp(o.Start), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(append(base, outcome, attribute.Int64(AttrToken, int64(o.Token)))...))
	var held *multilock.HeldError
	if o.Err != nil && !errors.As(o.Err, &held) { // that another leads is an answer, not an error
		span.RecordError(o.Err)
		span.SetStatus(codes.Error, o.Err.Error())
	}
	span.End(trace.WithTimestamp(o.Start.Add(o.Duration)))
}

// changed follows the transitions of an elector.
func (x *Observer) changed(ctx context.Context, o multilock.Observation, with func(...attribute.KeyValue) metric.MeasurementOption) {
	c := o.Change
	x.changes.Add(ctx, 1, with(attribute.String(AttrKind, c.Kind.String()), attribute.String(AttrCause, Cause(c.Cause))))
	k := key{o.Backend, o.Group, o.Participant}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.state[k]
	if s == nil {
		s = &state{}
		x.state[k] = s
	}
	switch c.Kind {
	case multilock.Acquired:
		s.token, s.since = c.Term.Token, c.At
	case multilock.Lost:
		if !s.since.IsZero() {
			x.term.Record(ctx, c.At.Sub(s.since).Seconds(), with(attribute.String(AttrCause, Cause(c.Cause))))
		}
		s.token, s.since = 0, time.Time{}
		if !errors.Is(c.Cause, multilock.ErrLost) {
			s.stepDown = c.At
		}
	case multilock.Stopped:
		delete(x.state, k)
	}
}

// resigned ends a planned handover.
func (x *Observer) resigned(ctx context.Context, o multilock.Observation, attrs metric.MeasurementOption) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.state[key{o.Backend, o.Group, o.Participant}]
	if s == nil || s.stepDown.IsZero() || o.Err != nil {
		return
	}
	x.handover.Record(ctx, o.Start.Add(o.Duration).Sub(s.stepDown).Seconds(), attrs)
	s.stepDown = time.Time{}
}

func outcomeOf(o multilock.Observation) string {
	var held *multilock.HeldError
	switch {
	case o.Err == nil && o.Op == "acquire":
		return "won"
	case o.Err == nil:
		return "ok"
	case errors.As(o.Err, &held):
		return "held"
	case errors.Is(o.Err, multilock.ErrLost):
		return "lost"
	case errors.Is(o.Err, multilock.ErrMisconfigured):
		return "misconfigured"
	}
	return "uncertain"
}

// Cause is the value of AttrCause for the cause of a change: one of few words, so
// that it can be a label.
func Cause(err error) string {
	for _, c := range []struct {
		is   error
		word string
	}{
		{multilock.ErrDrainTimeout, "drain_timeout"}, {multilock.ErrExpired, "expired"}, {multilock.ErrClock, "clock"},
		{multilock.ErrLost, "lost"}, {multilock.ErrStopped, "stopped"}, {multilock.ErrResigned, "resigned"},
		{multilock.ErrWorkDone, "work_done"}, {multilock.ErrClosed, "closed"}, {multilock.ErrMisconfigured, "misconfigured"},
		{context.Canceled, "stopped"}, {context.DeadlineExceeded, "stopped"},
	} {
		if errors.Is(err, c.is) {
			return c.word
		}
	}
	if err == nil {
		return "none"
	}
	return "other"
}
