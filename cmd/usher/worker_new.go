package main

import (
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

// templates hold a folder for each language; a file's last ".tmpl" is cut off.
//
//go:embed templates
var templates embed.FS

var languages = []string{"go", "node", "python", "shell"}

// workerFolder is what the templates of a worker see.
type workerFolder struct {
	Name, Lang, Dir, URL string
	Events, Traits       []string
	// Checkout is where this program's source is, for Go; empty if it is not here.
	Checkout string
	Command  string // that runs it
}

func workerNewCommand(g *global) *cobra.Command {
	f := workerFolder{}
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Declare a worker and write a folder with a program that works",
		Long: `Declares a worker to a running server, which makes its durable consumer and its
credential, and writes a folder: a program, the credential (only its owner may
read it) and a README. The last line is the command that runs the worker. It gets
the events from now on.`,
		Example: "  usher worker new hello --lang shell\n  usher worker new crm --lang go --events identity.created,identity.deleted --traits email",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Name = args[0]
			return g.newWorker(cmd, &f)
		},
	}
	cmd.Flags().StringVar(&f.Lang, "lang", "go", "language: "+strings.Join(languages, ", "))
	cmd.Flags().StringVar(&f.Dir, "dir", "", "folder to write (default: NAME)")
	cmd.Flags().StringSliceVar(&f.Events, "events", []string{"identity.created"}, "event types that the worker gets")
	cmd.Flags().StringSliceVar(&f.Traits, "traits", nil, "traits that it may ask for")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(languages, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (g *global) newWorker(cmd *cobra.Command, f *workerFolder) error {
	if !slices.Contains(languages, f.Lang) {
		return fmt.Errorf("--lang %q: want one of %s", f.Lang, strings.Join(languages, ", "))
	}
	f.Dir = cmp.Or(f.Dir, f.Name)
	// Before anything is declared: what the folder holds is shown once.
	if held, err := os.ReadDir(f.Dir); err == nil && len(held) > 0 {
		return fmt.Errorf("%s is not empty: --dir names another folder", f.Dir)
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return err
	}
	var a accessView
	err = c.do(cmd.Context(), http.MethodPost, routeHooks, map[string]any{
		"name": f.Name, "kind": "worker", "events": f.Events, "traits": f.Traits,
	}, &a)
	if err != nil {
		_ = os.Remove(f.Dir) // if it is empty
		return err
	}
	f.URL = a.BusURL
	f.Checkout = checkout()
	f.Command = f.command()
	if err := f.write(a.Credential); err != nil {
		return fmt.Errorf("worker %s is declared, but its folder is not whole (remove it with 'usher worker remove %s'): %w", f.Name, f.Name, err)
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"hook": a.Hook, "dir": f.Dir, "command": f.Command, "nats_url": f.URL})
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "declared worker %s, wrote %s; its credential is good for 90 days. Run it:\n", f.Name, f.Dir)
	fmt.Fprintln(cmd.OutOrStdout(), f.Command)
	return nil
}

// command is the one that runs the worker.
func (f *workerFolder) command() string {
	env := fmt.Sprintf("NATS_URL=%s NATS_CREDS=%s.creds", f.URL, f.Name)
	self := "usher"
	if at, err := os.Executable(); err == nil {
		if found, err := exec.LookPath("usher"); err != nil || found != at {
			self = quote(at)
		}
	}
	run := map[string]string{
		"go":     "go run -mod=mod .",
		"node":   "npm install --silent --no-audit --no-fund && " + env + " node worker.mjs",
		"python": self + " worker run " + f.Name + " -- python3 worker.py",
		"shell":  self + " worker run " + f.Name + " -- ./worker.sh",
	}[f.Lang]
	if f.Lang != "node" {
		run = env + " " + run
	}
	return "cd " + quote(f.Dir) + " && " + run
}

// quote quotes a word for a shell if it must be.
func quote(word string) string {
	if strings.ContainsAny(word, " '\"$`\\&|;<>()*?[]#~") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// checkout is the folder of the module that this directory is in, if that is
// Usher's own: the kit is taken from there.
func checkout() string {
	out, err := exec.Command("go", "list", "-m", "-json").Output()
	if err != nil {
		return ""
	}
	var module struct{ Path, Dir string }
	if json.Unmarshal(out, &module) != nil || module.Path != "github.com/usher-auth/usher" {
		return ""
	}
	return module.Dir
}

// write writes the folder. The credential is written first and is nobody else's.
func (f *workerFolder) write(credential string) error {
	if err := writePrivate(filepath.Join(f.Dir, f.Name+".creds"), credential); err != nil {
		return err
	}
	for _, from := range []string{"templates/" + f.Lang, "templates/all"} {
		entries, err := fs.ReadDir(templates, from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f.file(from + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *workerFolder) file(from string) error {
	t, err := template.ParseFS(templates, from)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(from), ".tmpl")
	mode := fs.FileMode(0o644)
	if strings.HasSuffix(name, ".sh") {
		mode = 0o755
	}
	to, err := os.OpenFile(filepath.Join(f.Dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(to, f), to.Close())
}
