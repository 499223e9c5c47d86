package schemas_test

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/schemas"
)

// baseline is the last migration that was written before the rule.
const baseline = 12

// Programs of the former version run on the database while it is migrated, and
// afterwards until they are restarted: a migration only adds, and holds up
// nobody for long. One that takes away says since when nobody uses it.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"postgres", "sqlite"} {
		files, err := fs.Glob(schemas.SQL, "sql/"+database+"/[0-9]*.sql")
		if err != nil || len(files) == 0 {
			t.Fatalf("migrations of %s: %v %v", database, files, err)
		}
		seen := map[int]bool{}
		for _, file := range files {
			number, err := strconv.Atoi(path.Base(file)[:4])
			if err != nil || seen[number] {
				t.Errorf("%s: its name must begin with a number of its own, %v", file, err)
			}
			seen[number] = true
			if number <= baseline {
				continue
			}
			text, err := schemas.SQL.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, why := range notExpanding(string(text), database == "postgres") {
				t.Errorf("%s: %s", file, why)
			}
		}
	}
}

var (
	comments   = regexp.MustCompile(`--[^\n]*`)
	spaces     = regexp.MustCompile(`\s+`)
	contract   = regexp.MustCompile(`(?m)^-- contract: since v\d+\.\d+\S* .+`)
	newTable   = regexp.MustCompile(`^create table (?:if not exists )?(\w+)`)
	newIndex   = regexp.MustCompile(`^create (unique )?index (concurrently )?(if not exists )?\w+ on (?:only )?(\w+)`)
	newColumn  = regexp.MustCompile(`^alter table (?:if exists )?(?:only )?(\w+) (.*)$`)
	addsColumn = regexp.MustCompile(`^add column (?:if not exists )?\w+ .*`)
	// computed defaults are computed for each row, which writes the table anew.
	constant = regexp.MustCompile(` default (?:'[^']*'|-?[\d.]+|true|false|null)(?: |$)`)
	inserts  = regexp.MustCompile(`^insert into (\w+)`)
)

// notExpanding says what a migration does that a program of the former version
// could stumble over, or wait for.
func notExpanding(text string, server bool) (why []string) {
	if contract.MatchString(text) {
		if !strings.Contains(strings.ToLower(text), "insert into schema_minimum") {
			return []string{"it takes something away and does not raise schema_minimum"}
		}
		return nil
	}
	made, alone := map[string]bool{}, strings.Contains(text, "-- +goose NO TRANSACTION")
	var statements []string
	for s := range strings.SplitSeq(comments.ReplaceAllString(text, ""), ";") {
		if s = strings.ToLower(strings.TrimSpace(spaces.ReplaceAllString(s, " "))); s != "" {
			statements = append(statements, s)
		}
	}
	for _, s := range statements {
		if bad := stumblingBlock(s, made, server, alone && len(statements) == 1); bad != "" {
			why = append(why, fmt.Sprintf("%s: %q; a migration that takes something away has a line \"-- contract: since vX.Y …\"", bad, s))
		}
	}
	return why
}

// stumblingBlock says what is wrong with a statement, "" for nothing; made are
// the tables of this migration, which nobody uses yet.
func stumblingBlock(s string, made map[string]bool, server, alone bool) string {
	if m := newTable.FindStringSubmatch(s); m != nil {
		made[m[1]] = true
		return ""
	}
	if m := newIndex.FindStringSubmatch(s); m != nil {
		switch unique, concurrently, repeatable, table := m[1] != "", m[2] != "", m[3] != "", m[4]; {
		case made[table]:
			return ""
		case unique:
			return "what must be unique now may be written twice by others"
		case server && (!concurrently || !repeatable || !alone):
			return "it holds up all writers: CREATE INDEX CONCURRENTLY IF NOT EXISTS, alone in a migration with -- +goose NO TRANSACTION"
		}
		return ""
	}
	if m := newColumn.FindStringSubmatch(s); m != nil {
		if made[m[1]] {
			return ""
		}
		for _, action := range actions(m[2]) {
			if bad := addition(action); bad != "" {
				return bad
			}
		}
		return ""
	}
	if m := inserts.FindStringSubmatch(s); m != nil && made[m[1]] {
		return ""
	}
	return "it does more than add"
}

// actions splits at the commas that are in no parentheses.
func actions(s string) (all []string) {
	depth, from := 0, 0
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			all, from = append(all, strings.TrimSpace(s[from:i])), i+1
		}
	}
	return append(all, strings.TrimSpace(s[from:]))
}

// addition says what is wrong with what is done to a table that is in use.
func addition(action string) string {
	switch {
	case !addsColumn.MatchString(action):
		return "it does more than add a column"
	case strings.Contains(action, " not null") && !strings.Contains(action, " default "):
		return "a column that must have a value, which programs of before do not give"
	case strings.Contains(action, " default ") && !constant.MatchString(action):
		return "a default that is computed writes the table anew"
	}
	for _, more := range []string{" unique", " primary key", " references ", " check ", " generated "} {
		if strings.Contains(action, more) {
			return "a column with a condition reads the table, or writes it anew"
		}
	}
	return ""
}

// What must be refused is.
func TestWhatDoesMoreThanAddIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"DROP TABLE sessions",
		"ALTER TABLE sessions DROP COLUMN aal",
		"ALTER TABLE sessions RENAME COLUMN aal TO level",
		"ALTER TABLE sessions RENAME TO visits",
		"ALTER TABLE sessions ALTER COLUMN aal TYPE bigint",
		"ALTER TABLE sessions ALTER COLUMN aal SET NOT NULL",
		"ALTER TABLE sessions ADD COLUMN a text NOT NULL",
		"ALTER TABLE sessions ADD COLUMN a text, ADD COLUMN b text NOT NULL",
		"ALTER TABLE sessions ADD COLUMN a text, DROP COLUMN aal",
		"ALTER TABLE sessions ADD COLUMN a uuid DEFAULT gen_random_uuid()",
		"ALTER TABLE sessions ADD COLUMN a bigint GENERATED ALWAYS AS IDENTITY",
		"ALTER TABLE sessions ADD COLUMN a text UNIQUE",
		"ALTER TABLE sessions ADD COLUMN a uuid REFERENCES identities",
		"ALTER TABLE sessions ADD CONSTRAINT c CHECK (aal <> '')",
		"CREATE INDEX i ON sessions (aal)",
		"CREATE INDEX CONCURRENTLY i ON sessions (aal)",
		"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON sessions (aal)",
		"UPDATE sessions SET aal = 'aal1'",
		"DELETE FROM sessions",
		"INSERT INTO sessions (id) VALUES (1)",
		"LOCK TABLE sessions",
		"CREATE TRIGGER t AFTER INSERT ON sessions EXECUTE FUNCTION f()",
		"TRUNCATE sessions",
		"VACUUM FULL sessions",
		"CREATE TABLE a (n int); ALTER TABLE sessions DROP COLUMN aal",
		"-- contract: since v0.3.0 nobody reads it\nALTER TABLE sessions DROP COLUMN aal",
		"-- contract: soon\nALTER TABLE sessions DROP COLUMN aal; INSERT INTO schema_minimum VALUES (14)",
	} {
		if why := notExpanding("-- +goose Up\n"+s+";\n", true); len(why) == 0 {
			t.Errorf("%q is not refused", s)
		}
	}
	for _, s := range []string{
		"CREATE TABLE a (n int NOT NULL); CREATE UNIQUE INDEX i ON a (n); INSERT INTO a SELECT 1 FROM sessions; ALTER TABLE a ADD UNIQUE (n)",
		"ALTER TABLE sessions ADD COLUMN a text",
		"ALTER TABLE sessions ADD COLUMN a text, ADD COLUMN b bigint NOT NULL DEFAULT 0",
		"ALTER TABLE sessions ADD COLUMN a text NOT NULL DEFAULT '' -- DROP",
		"ALTER TABLE sessions ADD COLUMN a numeric(10, 2)",
		"-- +goose NO TRANSACTION\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON sessions (aal)",
		"-- contract: since v0.3.0 nobody reads it\nALTER TABLE sessions DROP COLUMN aal; INSERT INTO schema_minimum VALUES (14)",
	} {
		if why := notExpanding("-- +goose Up\n"+s+";\n", true); len(why) > 0 {
			t.Errorf("%q is refused: %v", s, why)
		}
	}
}
