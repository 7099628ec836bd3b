package emit

import (
	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// Conformance makes backends/<b>/conformancetest/conformance_gen_test.go: one
// test function per rule and topology, so that a failure names its rule. The
// functions that make the harnesses are hand-written.
func Conformance(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Ready() {
		if b.Tests == nil {
			continue
		}
		dir := b.Dir + "/conformancetest"
		setups := append([]string{""}, b.Tests.Setups...)
		file, err := Entries(EntryConfig{
			File: dir + "/conformance_gen_test.go", Header: Header, Package: "conformancetest",
			ImportPath: b.Path + "/conformancetest", Kit: m.Module + "/conformance", Setups: setups,
		}, m.Rules)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

// EntryConfig says where entry tests go.
type EntryConfig struct {
	File, Header, Package, ImportPath string
	// Kit is the import path of the conformance kit.
	Kit string
	// Setups are the topologies: for each there is a function newXHarness, and
	// its tests are called TestX...; "" is the plain one.
	Setups []string
}

// Entries makes a file of entry tests.
func Entries(c EntryConfig, rules []model.Rule) (File, error) {
	f := jen.NewFilePathName(c.ImportPath, c.Package)
	f.HeaderComment(c.Header)
	f.ImportName(c.Kit, "conformance")
	for _, setup := range c.Setups {
		for _, r := range rules {
			comment(f, r.ID+": "+r.Title+".")
			f.Func().Id("Test" + setup + r.GoName).Params(jen.Id("t").Op("*").Qual("testing", "T")).Block(
				jen.Qual(c.Kit, "RunRule").Call(jen.Id("t"), jen.Lit(r.ID), jen.Id("new"+setup+"Harness")))
		}
	}
	return render(c.File, f)
}
