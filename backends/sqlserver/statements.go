package sqlserver

import (
	"embed"
	"strings"
)

//go:embed sql/*.sql
var files embed.FS

// statements are the batches the driver sends, for one table.
type statements struct {
	acquire, renew, resign, leader, leaders string
	probe, durability, createTable          string
}

func newStatements(schema, table string) statements {
	text := func(name string) string { return statement(name, schema, table) }
	return statements{
		acquire:     text("acquire"),
		renew:       text("renew"),
		resign:      text("resign"),
		leader:      text("leader"),
		leaders:     text("leaders"),
		probe:       text("probe"),
		durability:  text("durability"),
		createTable: text("schema"),
	}
}

// statement reads one file, without its comments and indentation, and puts the
// quoted names in.
func statement(name, schema, table string) string {
	raw, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // the file is embedded
	}
	var b strings.Builder
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return strings.NewReplacer(
		"{table}", bracket(schema)+"."+bracket(table),
		"{t}", bracket(table),
	).Replace(b.String())
}

// bracket makes an identifier of any string.
func bracket(name string) string {
	return "[" + strings.ReplaceAll(name, "]", "]]") + "]"
}

// DDL returns the statement that creates the table of leases, for those who do
// not let the backend create it. Schema and table are quoted; empty ones are the
// defaults of [Options].
func DDL(schema, table string) string {
	o := Options{Schema: schema, Table: table}.withDefaults()
	return statement("schema", o.Schema, o.Table)
}
