package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/importer"
)

// exporting is what an export of identities was asked to do.
type exporting struct {
	*global
	credentials, toTerminal, force bool
}

func exportCommand(g *global) *cobra.Command {
	f := &exporting{global: g}
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write all identities as lines that import takes",
		Long: `Writes all identities of the database of the configuration (give -c FILE, or
USHER_DATA_DIR, as the server has it) as JSON lines, to FILE or to the standard output:
what 'usher identities import' takes, with ids, times, metadata and which addresses are
verified. Servers go on meanwhile; who comes or goes until the end may be among them or
not. FILE is readable by its owner only, and there once the export has ended well; with
--force one that is there stays until then.

Only with --include-credentials are there hashes of passwords and accounts at providers:
without them nobody signs in where the lines are imported. Sessions are not exported.

The event log keeps that all identities were exported, as admin.acted with the action
identity.export; its target is credentials where they were.`,
		Example: "  usher identities export people.jsonl -c usher.yaml\n  usher identities export --include-credentials people.jsonl -c usher.yaml\n  usher identities export -c usher.yaml | jq -r .traits.email",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: peopleFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.credentials, "include-credentials", false, "with the hashes of passwords and the accounts at providers")
	flags.BoolVar(&f.toTerminal, "to-terminal", false, "credentials may be shown on a terminal")
	flags.BoolVar(&f.force, "force", false, "take the place of a FILE that is there")
	return cmd
}

func (f *exporting) run(cmd *cobra.Command, args []string) (err error) {
	out := cmd.OutOrStdout()
	if len(args) == 0 && f.credentials && !f.toTerminal && isTerminal(out) {
		return errors.New("credentials are not shown on a terminal: name a FILE, or give --to-terminal")
	}
	s, err := f.store(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var file *os.File
	if len(args) > 0 {
		if file, err = f.create(args[0]); err != nil {
			return err
		}
		out = file
	}
	all, err := f.write(cmd, s, out)
	if file != nil {
		err = f.finish(file, args[0], err)
	}
	if err != nil {
		return fmt.Errorf("%w\nthe export has not ended", err)
	}
	switch {
	case f.json && len(args) > 0:
		return printJSON(cmd.OutOrStdout(), map[string]any{"exported": all, "file": args[0]})
	case len(args) > 0:
		fmt.Fprintf(cmd.OutOrStdout(), "%d exported to %s\n", all, args[0])
	case !f.json:
		fmt.Fprintf(cmd.ErrOrStderr(), "%d exported\n", all)
	}
	return nil
}

// write tells the event log of the export before anybody is read.
func (f *exporting) write(cmd *cobra.Command, s database, out io.Writer) (int, error) {
	target := ""
	if f.credentials {
		target = "credentials"
	}
	if err := s.Append(cmd.Context(), commandLine.Acted("identity.export", target, time.Now())); err != nil {
		return 0, err
	}
	bar := newBar(cmd, f.json || isTerminal(out), "exporting")
	defer func() { _ = bar.Finish() }() // nothing depends on it
	return importer.Export(cmd.Context(), s, out, f.credentials, func(all int) { _ = bar.Set(all) })
}

// create makes a file, which nobody else reads, beside the one with a name.
func (f *exporting) create(name string) (*os.File, error) {
	switch is, err := os.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !f.force:
		return nil, fmt.Errorf("%s is there: --force takes its place", name)
	case !is.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file that another one could take the place of", name)
	}
	return os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".part-*") // 0600
}

// finish gives a file that is whole its name, and takes away what is not.
func (f *exporting) finish(file *os.File, name string, err error) error {
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil && f.force {
		if err = os.Rename(file.Name(), name); err == nil {
			return nil
		}
	} else if err == nil {
		err = os.Link(file.Name(), name) // not over one that has come meanwhile
	}
	return errors.Join(err, os.Remove(file.Name()))
}

func isTerminal(w io.Writer) bool {
	f, ok := unguarded(w).(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
