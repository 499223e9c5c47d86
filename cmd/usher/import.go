package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/importer"
	"github.com/usher-auth/usher/services/store"
)

// importing is what an import was asked to do.
type importing struct {
	*global
	batch, from, rate int
	check             bool
	events            string
	refused           string
}

// shownRefusals is how many lines that were refused are printed.
const shownRefusals = 5

// createdRate is how many identities a second are imported with an event each: workers
// and endpoints have to do each of them.
const createdRate = 500

func importCommand(g *global) *cobra.Command {
	f := &importing{global: g}
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Store identities that another system had, with their ids and hashes",
		Long: `Stores identities in the database of the configuration (give -c FILE, or USHER_DATA_DIR,
as the server has it), while servers run. FILE has one JSON object a line, as POST
/admin/identities takes it, and its id, or as 'usher identities export' writes it; id,
created_at, updated_at and state_changed_at are kept where they are given. Or it begins
with [ and has JSON arrays of such objects, one behind another: pages of GET /admin/identities of
this server or of Kratos, with include_credential=password and include_credential=oidc.
Their elements are counted then, over all arrays, wherever lines are spoken of here.

A line that is broken, breaks the schema or is of somebody who is there is refused,
the others go on: the exit status is then 2. The same command again, also after it
was killed, stores nothing twice: an identity with the id and the traits of a line
is there already. A line without an id gets one that follows from its schema and
traits. An import never changes anybody: who is there with another external_id,
metadata or state stays so, and is counted.

Workers get identities.imported for each batch, with the ids; with --events created
they get identity.created of each, and no more of them a second than --rate says.

With --check nothing is stored, and no database need be there: then JSON, schema and
hashes are looked at, and that is said.`,
		Example: "  usher identities import --check people.jsonl\n  usher identities import people.jsonl --refused refused.jsonl -c usher.yaml\n  usher identities import people.jsonl --events created --rate 50 -c usher.yaml",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: peopleFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.batch, "batch", admin.MaxBatch, fmt.Sprintf("how many identities one commit has, up to %d", admin.MaxBatch))
	flags.IntVar(&f.from, "from-line", 1, "begin at this line, or element of arrays")
	flags.IntVar(&f.rate, "rate", 0, fmt.Sprintf("how many identities a second are stored at most (default: %d with --events created, else no limit)", createdRate))
	flags.BoolVar(&f.check, "check", false, "store nothing, only say what would be refused (an identifier that lines of different batches share is not seen)")
	flags.StringVar(&f.events, "events", "imported", "imported (one for each batch) or created (one for each identity)")
	flags.StringVar(&f.refused, "refused", "", "file for the lines that are refused, as JSON: number, reason, id and external_id; it is written anew")
	_ = cmd.RegisterFlagCompletionFunc("events", cobra.FixedCompletions([]string{"imported", "created"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("refused", "jsonl", "json")
	for _, number := range []string{"batch", "from-line", "rate"} {
		_ = cmd.RegisterFlagCompletionFunc(number, cobra.NoFileCompletions)
	}
	return cmd
}

// peopleFiles completes the name of one file.
func peopleFiles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"jsonl", "json", "ndjson"}, cobra.ShellCompDirectiveFilterFileExt
}

func (f *importing) run(cmd *cobra.Command, from string) (err error) {
	switch {
	case f.batch < 1 || f.batch > admin.MaxBatch:
		return fmt.Errorf("--batch must be from 1 to %d", admin.MaxBatch)
	case f.from < 1:
		return errors.New("--from-line must be 1 or more")
	case f.rate < 0:
		return errors.New("--rate must be 1 or more")
	case f.events != "imported" && f.events != "created":
		return errors.New("--events must be imported or created")
	}
	in, size, err := input(cmd, from)
	if err != nil {
		return err
	}
	defer in.Close()
	i, closeStore, err := f.service(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	bar := &progress{}
	if !f.json {
		bar = newProgress(cmd.ErrOrStderr())
		bar.what = "importing"
	}
	report, closeReport, err := f.report(cmd.ErrOrStderr(), from, bar)
	if err != nil {
		return err
	}
	i.Refused, i.Done = report, func(s importer.Summary) { bar.says(f.told(s)) }
	sum, err := i.Run(cmd.Context(), importer.NewReader(bar.bytes(in, size), f.from))
	bar.end()
	f.warn(cmd.ErrOrStderr(), i.Strange())
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

// input opens the file with a name, or what - stands for, and gives its size, -1 if
// nobody knows.
func input(cmd *cobra.Command, name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), -1, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		return file, info.Size(), nil
	}
	return file, -1, nil
}

// service gives what imports into the database of the configuration. A check does without
// one, and says so.
func (f *importing) service(cmd *cobra.Command) (_ *importer.Service, closeStore func() error, err error) {
	cfg, err := f.load()
	if err != nil {
		return nil, nil, err
	}
	var s *store.Store
	closeStore = func() error { return nil }
	switch database, err := f.store(cmd.Context()); {
	case err == nil:
		s, closeStore = database.Store, database.Close
	case f.check:
		fmt.Fprintf(cmd.ErrOrStderr(), "not checked: whether somebody is there already (%v)\nchecked: JSON, the schema of the configuration, hashes, and duplicates in a batch\n", err)
	default:
		return nil, nil, err
	}
	i, err := app.NewImporter(cfg, s)
	if err != nil {
		return nil, nil, errors.Join(err, closeStore())
	}
	i.Batch, i.Rate, i.CheckOnly, i.Each, i.Author = f.batch, f.rate, f.check, f.events == "created", commandLine
	if i.Each {
		i.Rate = cmp.Or(f.rate, createdRate)
	}
	return i, closeStore, nil
}

func (f *importing) told(s importer.Summary) string {
	word := "imported"
	if f.check {
		word = "would be imported"
	}
	differ := ""
	switch {
	case s.Differ == 1:
		differ = " (1 of them differs: an import changes nobody)"
	case s.Differ > 1:
		differ = fmt.Sprintf(" (%d of them differ: an import changes nobody)", s.Differ)
	}
	return fmt.Sprintf("%d %s, %d there already%s, %d refused", s.Imported, word, s.There, differ, s.Refused)
}

// warn says who cannot sign in where they have accounts.
func (f *importing) warn(errOut io.Writer, strange map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(strange)) {
		who := "1 person has an account"
		if n := strange[name]; n > 1 {
			who = fmt.Sprintf("%d people have accounts", n)
		}
		fmt.Fprintf(errOut, "%s at %s, which is not configured\n", who, name)
	}
}

// report writes refusals to the file of --refused, and the first few to errOut. Done
// tells there of the others.
func (f *importing) report(errOut io.Writer, from string, bar *progress) (report func(importer.Refusal) error, done func() error, err error) {
	into, closeFile := io.Discard, func() error { return nil }
	if f.refused != "" {
		if same(f.refused, from) {
			return nil, nil, errors.New("--refused names the file that is imported")
		}
		file, err := os.OpenFile(f.refused, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, nil, err
		}
		into, closeFile = file, file.Close
	}
	lines, refused := json.NewEncoder(into), 0
	report = func(r importer.Refusal) error {
		if refused++; refused <= shownRefusals {
			bar.clear()
			fmt.Fprintf(errOut, "%s: %s\n", r.Where(), r.Reason)
		}
		return lines.Encode(r)
	}
	return report, func() error {
		if more := refused - shownRefusals; more > 0 {
			fmt.Fprintf(errOut, "… and %d more: --refused %s has all\n", more, cmp.Or(f.refused, "FILE"))
		}
		return closeFile()
	}, nil
}

// same tells whether two names are of one file.
func same(name, other string) bool {
	a, err := os.Stat(name)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}
