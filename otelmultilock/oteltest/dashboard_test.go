package oteltest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/otelmultilock"
	"github.com/multilock/multilock-go/testservers/proc"
)

// queries are those of the panels of dashboard.json, by panel, and of its variables.
func queries(t *testing.T) (panels map[string]string, variables []string) {
	t.Helper()
	data, err := os.ReadFile("../dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
		Templating struct {
			List []struct {
				Type  string
				Query json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	panels = map[string]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			panels[p.Title+" "+q.RefID] = q.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			variables = append(variables, string(v.Query))
		}
	}
	if len(panels) < 10 || len(variables) == 0 {
		t.Fatalf("%d queries and %d variables in dashboard.json", len(panels), len(variables))
	}
	return panels, variables
}

// exported returns an observer and the registry its metrics come to.
func exported(t *testing.T) (multilock.Observer, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	x, err := exporter.New(exporter.WithRegisterer(reg), exporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		t.Fatal(err)
	}
	obs, err := otelmultilock.New(otelmultilock.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(x))))
	if err != nil {
		t.Fatal(err)
	}
	return obs, reg
}

// TestTheDashboardUsesTheNamesThatAreExported compares every multilock_... in it with
// the metrics and labels the Prometheus exporter makes, and the reverse for metrics.
func TestTheDashboardUsesTheNamesThatAreExported(t *testing.T) {
	obs, reg := exported(t)
	everything(t, obs)
	keep := elector(t, open(t, memory.NewStore()), "kept", obs)
	start(t, keep)
	series, labels := map[string]bool{}, map[string]bool{}
	eventually(t, "all metrics are exported", func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "multilock_") {
				continue
			}
			if f.GetMetric()[0].GetHistogram() != nil {
				series[f.GetName()+"_bucket"] = true
			} else {
				series[f.GetName()] = true
			}
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels[l.GetName()] = true
			}
		}
		return len(series) == 10
	})
	panels, variables := queries(t)
	used := map[string]bool{}
	name := regexp.MustCompile(`multilock_[a-z_]+`)
	for _, q := range panels {
		for _, n := range name.FindAllString(q, -1) {
			used[n] = true
		}
	}
	for _, q := range variables {
		for _, n := range name.FindAllString(q, -1) {
			used[n] = true
		}
	}
	for n := range used {
		if !series[n] && !labels[n] {
			t.Errorf("dashboard.json uses %s, which is not exported", n)
		}
	}
	for n := range series {
		if !used[n] {
			t.Errorf("dashboard.json does not show %s", n)
		}
	}
	if err := keep.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPrometheusAnswersTheDashboard has a real Prometheus scrape electors that change
// all the time, and asks it every query of the dashboard until it answers with numbers.
func TestPrometheusAnswersTheDashboard(t *testing.T) {
	prom := proc.Look(t, "prometheus", "sudo apt-get install --yes prometheus", "/usr/bin/prometheus")
	obs, reg := exported(t)
	target := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	defer target.Close()

	// Two electors whose leadership moves, beside one that stays.
	ctx, cancel := context.WithCancel(t.Context())
	var churn sync.WaitGroup
	defer churn.Wait()
	defer cancel()
	store := memory.NewStore()
	start(t, elector(t, open(t, store), "kept", obs))
	for range 2 {
		e := elector(t, open(t, store), "moving", obs)
		churn.Go(func() {
			for ctx.Err() == nil {
				_ = e.Run(ctx, func(ctx context.Context, _ multilock.Term) error {
					select {
					case <-ctx.Done():
					case <-time.After(300 * time.Millisecond):
					}
					return nil
				})
			}
		})
	}

	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n- job_name: test\n  static_configs: [{targets: [%q]}]\n", strings.TrimPrefix(target.URL, "http://"))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := proc.Addr(proc.FreePort(t))
	proc.Start(t, proc.Command{
		Name: "prometheus", Path: prom, Dir: dir,
		Args:  []string{"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + addr},
		Ready: func(ctx context.Context) error { return get(ctx, "http://"+addr+"/-/ready", nil) },
	})

	panels, _ := queries(t)
	fill := strings.NewReplacer("$group", ".*", "$__rate_interval", "1m")
	for _, panel := range slices.Sorted(maps.Keys(panels)) {
		q := fill.Replace(panels[panel])
		var last string
		for end := time.Now().Add(60 * time.Second); ; time.Sleep(250 * time.Millisecond) {
			var ok bool
			if ok, last = answers(t, addr, q); ok {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s: no number within 60s for %s; last answer %s", panel, q, last)
				break
			}
		}
	}
	if _, body := answers(t, addr, `sum by (multilock_group) (multilock_leader{multilock_group="kept"}) == 1`); !strings.Contains(body, "kept") {
		t.Errorf("the group kept has not one leader: %s", body)
	}
}

// answers reports whether Prometheus has a finite number for a query.
func answers(t *testing.T, addr, query string) (bool, string) {
	t.Helper()
	var reply struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	err := get(t.Context(), "http://"+addr+"/api/v1/query?query="+url.QueryEscape(query), &reply)
	if err != nil {
		t.Fatalf("%s: %v", query, err) // a query Prometheus cannot read
	}
	for _, r := range reply.Data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return true, fmt.Sprint(r)
		}
	}
	return false, fmt.Sprint(reply)
}

func get(ctx context.Context, url string, out any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	if w.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", w.StatusCode, body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}
