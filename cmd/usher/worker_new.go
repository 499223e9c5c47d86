package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

//go:embed templates
var templates embed.FS

// languages are what a worker can be written in.
var languages = []string{"go", "node", "python", "shell"}

// newWorker are the flags of a new worker.
type newWorker struct {
	name, lang, dir, kind string
	events, traits        []string
	quiet, reuse          bool
}

func workerNewCommand(g *global) *cobra.Command {
	var n newWorker
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Declare a worker to a running server, and write a program for it",
		Long: `Declares a worker to a running server: its durable consumer begins with the next
event. Writes a folder with a program that works, the worker's credential and a
README, and prints the command that runs it. No file of the server changes.

A program in Go uses the module of this version. Where usher was built from a
checkout, or is run in one, go.mod points there.

The name of a worker that was removed is refused as long as a credential of it is
good, up to 90 days: it would be one of the new worker. If none has leaked,
--reuse-name takes the name.`,
		Example: "  usher worker new hello --lang shell\n  usher worker new crm --lang python --events identity.created,identity.deleted --traits email",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			n.name = args[0]
			if err := n.check(); err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			command, err := n.make(cmd.Context(), c)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch {
			case g.json:
				return printJSON(out, map[string]string{"name": n.name, "dir": n.dir, "command": command})
			case !n.quiet:
				fmt.Fprintf(out, "%s is declared, and its program is in %s. Run it:\n\n", n.name, n.dir)
			}
			fmt.Fprintln(out, command)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.lang, "lang", "", "language of the program: "+strings.Join(languages, ", "))
	f.StringVar(&n.dir, "dir", "", "folder of the program (default: NAME)")
	f.StringVar(&n.kind, "kind", "worker", "worker, or answer: one that is asked before a commit")
	f.StringSliceVar(&n.events, "events", []string{"identity.created"}, "types of events that it gets")
	f.StringSliceVar(&n.traits, "traits", nil, "traits of a person that it may ask for")
	f.BoolVar(&n.reuse, "reuse-name", false, "have the name of a worker that was removed, whose credentials work again then")
	f.BoolVar(&n.quiet, "quiet", false, "print only the command")
	for name, values := range map[string][]string{"lang": languages, "kind": workerKinds, "events": delivery.EventTypes()} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// check refuses what the server would, and what would leave a worker half made.
func (n *newWorker) check() error {
	if n.lang == "" {
		return fmt.Errorf("--lang: want %s", strings.Join(languages, ", "))
	}
	if err := errors.Join(oneOf("lang", n.lang, languages), oneOf("kind", n.kind, workerKinds)); err != nil {
		return err
	}
	if err := events.CheckName(n.name); err != nil {
		return err
	}
	switch {
	case n.kind == "answer" && n.lang != "go":
		return errors.New("--kind answer: only for --lang go; in other languages answer over HTTP, with a web_hook")
	case n.kind == "answer":
		n.events = nil // it gets none
	}
	for _, name := range n.events {
		if err := oneOf("events", name, delivery.EventTypes()); err != nil {
			return err
		}
	}
	if n.dir == "" {
		n.dir = n.name
	}
	entries, err := os.ReadDir(n.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--dir: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: remove it if it is that of a former worker, or name another folder with --dir", n.dir)
	}
	return nil
}

// make declares the worker and writes its folder. It gives the command that runs it.
func (n *newWorker) make(ctx context.Context, c *adminClient) (command string, err error) {
	if err := os.MkdirAll(n.dir, 0o750); err != nil {
		return "", err
	}
	var a hookAccess
	body := map[string]any{"name": n.name, "kind": n.kind, "events": n.events, "traits": n.traits}
	if n.reuse {
		body["reuse_name"] = true
	}
	if err := c.post(ctx, "/admin/hooks", body, &a); err != nil {
		_ = os.Remove(n.dir) // if it is empty
		return "", err
	}
	if a.Credential == "" {
		return "", errors.New("the worker is declared, but the server has given no credential: it has no keys of the bus")
	}
	if err := writeCredential(filepath.Join(n.dir, n.name+".creds"), a.Credential); err != nil {
		return "", n.undone(err)
	}
	if a.BusCA != "" {
		if err := os.WriteFile(filepath.Join(n.dir, caFile), []byte(a.BusCA), 0o600); err != nil {
			return "", n.undone(err)
		}
	}
	command, err = n.command(ctx, a)
	if err == nil {
		err = n.write(ctx, command)
	}
	return command, n.undone(err)
}

// undone says what is left of a worker whose folder could not be written.
func (n *newWorker) undone(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s is declared all the same: 'usher worker remove %[2]s' removes it, and --reuse-name takes the name again", err, n.name)
}

// caFile, in the worker's folder, is who signs the certificates of the bus.
const caFile = "ca.pem"

// command runs the worker, from anywhere.
func (n *newWorker) command(ctx context.Context, a hookAccess) (string, error) {
	dir, err := filepath.Abs(n.dir)
	if err != nil {
		return "", err
	}
	before, usher := self(ctx, os.Args[0])
	env := "NATS_URL=" + quote(a.BusURL) + " NATS_CREDS=" + n.name + ".creds "
	if a.BusCA != "" {
		env += "NATS_CA=" + caFile + " "
	}
	fed := before + env + usher + " worker run " + n.name
	if len(n.traits) > 0 {
		fed += " --identity"
	}
	run := map[string]string{
		"go":     env + "go run -mod=mod .",
		"node":   "npm install --silent && " + env + "node worker.mjs",
		"python": fed + " -- python3 worker.py",
		"shell":  fed + " -- sh worker.sh",
	}[n.lang]
	return "cd " + quote(dir) + " && " + run, nil
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quote makes text one word of a shell.
func quote(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// write fills the folder from the templates of the language and of all.
func (n *newWorker) write(ctx context.Context, command string) error {
	data := map[string]any{
		"Name": n.name, "Kind": n.kind, "Lang": n.lang, "Events": n.events, "Traits": n.traits, "Command": command,
		"Checkout": "", "Version": kitVersion(),
	}
	if n.lang == "go" {
		data["Checkout"] = checkout(ctx)
	}
	for _, from := range []string{"templates/" + n.lang, "templates/all"} {
		entries, err := templates.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := n.fill(from+"/"+e.Name(), strings.TrimSuffix(e.Name(), ".tmpl"), data); err != nil {
				return err
			}
		}
	}
	return n.sums(data["Checkout"].(string))
}

func (n *newWorker) fill(from, to string, data any) error {
	if to == "gitignore" { // embedded under a name that is not hidden
		to = ".gitignore"
	}
	if kind, name, ok := strings.Cut(to, "~"); ok { // a program of one kind
		if kind != n.kind {
			return nil
		}
		to = name
	}
	t, err := template.ParseFS(templates, from)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, data); err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if strings.HasPrefix(text.String(), "#!") {
		mode = 0o700
	}
	return os.WriteFile(filepath.Join(n.dir, to), text.Bytes(), mode)
}

// kitVersion is what a worker in Go requires: this release, or the newest where
// this is none.
func kitVersion() string {
	if v := version(); !strings.Contains(v, "-") {
		return "v" + v
	}
	return "latest"
}

// sums are those of the checkout, where the worker is built against one.
func (n *newWorker) sums(checkout string) error {
	if checkout == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.dir, "go.sum"), text, 0o600)
}
