package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/override"
)

// printSettings shows all settings and where each comes from.
func printSettings(cmd *cobra.Command, asJSON bool, now override.Snapshot) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), now)
	}
	sayRevision(cmd.OutOrStdout(), now)
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVALUE\tFROM\tIN THE FILE\tCAN BE")
	for _, s := range now.Settings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, spoken(s.Value), s.Source, spoken(s.File), canBe(s))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	sayWarnings(cmd.OutOrStdout(), now.Effect)
	return nil
}

func canBe(s override.State) string {
	switch {
	case s.Source == override.Locked:
		return "only in the file: console.locked names it"
	case s.Kind == override.Switch:
		return "on or off"
	default:
		return s.Range
	}
}

func sayRevision(out io.Writer, now override.Snapshot) {
	r := now.Revision
	if r.Number == 0 {
		fmt.Fprint(out, "nothing is saved: the configuration file counts\n\n")
		return
	}
	fmt.Fprintf(out, "revision %d, saved by %s, %s\n\n", r.Number, r.Actor, r.At.Local().Format(time.DateTime))
	if len(now.Refused) > 0 {
		fmt.Fprintf(out, "warning: revision %d is NOT in force at this server: %s\nwhat is shown is in force; the next 'usher settings set' or 'revert' mends it\n\n", r.Number, strings.Join(now.Refused, "; "))
	}
}

func sayWarnings(out io.Writer, e override.Effect) {
	for _, text := range e.Warnings {
		fmt.Fprintf(out, "\nwarning: %s\n", text)
	}
}

// printSaved says what a save has changed.
func printSaved(cmd *cobra.Command, asJSON bool, before, after override.Snapshot) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), after)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "saved revision %d; every process follows within a second\n", after.Revision.Number)
	changed, err := sayChanges(out, before.Settings, after.Settings)
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintln(out, "no value in force has changed")
	}
	if len(after.Refused) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: not in force yet: %s\n", strings.Join(after.Refused, "; "))
	}
	sayWarnings(out, after.Effect)
	return nil
}

// sayChanges lists the settings that differ.
func sayChanges(out io.Writer, before, after []override.State) (changed bool, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range after {
		at := slices.IndexFunc(before, func(b override.State) bool { return b.Name == s.Name })
		if at >= 0 && (spoken(before[at].Value) != spoken(s.Value) || before[at].Source != s.Source) {
			fmt.Fprintf(w, "  %s\t%s (%s)\t→ %s (%s)\n", s.Name, spoken(before[at].Value), before[at].Source, spoken(s.Value), s.Source)
			changed = true
		}
	}
	return changed, w.Flush()
}

// printPreview shows what a change would do; the exit status is 1 if it cannot hold.
func printPreview(cmd *cobra.Command, asJSON bool, now override.Snapshot, p override.Preview) error {
	out := cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(out, p); err != nil || len(p.Refused) == 0 {
			return err
		}
		return exitError(1)
	}
	if len(p.Refused) > 0 {
		return fmt.Errorf("this cannot hold:\n  %s", strings.Join(p.Refused, "\n  "))
	}
	changed, err := sayChanges(out, now.Settings, p.Settings)
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintln(out, "no value in force would change")
	}
	fmt.Fprintln(out, "\nthe plan, - today, + after:")
	if err := sayPlans(out, p.Today, p.After); err != nil {
		return err
	}
	sayAnswers(out, p.Today, p.After)
	sayWarnings(out, p.After)
	fmt.Fprintln(out, "\nnothing was saved")
	return nil
}

// sayPlans lists the steps of the flows whose steps or their order differ.
func sayPlans(out io.Writer, today, after override.Effect) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	same := true
	for _, of := range plansOf(today, after) {
		a, b := stepsOf(today, of), stepsOf(after, of)
		if slices.Equal(a, b) {
			continue
		}
		same = false
		for _, step := range a {
			if !slices.Contains(b, step) {
				fmt.Fprintf(w, "-\t%s\t%s\n", of, step)
			}
		}
		for _, step := range b {
			mark := " "
			if !slices.Contains(a, step) {
				mark = "+"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", mark, of, step)
		}
	}
	if same {
		fmt.Fprintln(w, "the same steps in the same order")
	}
	return w.Flush()
}

// plansOf are the plans of both, each once, in their order.
func plansOf(effects ...override.Effect) (all []string) {
	for _, e := range effects {
		for _, r := range e.Rows {
			if of := planOf(r); !slices.Contains(all, of) {
				all = append(all, of)
			}
		}
	}
	return all
}

func planOf(r override.Row) string { return r.Flow + "\t" + r.Method + "\t" + r.FlowType }

// stepsOf are the steps of one plan, in their order.
func stepsOf(e override.Effect, plan string) (steps []string) {
	for _, r := range e.Rows {
		if planOf(r) == plan {
			steps = append(steps, r.When+"\t"+r.Step)
		}
	}
	return steps
}

// sayAnswers lists the clients that would be answered otherwise.
func sayAnswers(out io.Writer, today, after override.Effect) {
	for _, b := range after.Answers {
		at := slices.IndexFunc(today.Answers, func(a override.Answer) bool {
			return a.Method == b.Method && a.FlowType == b.FlowType && a.Client == b.Client
		})
		if at < 0 || slices.Equal(today.Answers[at].Fields, b.Fields) && slices.Equal(today.Answers[at].Cookies, b.Cookies) {
			continue
		}
		a := today.Answers[at]
		fmt.Fprintf(out, "\nthe answer to %s, %s:\n  today  %s\n  after  %s\n", b.Client, b.Method, received(a), received(b))
	}
}

func received(a override.Answer) string {
	text := "fields " + strings.Join(a.Fields, ", ")
	if len(a.Cookies) > 0 {
		text += "; cookies " + strings.Join(a.Cookies, ", ")
	}
	return text
}

// printHistory lists revisions with what each has otherwise than the one before,
// which is the last of those that were found, or nothing.
func printHistory(cmd *cobra.Command, asJSON bool, found []override.Revision, limit int) error {
	shown := found[:min(limit, len(found))]
	if asJSON {
		return printJSON(cmd.OutOrStdout(), shown)
	}
	if len(shown) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing was saved: 'usher settings set NAME=VALUE' does")
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tSAVED\tBY\tCHANGED")
	for n, r := range shown {
		before := override.Values{}
		if n+1 < len(found) {
			before = found[n+1].Values
		}
		what := strings.Join(differences(before, r.Values), ", ")
		switch {
		case r.Damaged:
			what = "cannot be read"
		case what == "":
			what = "-"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", r.Number, r.At.Local().Format(time.DateTime), r.Actor, what)
	}
	return w.Flush()
}

// differences say what a second set of values has otherwise.
func differences(before, after override.Values) (all []string) {
	for _, name := range override.Differ(before, after) {
		if v, saved := after[name]; saved {
			all = append(all, name+"="+spoken(v))
		} else {
			all = append(all, name+" as in the file")
		}
	}
	return all
}

// printDiff compares two revisions.
func printDiff(cmd *cobra.Command, asJSON bool, a, b override.Revision) error {
	type pair struct {
		Name   string `json:"name"`
		Before any    `json:"before"`
		After  any    `json:"after"`
	}
	pairs := []pair{}
	for _, name := range override.Differ(a.Values, b.Values) {
		pairs = append(pairs, pair{name, a.Values[name], b.Values[name]})
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), pairs)
	}
	if len(pairs) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "revisions %d and %d have the same values\n", a.Number, b.Number)
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NAME\tREVISION %d\tREVISION %d\n", a.Number, b.Number)
	for _, p := range pairs {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, savedOr(p.Before), savedOr(p.After))
	}
	return w.Flush()
}

func savedOr(v any) string {
	if v == nil {
		return "as in the file"
	}
	return spoken(v)
}
