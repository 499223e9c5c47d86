package e2e_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// imports measures the import of people with given hashes by the program, against COPY
// of the same rows into the same tables and indexes, one after another.
func (b *bench) imports() {
	const n = 100_000
	for _, shape := range []string{"postgres", "sqlite"} {
		var loads []load
		var floor, ratio string
		for run := range 3 {
			s := newSystem(b.t, shape, hooks(sessionHook))
			loads = append(loads, s.imports(writePeople(b.t, filepath.Join(s.dir, "people.jsonl"), 0, n), n))
			if run == 2 && shape == "postgres" {
				copied := b.bareCopy(s)
				floor, ratio = fmt.Sprintf("COPY of the rows in one commit %.0f/s", copied), fmt.Sprintf("%.0f %%; ", 100*median(loads).rate/copied)
			} else if run == 2 {
				floor = fmt.Sprintf("a sync of this disk takes %s", ms(diskSync(b.t, s.dir)))
			}
			s.stop()
		}
		l := median(loads)
		b.row(fmt.Sprintf("import of %d people with hashes, %s", n, shape), fmt.Sprintf("%.0f/s (%.0f to %.0f), %d MiB resident", l.rate, loads[0].rate, loads[2].rate, l.memory>>20),
			floor, fmt.Sprintf("%sCPU per identity: program %d µs, database %d µs", ratio, l.client.Microseconds(), l.database.Microseconds()), map[bool]string{true: "≥ 10,000/s"}[shape == "postgres"])
	}
}

// imports has the program import a file of n people, and gives what that took.
func (s *system) imports(file string, n int) (l load) {
	s.t.Helper()
	cmd := exec.Command(usherBin, "identities", "import", file, "--dev", "--json", "-c", s.config)
	cmd.Env = append(os.Environ(), s.env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	database, began := s.databaseCPU(), time.Now()
	err := cmd.Run()
	l.wall = time.Since(began)
	var sum struct{ Imported int }
	if jsonErr := json.Unmarshal(out.Bytes(), &sum); err != nil || jsonErr != nil || sum.Imported != n {
		s.t.Fatalf("usher identities import = %v %s%s, want %d imported", err, out.String(), errOut.String(), n)
	}
	l.n, l.rate = n, float64(n)/l.wall.Seconds()
	l.database = (s.databaseCPU() - database) / time.Duration(n)
	l.client = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / time.Duration(n)
	l.memory = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 // Linux counts kilobytes
	return l
}

// bareCopy is how many people a second are copied into tables like those of identities,
// credentials and addresses, from memory.
func (b *bench) bareCopy(s *system) float64 {
	db, err := sql.Open("postgres", s.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	var took time.Duration
	var people int
	for _, table := range []string{"identities", "credentials", "addresses"} {
		columns, all := b.rowsOf(db, table)
		if _, err := db.Exec(`CREATE TABLE bare_` + table + ` (LIKE ` + table + ` INCLUDING ALL)`); err != nil {
			b.t.Fatal(err)
		}
		people = max(people, len(all))
		began := time.Now()
		b.copyRows(db, "bare_"+table, columns, len(all), func(i int) []any { return all[i] })
		took += time.Since(began)
	}
	return float64(people) / took.Seconds()
}

// rowsOf gives all rows of a table as COPY takes them.
func (b *bench) rowsOf(db *sql.DB, table string) (columns []string, all [][]any) {
	rows, err := db.Query(`SELECT * FROM ` + table)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil {
		b.t.Fatal(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for n := range values {
			into[n] = &values[n]
		}
		if err := rows.Scan(into...); err != nil {
			b.t.Fatal(err)
		}
		for n, v := range values { // text, but for addresses' key
			if text, ok := v.([]byte); ok && columns[n] != "address_key" {
				values[n] = string(text)
			}
		}
		all = append(all, values)
	}
	if rows.Err() != nil {
		b.t.Fatal(rows.Err())
	}
	return columns, all
}
