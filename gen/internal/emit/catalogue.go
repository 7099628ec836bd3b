package emit

import (
	"path"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// Catalogue makes the table of backends of commands that open any of them.
func Catalogue(m *model.Model) ([]File, error) {
	var out []File
	n := namesOf(m)
	for _, mod := range m.Modules {
		if !mod.Catalogue {
			continue
		}
		f := jen.NewFilePathName(m.Module+"/"+mod.Path, "main")
		f.HeaderComment(Header)
		f.ImportAlias(n.core, "multilock")
		comment(f, "backend is what a URL can open.")
		f.Type().Id("backend").Struct(
			jen.Id("name").String(),
			jen.List(jen.Id("title"), jen.Id("summary")).String().Comment("for people"),
			jen.Id("schemes").Index().String(),
			jen.Id("example").String().Comment("a URL"),
			jen.Id("open").Func().Params(jen.Id("ctx").Qual("context", "Context"), jen.Id("url").String()).Params(jen.Op("*").Add(n.multilock("Backend")), jen.Error()),
		)
		comment(f, "backends are all of them, sorted by name.")
		f.Var().Id("backends").Op("=").Index().Id("backend").ValuesFunc(func(g *jen.Group) {
			for _, b := range m.Ready() {
				f.ImportName(b.Path, b.Name)
				g.Line().Values(jen.Lit(b.Name), jen.Lit(b.Title), jen.Lit(b.Summary), jen.Index().String().ValuesFunc(func(g *jen.Group) {
					for _, s := range b.Schemes {
						g.Lit(s)
					}
				}), jen.Lit(b.Example), jen.Qual(b.Path, "OpenURL"))
			}
			g.Line()
		})
		file, err := render(path.Join(mod.Path, "backends_gen.go"), f)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}
