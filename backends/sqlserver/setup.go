package sqlserver

import (
	"context"
	"database/sql"
	"errors"

	"github.com/multilock/multilock-go/core/driver"
)

// errNoTable is the answer of the probe if the table is missing.
var errNoTable = errors.New("sqlserver: the table of leases does not exist")

// probed is what the server told about itself.
type probed struct{ table, schema bool }

// prepare probes the server once per driver, or again after the table was found
// missing: one more round trip before the first request, because what is
// missing for renewals must not show up only after a term began.
func (d *leaseDriver) prepare(ctx context.Context, create bool) error {
	d.mu.Lock()
	ready := d.ready
	d.mu.Unlock()
	if ready {
		return nil
	}
	_, err := call(ctx, d, func(ctx context.Context) (struct{}, error) {
		p, err := d.probe(ctx, create)
		if err == nil || errors.Is(err, errNoTable) {
			d.mu.Lock()
			d.ready, d.worked = p.table, true
			d.mu.Unlock()
		}
		return struct{}{}, err
	})
	return err
}

func (d *leaseDriver) hasWorked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.worked
}

func (d *leaseDriver) unprepare() {
	d.mu.Lock()
	d.ready = false
	d.mu.Unlock()
}

// withoutTable turns the absence of a table that candidates create into the
// answer it means: nobody leads, or no term is live. Whoever creates the table
// by hand is told that it is missing.
func (d *leaseDriver) withoutTable(err, means error) error {
	if hasNumber(err, errTableMissing) {
		d.unprepare()
	} else if !errors.Is(err, errNoTable) {
		return err
	}
	if d.opts.NoAutoCreate {
		return err
	}
	return means
}

// probe checks what the statements need, and creates the table if wanted.
func (d *leaseDriver) probe(ctx context.Context, create bool) (probed, error) {
	name := bracket(d.opts.Schema) + "." + bracket(d.opts.Table)
	var p probed
	var table, schema, openjson int
	err := d.query(ctx, d.stmt.probe, func(rows *sql.Rows, _ int) error {
		return rows.Scan(&table, &schema, &openjson)
	}, sql.Named("name", name), sql.Named("schema", d.opts.Schema))
	if hasNumber(err, errTableMissing) {
		return p, driver.Misconfigured(err, "the server lacks OPENJSON: SQL Server 2016 or newer, compatibility level 130 or higher")
	}
	if err != nil {
		return p, err
	}
	p = probed{table: table == 1, schema: schema == 1}
	if err := d.checkDurability(ctx); err != nil {
		return p, err
	}
	if p.table {
		return p, nil
	}
	if !create {
		if !d.opts.NoAutoCreate {
			return p, errNoTable
		}
		return p, driver.Misconfigured(errNoTable, "create it with the DDL file, or let the backend create it; or the login may not see it: grant SELECT, INSERT and UPDATE")
	}
	if err := d.createTable(ctx, p.schema); err != nil {
		return p, err
	}
	p.table = true
	return p, nil
}

// checkDurability refuses databases that acknowledge commits before they are on
// disk: a crash would forget acknowledged terms. Servers that do not know the
// setting do not have it.
func (d *leaseDriver) checkDurability(ctx context.Context) error {
	var forced sql.NullInt64
	err := d.query(ctx, d.stmt.durability, func(rows *sql.Rows, _ int) error {
		return rows.Scan(&forced)
	})
	if err != nil {
		if len(errorNumbers(err)) > 0 {
			return nil
		}
		return err
	}
	if forced.Int64 == 2 {
		return driver.Misconfigured(errors.New("sqlserver: the database has DELAYED_DURABILITY = FORCED"),
			"set DELAYED_DURABILITY to ALLOWED or DISABLED, or use another database")
	}
	return nil
}

// createTable tolerates that others create it at the same moment.
func (d *leaseDriver) createTable(ctx context.Context, haveSchema bool) error {
	if !haveSchema {
		_, err := d.db.ExecContext(ctx, "CREATE SCHEMA "+bracket(d.opts.Schema))
		if err != nil && !hasNumber(err, errSchemaExists, errObjectExists) {
			return err
		}
	}
	_, err := d.db.ExecContext(ctx, d.stmt.createTable)
	if err != nil && !hasNumber(err, errObjectExists) {
		return err
	}
	return nil
}
