package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/services/audit"
)

// verification is what is verified, and against what.
type verification struct {
	global     *global
	database   bool
	checkpoint string   // a file
	pinned     []string // keys
}

func auditVerifyCommand(g *global) *cobra.Command {
	v := verification{global: g}
	cmd := &cobra.Command{
		Use:   "verify [EXPORT]",
		Short: "Verify that no record of the event log was changed, removed or added",
		Long: `Verifies the event log of a running server, with --database that in the database
of the configuration, or the file EXPORT that 'usher events export' has written
(- is the standard input). It names the first record that does not fit.

Give it checkpoints that were kept elsewhere, see audit.checkpoint.sink: without
them nobody can see that the end of the log was cut off. They must not be younger
than the export, and the log must hold the record of one of them at least. What
keys are believed: those of --key; without it those in the file of checkpoints;
without both those that the log itself names, which whoever holds the server
could have put there.`,
		Example: "  usher audit verify --checkpoint /mnt/elsewhere/checkpoints.jsonl\n  usher audit verify --key KEY events.jsonl",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && v.database {
				return errors.New("give either EXPORT or --database")
			}
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			report, err := v.run(cmd, file)
			return v.print(cmd, report, err)
		},
	}
	cmd.Flags().BoolVar(&v.database, "database", false, "read the database of the configuration instead of asking a running server")
	cmd.Flags().StringVar(&v.checkpoint, "checkpoint", "", "a file of checkpoints from outside of the database")
	cmd.Flags().StringSliceVar(&v.pinned, "key", nil, "believe this public key only, see 'usher audit keys' (may be repeated)")
	return cmd
}

// run verifies. An error that is no [*audit.Broken] says why it could not.
func (v *verification) run(cmd *cobra.Command, file string) (audit.Report, error) {
	w := &witness{}
	if err := w.pin(v.pinned); err != nil {
		return audit.Report{}, err
	}
	if v.checkpoint != "" {
		if err := w.outside(v.checkpoint); err != nil {
			return audit.Report{}, err
		}
	}
	bar := newProgress(cmd.ErrOrStderr())
	defer bar.end()
	var err error
	switch {
	case v.database:
		err = v.readDatabase(cmd.Context(), w, bar)
	case file != "":
		err = readExport(file, cmd.InOrStdin(), w, bar)
	default:
		err = v.readServer(cmd.Context(), w, bar)
	}
	if err != nil {
		return audit.Report{}, err
	}
	return w.verifier.End()
}

func (v *verification) readDatabase(ctx context.Context, w *witness, bar *progress) error {
	s, err := v.global.store(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it was only read
	log := app.AuditLog(s.Store)
	keys, err := log.AuditKeys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		_ = w.key(k) // never fails
	}
	_, err = audit.Walk(ctx, log, audit.Query{}, w.handler(), func(done, all int64) error {
		bar.of(done, all)
		return nil
	})
	return err
}

func (v *verification) readServer(ctx context.Context, w *witness, bar *progress) error {
	c, err := v.global.client()
	if err != nil {
		return err
	}
	body, err := c.open(ctx, "/admin/audit/export", url.Values{})
	if err != nil {
		return fmt.Errorf("%w\n--database reads the database of the configuration instead", err)
	}
	defer body.Close()
	return audit.Read(bar.bytes(body, -1), w.handler())
}

func readExport(path string, stdin io.Reader, w *witness, bar *progress) error {
	if path == "-" {
		return audit.Read(bar.bytes(stdin, -1), w.handler())
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := audit.Read(bar.bytes(file, info.Size()), w.handler()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// print says what came of it; a log that is broken is an exit status besides.
func (v *verification) print(cmd *cobra.Command, r audit.Report, err error) error {
	out := cmd.OutOrStdout()
	var broken *audit.Broken
	if err != nil && !errors.As(err, &broken) {
		return err
	}
	if v.global.json {
		if err := printJSON(out, struct {
			Intact bool          `json:"intact"`
			Report *audit.Report `json:"report,omitempty"`
			Broken *audit.Broken `json:"broken,omitempty"`
		}{broken == nil, unlessBroken(&r, broken), broken}); err != nil {
			return err
		}
	}
	if broken != nil {
		if v.global.json {
			return exitError(1)
		}
		return broken
	}
	if v.global.json {
		return nil
	}
	fmt.Fprintf(out, "%s, %s, intact\n", counted(r.Records, "record", "records"), counted(r.Checkpoints, "checkpoint", "checkpoints"))
	if r.First > 1 {
		fmt.Fprintf(out, "the log begins with record %d: what was before was pruned up to a checkpoint\n", r.First)
	}
	if r.Last > r.Signed {
		fmt.Fprintf(out, "%s not behind a checkpoint yet\n", counted(r.Last-r.Signed, "record at the end is", "records at the end are"))
	}
	v.printOutside(out, r)
	return nil
}

// printOutside says what the checkpoints from outside are worth.
func (v *verification) printOutside(out io.Writer, r audit.Report) {
	if v.checkpoint == "" {
		fmt.Fprintln(out, "no checkpoints from outside were given (--checkpoint FILE): that the end of the log was cut off cannot be seen")
		return
	}
	fmt.Fprintf(out, "%s a record here\n", counted(r.Outside, "checkpoint from outside has", "checkpoints from outside have"))
	if r.Older > 0 {
		fmt.Fprintf(out, "%d more, up to record %d, of what was pruned: that proves nothing here\n", r.Older, r.OlderTo)
	}
	if r.Doubted > 0 {
		fmt.Fprintf(out, "%s for nothing: the key is not in %s (believe it with --key)\n",
			counted(r.Doubted, "checkpoint of the log counts", "checkpoints of the log count"), v.checkpoint)
	}
}

// counted is a number with the words that go with it.
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func unlessBroken(r *audit.Report, b *audit.Broken) *audit.Report {
	if b != nil {
		return nil
	}
	return r
}

// witness gives a verifier the keys that are believed, then checkpoints from
// outside, then the log.
type witness struct {
	verifier audit.Verifier
	pinned   bool // by --key
	apart    bool // the keys that are believed are not the log's own
}

func (w *witness) pin(keys []string) error {
	for _, text := range keys {
		k, err := audit.ParsePublicKey(text)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
		w.verifier.Keys = append(w.verifier.Keys, k)
		w.pinned = true
	}
	return nil
}

// key is told a key of the log. It is believed if no other is.
func (w *witness) key(k audit.PublicKey) error {
	switch {
	case w.pinned:
	case w.apart:
		w.verifier.Doubted = append(w.verifier.Doubted, k)
	default:
		w.verifier.Keys = append(w.verifier.Keys, k)
	}
	return nil
}

// outside takes the checkpoints of a file, and believes its keys unless others
// are pinned.
func (w *witness) outside(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var all []audit.Checkpoint
	err = audit.Read(file, audit.Handler{
		Key:        w.key,
		Checkpoint: func(c audit.Checkpoint) error { all = append(all, c); return nil },
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case len(all) == 0:
		return fmt.Errorf("%s: it holds no checkpoint", path)
	case len(w.verifier.Keys) == 0:
		return fmt.Errorf("%s: it holds no key, and those of the log itself are not believed with --checkpoint: give --key, see 'usher audit keys'", path)
	}
	w.apart = true
	for _, c := range all {
		if err := w.verifier.Outside(c); err != nil {
			return err
		}
	}
	return nil
}

func (w *witness) handler() audit.Handler {
	return audit.Handler{Key: w.key, Record: w.verifier.Record, Checkpoint: w.verifier.Checkpoint}
}

// progress is a bar on a terminal, nothing elsewhere.
type progress struct {
	out  io.Writer // nil for nothing
	what string    // is done; empty: verifying
	bar  *progressbar.ProgressBar
}

func newProgress(out io.Writer) *progress {
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return &progress{out: out}
	}
	return &progress{}
}

func (p *progress) begin(all int64, options ...progressbar.Option) {
	p.bar = progressbar.NewOptions64(all, append(options, progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetDescription(cmp.Or(p.what, "verifying")), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100e6))...)
}

// of shows how many records are done.
func (p *progress) of(done, all int64) {
	if p.out == nil {
		return
	}
	if p.bar == nil {
		p.begin(all, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"))
	}
	_ = p.bar.Set64(done) // nothing depends on it
}

// bytes shows how much of r was read, of so many bytes; -1: nobody knows.
func (p *progress) bytes(r io.Reader, all int64) io.Reader {
	if p.out == nil {
		return r
	}
	p.begin(all, progressbar.OptionShowBytes(true))
	return io.TeeReader(r, p.bar)
}

// says puts something else before the bar.
func (p *progress) says(what string) {
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

// clear makes room for a line, until the bar is drawn again.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
