package store

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// table is a table and the struct of its rows: the db tags are the columns, so
// that each stands in one place.
type table[Row any] struct {
	name    string
	columns []string
	fields  []int
}

func tableOf[Row any](name string) table[Row] {
	t := table[Row]{name: name}
	row := reflect.TypeFor[Row]()
	for i := range row.NumField() {
		if column := row.Field(i).Tag.Get("db"); column != "" {
			t.columns = append(t.columns, column)
			t.fields = append(t.fields, i)
		}
	}
	return t
}

// list gives the columns for a SELECT.
func (t table[Row]) list() string { return strings.Join(t.columns, ", ") }

// of gives the columns for a SELECT that joins: those of alias a, for a field
// of the result that is tagged with it.
func (t table[Row]) of(alias string) string {
	list := make([]string, len(t.columns))
	for i, c := range t.columns {
		list[i] = fmt.Sprintf(`%s.%s AS "%s.%s"`, alias, c, alias, c)
	}
	return strings.Join(list, ", ")
}

// decode reads rows out of one value that PostgreSQL made: an array of arrays,
// each with the columns in the order of [table.list]. NULL holds none.
func (t table[Row]) decode(from document) ([]Row, error) {
	if from == nil {
		return nil, nil
	}
	var all [][]json.RawMessage
	if err := from.decode(&all); err != nil {
		return nil, err
	}
	rows := make([]Row, len(all))
	for n, values := range all {
		row := reflect.ValueOf(&rows[n]).Elem()
		for i, f := range t.fields {
			if err := json.Unmarshal(values[i], row.Field(f).Addr().Interface()); err != nil {
				return nil, fmt.Errorf("column %s of %s: %w", t.columns[i], t.name, err)
			}
		}
	}
	return rows, nil
}

// insert makes the insert of rows.
func (t table[Row]) insert(rows ...Row) insert {
	in := insert{table: t.name, columns: t.columns}
	for _, row := range rows {
		v := reflect.ValueOf(row)
		values := make([]any, len(t.fields))
		for i, f := range t.fields {
			values[i] = v.Field(f).Interface()
		}
		in.rows = append(in.rows, values)
	}
	return in
}

// insert is rows for one table. A commit is a list of them, of one
// registration or of many.
type insert struct {
	table   string
	columns []string
	rows    [][]any
}

// appends tells whether events are inserted that wait to be published.
func (in insert) appends() bool { return in.table == "outbox" && len(in.rows) > 0 }

// maxParameters is what one statement may have in both databases.
const maxParameters = 32_000

// statements gives the inserts as few statements as the limit of parameters allows.
func (in insert) statements() (all []statement) {
	rows := in.rows
	for len(rows) > 0 {
		n := min(len(rows), maxParameters/len(in.columns))
		row := "(" + marks(len(in.columns)) + ")"
		s := statement{query: "INSERT INTO " + in.table + " (" + strings.Join(in.columns, ", ") + ") VALUES " +
			row + strings.Repeat(", "+row, n-1)}
		for _, values := range rows[:n] {
			s.args = append(s.args, values...)
		}
		all = append(all, s)
		rows = rows[n:]
	}
	return all
}

type statement struct {
	query string
	args  []any
}

// marks gives n parameters: "?, ?, ?".
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// moment is a time as microseconds since 1970 UTC; the zero time is NULL.
type moment struct{ time.Time }

// Value implements [driver.Valuer].
func (m moment) Value() (driver.Value, error) {
	if m.IsZero() {
		return nil, nil
	}
	return m.UnixMicro(), nil
}

// Scan implements [sql.Scanner].
func (m *moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		m.Time = time.Time{}
	case int64:
		m.Time = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("time from %T", src)
	}
	return nil
}

// UnmarshalJSON reads what [table.decode] is given.
func (m *moment) UnmarshalJSON(data []byte) error {
	var micro *int64
	if err := json.Unmarshal(data, &micro); err != nil || micro == nil {
		return err
	}
	return m.Scan(*micro)
}

// document is JSON, kept byte for byte; nil is NULL.
type document json.RawMessage

// Value implements [driver.Valuer].
func (d document) Value() (driver.Value, error) {
	if d == nil {
		return nil, nil
	}
	return string(d), nil
}

// Scan implements [sql.Scanner].
func (d *document) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d = nil
	case string:
		*d = document(v)
	case []byte:
		*d = append(document{}, v...)
	default:
		return fmt.Errorf("JSON from %T", src)
	}
	return nil
}

// UnmarshalJSON reads what [table.decode] is given.
func (d *document) UnmarshalJSON(data []byte) error { return d.Scan(data) }

// encode gives v as a document. It panics when v cannot be encoded, which is a
// bug of its type.
func encode(v any) document {
	data, err := json.Marshal(v)
	if err != nil {
		panic("store: " + err.Error())
	}
	return data
}

func (d document) decode(into any) error {
	if err := json.Unmarshal(d, into); err != nil {
		return fmt.Errorf("stored JSON: %w", err)
	}
	return nil
}
