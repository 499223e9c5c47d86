// Package markdown checks what the documents of the repository tell people to
// type: that each shell block is a shell program, that Usher has the commands and
// flags in it and make the targets, and that files and links lead somewhere.
package markdown

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"mvdan.cc/sh/v3/syntax"

	"github.com/usher-auth/usher/deploy/check/commands"
)

// Checker checks documents of the repository at Root.
type Checker struct {
	Root    string
	Usher   *commands.Command
	Targets []string // of the Makefile
}

// Targets are those of a Makefile.
func Targets(makefile string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^([a-z][\w-]*):`).FindAllStringSubmatch(makefile, -1) {
		names = append(names, m[1])
	}
	return names
}

// Block is a piece of a document that is to be typed.
type Block struct {
	Line int // of its first line
	Text string
}

// Blocks are the shell blocks of a document, as they stand in it.
func Blocks(source []byte) (blocks []Block) {
	walk(source, func(n ast.Node) {
		if f, ok := n.(*ast.FencedCodeBlock); ok && slices.Contains([]string{"sh", "shell", "bash"}, string(f.Language(source))) && f.Lines().Len() > 0 {
			blocks = append(blocks, Block{lineOf(source, f.Lines().At(0).Start), string(f.Lines().Value(source))})
		}
	})
	return blocks
}

func walk(source []byte, visit func(ast.Node)) {
	parser := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()
	_ = ast.Walk(parser.Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			visit(n)
		}
		return ast.WalkContinue, nil
	}) // the visitor has no error
}

func lineOf(source []byte, offset int) int {
	return 1 + strings.Count(string(source[:offset]), "\n")
}

// Check gives all that is wrong with a document, name being its path in the
// repository, or nil.
func (c *Checker) Check(name string, source []byte) error {
	var problems []error
	for _, b := range Blocks(source) {
		problems = append(problems, c.block(name, b)...)
	}
	walk(source, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CodeSpan:
			problems = append(problems, c.span(name, string(n.Text(source)))...) //nolint:staticcheck // a span has no lines
		case *ast.Link:
			problems = append(problems, c.link(name, string(n.Destination))...)
		case *ast.Image:
			problems = append(problems, c.link(name, string(n.Destination))...)
		}
	})
	return errors.Join(problems...)
}

func (c *Checker) block(name string, b Block) (problems []error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(b.Text), "")
	if err != nil {
		return []error{fmt.Errorf("%s, block at line %d: %w", name, b.Line, err)}
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		line := b.Line - 1 + int(call.Pos().Line())
		for _, err := range c.call(name, words(call)) {
			problems = append(problems, fmt.Errorf("%s:%d: %w", name, line, err))
		}
		return true
	})
	return problems
}

// span checks a command that stands in running text, where it is one: "usher
// worker show|pause" is not.
func (c *Checker) span(name, code string) (problems []error) {
	code = strings.Join(strings.Fields(code), " ")
	if !strings.HasPrefix(code, "usher ") && !strings.HasPrefix(code, "make ") || strings.ContainsAny(code, "|…[") || strings.Contains(code, "...") {
		return nil
	}
	for _, err := range c.block(name, Block{1, code}) {
		problems = append(problems, fmt.Errorf("%w (in `%s`)", err, code))
	}
	return problems
}

func (c *Checker) call(name string, args []string) (problems []error) {
	for _, arg := range args[1:] {
		problems = append(problems, c.path(name, arg)...)
	}
	switch {
	case args[0] == "usher" || args[0] == "bin/usher" || args[0] == "./bin/usher":
		problems = append(problems, c.Usher.Check(args[1:]))
	case len(args) > 2 && slices.Equal(args[:3], []string{"go", "run", "./cmd/usher"}):
		problems = append(problems, c.Usher.Check(args[3:]))
	case args[0] == "make":
		for _, target := range args[1:] {
			if target != "" && !strings.Contains(target, "=") && !strings.HasPrefix(target, "-") && !slices.Contains(c.Targets, target) {
				problems = append(problems, fmt.Errorf("make has no target %q", target))
			}
		}
	}
	return slices.DeleteFunc(problems, func(err error) bool { return err == nil })
}

// ours begins what can only be a file of the repository.
var ours = regexp.MustCompile(`^(\./)?(cmd|deploy|events|schemas|services|workers)/[\w./-]*\w$`)

func (c *Checker) path(name, arg string) []error {
	if _, value, ok := strings.Cut(arg, "="); ok {
		arg = value
	}
	if !ours.MatchString(arg) {
		return nil
	}
	return c.exists(arg, c.Root, filepath.Join(c.Root, filepath.Dir(name)))
}

func (c *Checker) link(name, to string) []error {
	to, _, _ = strings.Cut(to, "#")
	if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return nil
	}
	var problems []error
	for _, err := range c.exists(to, filepath.Join(c.Root, filepath.Dir(name))) {
		problems = append(problems, fmt.Errorf("%s: link: %w", name, err))
	}
	return problems
}

func (c *Checker) exists(path string, dirs ...string) []error {
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(path))); err == nil {
			return nil
		}
	}
	return []error{fmt.Errorf("there is no file %s", path)}
}

// words are the arguments of a call; one that is only known when it runs is "".
func words(call *syntax.CallExpr) (args []string) {
	for _, w := range call.Args {
		args = append(args, literal(w.Parts))
	}
	return args
}

func literal(parts []syntax.WordPart) (text string) {
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			text += p.Value
		case *syntax.SglQuoted:
			text += p.Value
		case *syntax.DblQuoted:
			inner := literal(p.Parts)
			if inner == "" && len(p.Parts) > 0 {
				return ""
			}
			text += inner
		default:
			if strings.HasPrefix(text, "-") && strings.Contains(text, "=") {
				return text // --flag=$VALUE
			}
			return ""
		}
	}
	return text
}
