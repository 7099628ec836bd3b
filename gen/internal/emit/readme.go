package emit

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// Readmes renews the tables between markers in the README of each ready backend
// and in the one that lists all. A backend's README that is missing is begun.
func Readmes(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Ready() {
		out = append(out, File{Path: b.Dir + "/README.md", Edit: func(old []byte) ([]byte, error) {
			if old == nil {
				old = []byte(firstReadme(m, b))
			}
			old, err := between(old, "capabilities", capabilityTable([]model.Backend{b}))
			if err != nil {
				return nil, err
			}
			return between(old, "options", optionTable(b))
		}})
	}
	if m.Readme != "" {
		out = append(out, File{Path: m.Readme, Edit: func(old []byte) ([]byte, error) {
			return between(old, "backends", backendTable(m))
		}})
	}
	return out, nil
}

// between replaces what stands between the markers of a table.
func between(old []byte, name, table string) ([]byte, error) {
	begin, end := "<!-- gen:"+name+" -->\n", "<!-- /gen:"+name+" -->"
	i := bytes.Index(old, []byte(begin))
	j := bytes.Index(old, []byte(end))
	if i < 0 || j < i {
		return nil, fmt.Errorf("the lines %q and %q are missing; put them where the table of %s belongs", strings.TrimSpace(begin), end, name)
	}
	if bytes.Count(old, []byte(begin)) > 1 || bytes.Count(old, []byte(end)) > 1 {
		return nil, fmt.Errorf("the marker %q is given twice", strings.TrimSpace(begin))
	}
	var b bytes.Buffer
	b.Write(old[:i+len(begin)])
	b.WriteString(table)
	b.Write(old[j:])
	return b.Bytes(), nil
}

func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", "\\|"), "\n", " ")
}

func row(b *strings.Builder, cells ...string) {
	for i, c := range cells {
		cells[i] = cell(c)
	}
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func head(b *strings.Builder, cells ...string) {
	row(b, cells...)
	b.WriteString("|" + strings.Repeat(" --- |", len(cells)) + "\n")
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func ttlRange(c model.Capabilities) string {
	if c.MaxTTL == 0 {
		return "from " + short(c.MinTTL)
	}
	return short(c.MinTTL) + " to " + short(c.MaxTTL)
}

func capabilityTable(backends []model.Backend) string {
	var s strings.Builder
	for _, b := range backends {
		c := b.Caps
		head(&s, "capability", b.Title)
		row(&s, "TTL", ttlRange(c)+granularity(c))
		row(&s, "expiry judged by", c.Clock)
		row(&s, "crashed leader replaced after", c.Crash)
		row(&s, "followers woken by", c.Wake)
		row(&s, "fencing token", c.Token)
		row(&s, "remaining time known to followers", yes(c.RemainingKnown))
		row(&s, "second renewal while one is slow", yes(c.Hedge))
		row(&s, "terms per renewal", text(max(c.RenewBatch, 1)))
		if c.Connections > 0 {
			row(&s, "connections, steady", text(c.Connections))
		} else {
			row(&s, "connections, steady", "not promised")
		}
		row(&s, "client of your own", yes(b.Client))
		row(&s, "URL", "`"+b.Example+"`")
	}
	return s.String()
}

func granularity(c model.Capabilities) string {
	if c.TTLGranularity >= time.Second {
		return ", whole seconds"
	}
	return ""
}

func backendTable(m *model.Model) string {
	var s strings.Builder
	head(&s, "backend", "TTL", "crashed leader replaced after", "followers woken by", "fencing token", "URL")
	for _, b := range m.Ready() {
		c := b.Caps
		row(&s, "["+b.Title+"]("+b.Dir+")", ttlRange(c)+granularity(c), c.Crash, c.Wake, c.Token, "`"+b.Example+"`")
	}
	return s.String()
}

func optionTable(b model.Backend) string {
	var s strings.Builder
	head(&s, "option", "meaning", "default", "URL parameter", "variable")
	for _, o := range b.Options {
		s1 := func(v string) string {
			if v == "" {
				return ""
			}
			return "`" + v + "`"
		}
		key := ""
		if o.URLKey != "" {
			key = "multilock." + o.URLKey
		}
		doc := o.Doc
		if o.Kind == model.Enum {
			for _, e := range o.Values {
				doc += " `" + e.Value + "`: " + e.Doc
			}
		}
		row(&s, "`"+o.Name+"`", doc, defaultCell(o), s1(key), s1(o.EnvName))
	}
	return s.String()
}

func defaultCell(o model.Option) string {
	switch {
	case o.Required:
		return "required"
	case o.Default != nil:
		return "`" + text(o.Default) + "`"
	case o.DefaultDoc != "":
		return o.DefaultDoc
	case o.Kind == model.Bool:
		return "`false`"
	case o.Kind == model.Int || o.Kind == model.Duration:
		return "`0`"
	}
	return ""
}

func firstReadme(m *model.Model, b model.Backend) string {
	return strings.NewReplacer("{TITLE}", b.Title, "{SUMMARY}", b.Summary, "{PATH}", b.Path, "{CORE}", m.Module+"/core", "{NAME}", b.Name, "{URL}", b.Example).Replace(`# MultiLock on {TITLE}

{SUMMARY}

` + "```" + `
go get {PATH}
` + "```" + `

<!-- doccheck: with var work func(context.Context, uint64) error -->
` + "```go" + `
import (
	multilock "{CORE}"
	"{PATH}"
)

b, err := {NAME}.OpenURL(ctx, "{URL}")
if err != nil {
	return err
}
defer b.Close(context.WithoutCancel(ctx))
e, err := multilock.New(b, multilock.Options{Group: "nightly"})
if err != nil {
	return err
}
return e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
	return work(ctx, term.Token) // ctx ends with the term
})
` + "```" + `

## What it can do

<!-- gen:capabilities -->
<!-- /gen:capabilities -->

## Options

<!-- gen:options -->
<!-- /gen:options -->
`)
}
