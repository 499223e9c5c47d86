package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/importer"
)

func identitiesCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "identities", Short: "Move identities in, and recover them"}
	cmd.AddCommand(importCommand(g), recoverCommand(g))
	return cmd
}

// importing is what an import was asked to do.
type importing struct {
	*global
	batch, from int
	check       bool
	events      string
	refused     string
}

// shownRefusals is how many lines that were refused are printed.
const shownRefusals = 5

func importCommand(g *global) *cobra.Command {
	f := &importing{global: g}
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Store identities that another system had, with their ids and hashes",
		Long: `Stores identities in the database of the configuration, while servers run. FILE has
one JSON object a line, as POST /admin/identities takes it; id, created_at,
updated_at and state_changed_at are kept where they are given. Or it begins with [ and
has JSON arrays of such objects, one behind another: pages of GET /admin/identities of
this server or of Kratos, with include_credential=password and include_credential=oidc.
Their elements are counted then, over all arrays, wherever lines are spoken of here.

A line that is broken, breaks the schema or is of somebody who is there is refused,
the others go on: the exit status is then 2. The same command again, also after it
was killed, stores nothing twice: an identity with the id and the traits of a line
is there already. A line without an id gets one that follows from its schema and
traits.

Workers get identities.imported for each batch, with the ids; with --events created
they get identity.created of each.`,
		Example: "  usher identities import --check people.jsonl\n  usher identities import people.jsonl --refused refused.jsonl -c usher.yaml",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.batch, "batch", importer.MaxBatch, "how many identities one commit has, up to 1000")
	flags.IntVar(&f.from, "from-line", 1, "begin at this line, or element of arrays")
	flags.BoolVar(&f.check, "check", false, "store nothing, only say what would be refused (an identifier that lines of different batches share is not seen)")
	flags.StringVar(&f.events, "events", "imported", "imported (one for each batch) or created (one for each identity)")
	flags.StringVar(&f.refused, "refused", "", "file for the lines that are refused, as JSON: number and reason; it must not be there yet")
	return cmd
}

func (f *importing) run(cmd *cobra.Command, from string) (err error) {
	switch {
	case f.batch < 1 || f.batch > importer.MaxBatch:
		return fmt.Errorf("--batch must be from 1 to %d", importer.MaxBatch)
	case f.from < 1:
		return errors.New("--from-line must be 1 or more")
	case f.events != "imported" && f.events != "created":
		return errors.New("--events must be imported or created")
	}
	in := cmd.InOrStdin()
	if from != "-" {
		file, err := os.Open(from)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	s, err := f.store(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	i, err := app.NewImporter(cfg, s.Store)
	if err != nil {
		return err
	}
	i.Batch, i.CheckOnly, i.Each, i.Author = f.batch, f.check, f.events == "created", audit.Author{Actor: "admin:local"}
	report, closeReport, err := f.report(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	i.Refused = report
	sum, err := i.Run(cmd.Context(), importer.NewReader(in, f.from))
	if err = errors.Join(err, closeReport()); err != nil {
		return fmt.Errorf("%w\n%s before that: the same command again goes on", err, f.told(sum))
	}
	if f.json {
		err = printJSON(cmd.OutOrStdout(), sum)
	} else {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), f.told(sum))
	}
	if err == nil && sum.Refused > 0 {
		return exitError(2)
	}
	return err
}

func (f *importing) told(s importer.Summary) string {
	word := "imported"
	if f.check {
		word = "would be imported"
	}
	return fmt.Sprintf("%d %s, %d there already, %d refused", s.Imported, word, s.There, s.Refused)
}

// report writes refusals to the file of --refused, and the first few to errOut.
func (f *importing) report(errOut io.Writer) (report func(importer.Refusal) error, done func() error, err error) {
	into, done := io.Discard, func() error { return nil }
	if f.refused != "" {
		file, err := os.OpenFile(f.refused, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, nil, err
		}
		into, done = file, file.Close
	}
	lines, shown := json.NewEncoder(into), 0
	return func(r importer.Refusal) error {
		if shown++; shown <= shownRefusals {
			fmt.Fprintf(errOut, "%s: %s\n", r.Where(), r.Reason)
		}
		return lines.Encode(r)
	}, done, nil
}
