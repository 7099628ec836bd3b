// Package oteltest has the tests of otelmultilock with the OpenTelemetry SDK, its
// Prometheus exporter and a real Prometheus.
package oteltest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/otelmultilock"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

func open(t *testing.T, store *memory.Store) *multilock.Backend {
	t.Helper()
	b, err := memory.Open(t.Context(), memory.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func elector(t *testing.T, b *multilock.Backend, group string, obs multilock.Observer) *multilock.Elector {
	t.Helper()
	e, err := multilock.New(b, multilock.Options{Group: group, HeartbeatTimeout: 600 * time.Millisecond, Observer: obs})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func start(t *testing.T, e *multilock.Elector) {
	t.Helper()
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// everything makes an elector do all there is a metric for: it is refused, wins, is
// renewed, loses its record, wins again and resigns.
func everything(t *testing.T, obs multilock.Observer) {
	t.Helper()
	store := memory.NewStore()
	b := open(t, store)
	other := elector(t, open(t, store), "g", nil)
	start(t, other)
	eventually(t, "the other leads", other.IsLeader)
	e := elector(t, b, "g", obs)
	start(t, e)
	if err := other.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "leads", e.IsLeader)
	first, _ := e.Term()
	store.Remove("g")
	eventually(t, "leads anew", func() bool { term, ok := e.Term(); return ok && term != first })
	renewed := b.Stats().Renewals
	eventually(t, "is renewed", func() bool { return b.Stats().Renewals > renewed+1 })
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// metrics are what a reader collects: the attributes of each point, by metric.
func metrics(t *testing.T, r metric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]metricdata.Metrics{}
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			out[m.Name] = m
		}
	}
	return out
}

func attributes(m metricdata.Metrics) (sets []attribute.Set) {
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	}
	return sets
}

// gauge returns the value of a gauge for a group, false without one.
func gauge(m metricdata.Metrics, group string) (int64, bool) {
	d, ok := m.Data.(metricdata.Gauge[int64])
	if !ok {
		return 0, false
	}
	for _, p := range d.DataPoints {
		if v, _ := p.Attributes.Value(otelmultilock.AttrGroup); v.AsString() == group {
			return p.Value, true
		}
	}
	return 0, false
}

func TestEveryMetricHasItsAttributes(t *testing.T) {
	reader := metric.NewManualReader()
	obs, err := otelmultilock.New(otelmultilock.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	if err != nil {
		t.Fatal(err)
	}
	everything(t, obs)
	keep := elector(t, open(t, memory.NewStore()), "kept", obs)
	start(t, keep)
	eventually(t, "leads", keep.IsLeader)

	base := []string{otelmultilock.AttrBackend, otelmultilock.AttrGroup}
	outcome := append(slices.Clone(base), otelmultilock.AttrOutcome)
	want := map[string][]string{
		otelmultilock.MetricLeader:   base,
		otelmultilock.MetricToken:    base,
		otelmultilock.MetricChanges:  {otelmultilock.AttrBackend, otelmultilock.AttrCause, otelmultilock.AttrKind, otelmultilock.AttrGroup},
		otelmultilock.MetricTerm:     {otelmultilock.AttrBackend, otelmultilock.AttrCause, otelmultilock.AttrGroup},
		otelmultilock.MetricAttempts: outcome,
		otelmultilock.MetricAcquire:  outcome,
		otelmultilock.MetricRenew:    outcome,
		otelmultilock.MetricLeft:     outcome,
		otelmultilock.MetricResign:   outcome,
		otelmultilock.MetricHandover: base,
	}
	var got map[string]metricdata.Metrics
	eventually(t, "all metrics are there", func() bool {
		got = metrics(t, reader)
		_, ok := gauge(got[otelmultilock.MetricLeader], "kept")
		return ok && len(got) == len(want)
	})
	for name, keys := range want {
		sets := attributes(got[name])
		if len(sets) == 0 {
			t.Errorf("%s has no points", name)
		}
		slices.Sort(keys)
		for _, set := range sets {
			var have []string
			for _, kv := range set.ToSlice() {
				have = append(have, string(kv.Key))
				if kv.Value.AsString() == "" {
					t.Errorf("%s: %s is empty", name, kv.Key)
				}
			}
			if slices.Sort(have); !slices.Equal(have, keys) {
				t.Errorf("%s has the attributes %v, want %v", name, have, keys)
			}
		}
	}
	has := func(name, key, value string) {
		t.Helper()
		for _, set := range attributes(got[name]) {
			if v, _ := set.Value(attribute.Key(key)); v.AsString() == value {
				return
			}
		}
		t.Errorf("%s has no point with %s=%s", name, key, value)
	}
	for _, v := range []string{"acquired", "lost", "changed", "stopped"} {
		has(otelmultilock.MetricChanges, otelmultilock.AttrKind, v)
	}
	has(otelmultilock.MetricTerm, otelmultilock.AttrCause, "lost")
	has(otelmultilock.MetricTerm, otelmultilock.AttrCause, "stopped")
	has(otelmultilock.MetricAttempts, otelmultilock.AttrOutcome, "held")
	has(otelmultilock.MetricAttempts, otelmultilock.AttrOutcome, "won")
	has(otelmultilock.MetricRenew, otelmultilock.AttrOutcome, "ok")
	has(otelmultilock.MetricResign, otelmultilock.AttrOutcome, "ok")

	term, _ := keep.Term()
	if v, _ := gauge(got[otelmultilock.MetricLeader], "kept"); v != 1 {
		t.Errorf("leader gauge %d while leading", v)
	}
	if v, _ := gauge(got[otelmultilock.MetricToken], "kept"); uint64(v) != term.Token {
		t.Errorf("token gauge %d, want %d", v, term.Token)
	}
	if err := keep.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gauge of a stopped elector is gone", func() bool {
		_, ok := gauge(metrics(t, reader)[otelmultilock.MetricLeader], "kept")
		return !ok
	})
	if err := obs.Close(); err != nil {
		t.Error(err)
	}
}

// TestTwoElectorsOfAGroupAreOneSeries has leader and follower in one process.
func TestTwoElectorsOfAGroupAreOneSeries(t *testing.T) {
	reader := metric.NewManualReader()
	obs, err := otelmultilock.New(otelmultilock.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	if err != nil {
		t.Fatal(err)
	}
	store := memory.NewStore()
	a, b := elector(t, open(t, store), "g", obs), elector(t, open(t, store), "g", obs)
	start(t, a)
	eventually(t, "leads", a.IsLeader)
	start(t, b)
	eventually(t, "both have reported", func() bool {
		kinds := map[string]bool{}
		for _, set := range attributes(metrics(t, reader)[otelmultilock.MetricChanges]) {
			v, _ := set.Value(otelmultilock.AttrKind)
			kinds[v.AsString()] = true
		}
		return kinds["acquired"] && kinds["changed"]
	})
	for range 50 { // the order in which electors are asked is random
		got := metrics(t, reader)
		if v, _ := gauge(got[otelmultilock.MetricLeader], "g"); v != 1 {
			t.Fatalf("leader gauge %d with a leader and a follower", v)
		}
	}
}

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	obs, err := otelmultilock.New(
		otelmultilock.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
		otelmultilock.WithMeterProvider(metric.NewMeterProvider()))
	if err != nil {
		t.Fatal(err)
	}
	everything(t, obs)
	find := func(name, outcome string) trace.ReadOnlySpan {
		for _, s := range spans.Ended() {
			set := attribute.NewSet(s.Attributes()...)
			if v, _ := set.Value(otelmultilock.AttrOutcome); s.Name() == name && v.AsString() == outcome {
				return s
			}
		}
		return nil
	}
	for _, c := range []struct {
		name, outcome string
		status        codes.Code
		token         bool
	}{
		{"multilock.acquire", "held", codes.Unset, false}, {"multilock.acquire", "won", codes.Unset, true},
		{"multilock.renew", "ok", codes.Unset, true}, {"multilock.resign", "ok", codes.Unset, true},
	} {
		var s trace.ReadOnlySpan
		eventually(t, "a span "+c.name+" with outcome "+c.outcome, func() bool { s = find(c.name, c.outcome); return s != nil })
		set := attribute.NewSet(s.Attributes()...)
		token, _ := set.Value(otelmultilock.AttrToken)
		group, _ := set.Value(otelmultilock.AttrGroup)
		backend, _ := set.Value(otelmultilock.AttrBackend)
		if group.AsString() != "g" || backend.AsString() != "memory" || (token.AsInt64() != 0) != c.token {
			t.Errorf("%s %s: attributes %v", c.name, c.outcome, s.Attributes())
		}
		if s.Status().Code != c.status || s.EndTime().Before(s.StartTime()) || time.Since(s.StartTime()) > time.Hour {
			t.Errorf("%s %s: status %v, from %v to %v", c.name, c.outcome, s.Status(), s.StartTime(), s.EndTime())
		}
	}
	for _, s := range spans.Ended() {
		if !strings.HasPrefix(s.Name(), "multilock.") {
			t.Errorf("span %q", s.Name())
		}
	}
}
