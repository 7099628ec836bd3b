package tds

func probe(x *exec) error {
	if x.s.opts.NoOpenJSON {
		return &sqlError{208, 16, "Invalid object name 'OPENJSON'."}
	}
	found := 0
	if m := tableName.FindStringSubmatch(x.str("name")); m != nil && x.s.tables[tableKey(unquote(m[1]), unquote(m[2]))] != nil {
		found = 1
	}
	schema := 0
	if x.s.schemas[x.str("schema")] {
		schema = 1
	}
	x.p.result([]column{{"found", integer}, {"has_schema", integer}, {"has_openjson", integer}}, [][]any{{found, schema, 1}})
	return nil
}

func durability(x *exec) error {
	x.p.result([]column{{"delayed_durability", integer}}, [][]any{{x.s.opts.DelayedDurability}})
	return nil
}

func createTable(x *exec) error { return x.create(kindLease) }

func (x *exec) create(kind string) error {
	if !x.c.may("CREATE TABLE") {
		return &sqlError{262, 14, "CREATE TABLE permission denied in database."}
	}
	if !x.s.schemas[x.schema] {
		return &sqlError{2760, 16, "The specified schema name \"" + x.schema + "\" either does not exist or you do not have permission to use it."}
	}
	key := tableKey(x.schema, x.table)
	if x.s.tables[key] != nil {
		return &sqlError{2714, 16, "There is already an object named '" + x.table + "' in the database."}
	}
	x.s.tables[key] = &table{name: x.table, kind: kind, rows: make(map[string]*entry)}
	return nil
}
