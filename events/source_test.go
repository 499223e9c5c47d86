package events_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/events"
)

// subject is how the subjects begin that are Usher's.
var subject = regexp.MustCompile(`^usher\.(evt|svc|hook|ctl)\.v[0-9]`)

// codeSubjects are the subjects that the source of all packages holds: written
// down, or put together, and one for each type of event.
func codeSubjects(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, f := range source(t, "..") {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text := written(e)
			if !subject.MatchString(text) || text == events.EventPrefix || strings.Contains(text, ">") {
				return true
			}
			found[parameter.ReplaceAllString(text, "{}")] = true
			return false
		})
	}
	for _, eventType := range codeEventTypes(t) {
		found[events.Subject(eventType)] = true
	}
	return found
}

// written is the text of an expression of strings, {} for what is not known
// before it runs.
func written(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return ""
		}
		return text
	case *ast.BinaryExpr:
		return written(e.X) + written(e.Y)
	case *ast.Ident:
		return "{}"
	}
	return ""
}

// codeEventTypes is what the methods EventType of this package give.
func codeEventTypes(t *testing.T) (types []string) {
	t.Helper()
	for _, f := range source(t, ".") {
		for _, d := range f.Decls {
			method, ok := d.(*ast.FuncDecl)
			if !ok || method.Name.Name != "EventType" {
				continue
			}
			types = append(types, written(method.Body.List[0].(*ast.ReturnStmt).Results[0]))
		}
	}
	return types
}

// source is the Go source below a folder, without tests and what is a module of
// its own.
func source(t *testing.T, folder string) (files []*ast.File) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			own := err == nil && path != folder
			if own || d.Name() == "testdata" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != folder {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
