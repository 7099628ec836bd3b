package emit

import (
	"bytes"
	"encoding/json"
	"strings"
	"text/template"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// yamlString quotes a string for YAML; JSON's form is valid there.
func yamlString(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string can always be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func yamlList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = yamlString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

var funcs = template.FuncMap{"q": yamlString, "list": yamlList}

func fromTemplate(path, text string, data any) ([]File, error) {
	t, err := template.New(path).Funcs(funcs).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return []File{{Path: path, Data: b.Bytes()}}, nil
}

// Compose makes compose.yaml, the real servers for tests and for trying out.
func Compose(m *model.Model) ([]File, error) {
	return fromTemplate("compose.yaml", composeText, struct{ Backends []model.Backend }{servers(m)})
}

// servers are the ready backends that need one.
func servers(m *model.Model) []model.Backend {
	var out []model.Backend
	for _, b := range m.Ready() {
		if b.Service != nil {
			out = append(out, b)
		}
	}
	return out
}

const composeText = `# ` + Header + `
#
# docker compose up --wait NAME starts one server for trying out or for the
# tests; the comment at each says how tests find it.
name: multilock
services:{{if not .Backends}} {}{{end}}
{{- range .Backends}}
  # {{.Service.TestEnv}}={{q .Service.TestURL}}
  {{.Name}}:
    image: {{q .Service.Image}}
{{- with .Service.Command}}
    command: {{list .}}
{{- end}}
{{- with .Service.Env}}
    environment:
{{- range .}}
      {{.Key}}: {{q .Value}}
{{- end}}
{{- end}}
    ports: {{list .Service.Ports}}
{{- with .Service.Health}}
    healthcheck:
      test: ["CMD", {{range $i, $s := .}}{{if $i}}, {{end}}{{q $s}}{{end}}]
      interval: 2s
      timeout: 5s
      retries: 60
{{- end}}
{{- end}}
`

// Workflow makes the CI workflow that runs the kit on every backend: on servers
// the tests start themselves, and on the images of the compose file.
func Workflow(m *model.Model) ([]File, error) {
	return fromTemplate(".github/workflows/conformance.yml", workflowText, struct {
		Backends, Servers []model.Backend
	}{tested(m.Ready()), tested(servers(m))})
}

// tested are the backends that have a test module.
func tested(list []model.Backend) []model.Backend {
	var out []model.Backend
	for _, b := range list {
		if b.Tests != nil {
			out = append(out, b)
		}
	}
	return out
}

const workflowText = `# ` + Header + `
name: conformance
on:
  push:
    branches: [main]
  pull_request:
  workflow_call:
permissions:
  contents: read
jobs:
{{- if .Backends}}
  native:
    name: {{"${{ matrix.backend }}"}}
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    strategy:
      fail-fast: false
      matrix:
        include:
{{- range .Backends}}
          - backend: {{.Name}}
{{- if .Service}}{{if .Service.Install}}
            install: {{q .Service.Install}}
{{- end}}{{end}}
{{- end}}
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-go@v6
        with:
          go-version: stable
          cache-dependency-path: "**/go.sum"
      - if: matrix.install
        run: {{"${{ matrix.install }}"}}
      - run: go test -race -timeout 50m ./...
        working-directory: backends/{{"${{ matrix.backend }}"}}/conformancetest
        env:
          GOWORK: "off"
          MULTILOCK_CONFORMANCE_REPORT: {{"${{ runner.temp }}"}}/{{"${{ matrix.backend }}"}}
      - if: always()
        uses: actions/upload-artifact@v5
        with:
          name: conformance-{{"${{ matrix.backend }}"}}
          path: {{"${{ runner.temp }}"}}/{{"${{ matrix.backend }}"}}.*
{{- end}}
{{- if .Servers}}
  image:
    name: {{"${{ matrix.backend }} (image)"}}
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    strategy:
      fail-fast: false
      matrix:
        include:
{{- range .Servers}}
          - backend: {{.Name}}
            variable: {{.Service.TestEnv}}
            url: {{q .Service.TestURL}}
{{- end}}
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-go@v6
        with:
          go-version: stable
          cache-dependency-path: "**/go.sum"
      - run: docker compose up --wait {{"${{ matrix.backend }}"}}
      - run: env "$VARIABLE=$URL" go test -race -timeout 50m ./...
        working-directory: backends/{{"${{ matrix.backend }}"}}/conformancetest
        env:
          GOWORK: "off"
          VARIABLE: {{"${{ matrix.variable }}"}}
          URL: {{"${{ matrix.url }}"}}
{{- end}}
{{- if not .Backends}} {}
{{- end}}
`
