// Command layers checks who imports whom, over go list: core stands on the
// standard library alone, conformance and the backends on core, fxmodule on core
// and fx; nothing that is released imports sideways, upwards, or a library that
// belongs to tests. Run it in the root of the repository.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
)

const prefix = "github.com/multilock/multilock-go/"

// testOnly must not be imported by a released module, not even by its tests.
var testOnly = []string{
	"github.com/stretchr/testify", "github.com/Shopify/toxiproxy", "github.com/anishathalye/porcupine",
	"github.com/dave/jennifer", prefix + "testservers", prefix + "gen",
}

// rule says what the packages of a module may import besides the standard library.
type rule struct {
	module string   // path below the prefix; a trailing /* matches one element
	allow  []string // import path prefixes
}

// rules hold for released modules; the first that matches counts. Others, those of
// tests, examples and tools, may import what they like.
var rules = []rule{
	{"core", []string{prefix + "core"}},
	{"conformance", []string{prefix + "core", prefix + "conformance"}},
	{"conformance/porcupinecheck", []string{prefix + "core", prefix + "conformance", "github.com/anishathalye/porcupine"}},
	{"fxmodule", []string{prefix + "core", prefix + "fxmodule", "go.uber.org/fx"}},
	{"otelmultilock", []string{prefix + "core", prefix + "otelmultilock", "go.opentelemetry.io/otel"}},
	{"backends/memory", []string{prefix + "core"}},
	{"backends/file", []string{prefix + "core", prefix + "backends/file", "golang.org/x/sys"}},
	{"backends/redis", []string{prefix + "core", prefix + "backends/redis", "github.com/redis/go-redis/v9"}},
	{"backends/postgres", []string{prefix + "core", prefix + "backends/postgres", "github.com/jackc/pgx/v5"}},
	{"backends/sqlserver", []string{prefix + "core", prefix + "backends/sqlserver", "github.com/microsoft/go-mssqldb"}},
	{"backends/azblob", []string{prefix + "core", prefix + "backends/azblob", "github.com/Azure/azure-sdk-for-go/sdk"}},
	{"backends/consul", []string{prefix + "core", prefix + "backends/consul", "github.com/hashicorp/consul/api"}},
	{"backends/zookeeper", []string{prefix + "core", prefix + "backends/zookeeper", "github.com/go-zookeeper/zk"}},
	{"adapters/*", []string{prefix + "core", prefix + "adapters/", "github.com/go-co-op/gocron", "k8s.io/", "sigs.k8s.io/", "github.com/caddyserver/certmagic"}},
}

func main() {
	faults, checked, err := check()
	if err != nil {
		fmt.Fprintln(os.Stderr, "layers:", err)
		os.Exit(2)
	}
	for _, f := range faults {
		fmt.Println(f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	fmt.Printf("layers: %d packages import what they may\n", checked)
}

type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
	Module                             *struct{ Path string }
}

func check() (faults []string, checked int, err error) {
	out, err := output("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Module", "work")
	if err != nil {
		return nil, 0, err
	}
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, 0, err
		}
		if p.Module == nil {
			continue
		}
		r, ok := ruleOf(strings.TrimPrefix(p.Module.Path, prefix))
		if !ok {
			continue
		}
		checked++
		for _, imp := range p.Imports {
			if !std(imp) && !under(imp, r.allow) {
				faults = append(faults, fmt.Sprintf("%s imports %s; allowed are the standard library and %s", p.ImportPath, imp, strings.Join(r.allow, ", ")))
			}
		}
		for _, imp := range append(p.TestImports, p.XTestImports...) {
			if under(imp, testOnly) && !under(imp, r.allow) {
				faults = append(faults, fmt.Sprintf("a test of %s imports %s, which belongs into an untagged module", p.ImportPath, imp))
			}
		}
	}
	if checked == 0 {
		return nil, 0, errors.New("no package matched a rule; is this the root of the repository?")
	}
	return faults, checked, nil
}

func ruleOf(module string) (rule, bool) {
	for _, r := range rules {
		if ok, _ := path.Match(r.module, module); ok {
			return r, true
		}
	}
	return rule{}, false
}

// std reports whether imp is of the standard library: its first element has no dot.
func std(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

func under(imp string, prefixes []string) bool {
	for _, p := range prefixes {
		if imp == p || strings.HasPrefix(imp, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	return string(b), err
}
