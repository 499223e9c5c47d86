package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/override"
)

func settingsCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "Show and save settings that lie over the configuration file",
		Long: `Shows, saves and takes back settings of a running server, as the console does.
What is saved lies over the configuration file, except for the names in its
console.locked, and every process of the installation follows within a second.
Each save is a revision; of two who save at once the second is told what the
first has saved, and nothing is overwritten unseen.`,
	}
	cmd.AddCommand(
		settingsGetCommand(g), settingsSetCommand(g), settingsResetCommand(g),
		settingsHistoryCommand(g), settingsDiffCommand(g), settingsRevertCommand(g),
	)
	return cmd
}

const settingsPath = "/admin/settings"

func settingsGetCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:               "get [NAME]",
		Short:             "Show all settings and where they come from, or the value of one",
		Example:           "  usher settings get\n  usher settings get session.lifespan",
		Args:              atMostOneName,
		ValidArgsFunction: settingNames("", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			now, err := c.settings(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printSettings(cmd, g.json, now)
			}
			one, err := settingOf(now.Settings, args[0])
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), one)
			}
			fmt.Fprintln(cmd.OutOrStdout(), spoken(one.Value))
			return nil
		},
	}
}

func atMostOneName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("want one NAME at most, not %d: %s", len(args), cmd.UseLine())
	}
	return nil
}

// saving are the flags of what saves.
type saving struct {
	revision int64
	dry      bool
}

func (s *saving) flags(cmd *cobra.Command) {
	cmd.Flags().Int64Var(&s.revision, "revision", -1, "save only if this revision is the newest (default: the one that is when the command looks)")
	_ = cmd.RegisterFlagCompletionFunc("revision", cobra.NoFileCompletions)
}

func (s *saving) dryFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.dry, "dry-run", false, "save nothing; show what the plan is today and would be")
}

// seen is the revision that the change is made from.
func (s *saving) seen(now override.Snapshot) int64 {
	if s.revision >= 0 {
		return s.revision
	}
	return now.Revision.Number
}

func settingsSetCommand(g *global) *cobra.Command {
	var s saving
	cmd := &cobra.Command{
		Use:   "set NAME=VALUE…",
		Short: "Save settings",
		Long: `Saves one or more settings at once. A switch is on or off, a duration such as 90s
or 1h30m. What cannot hold is refused with the reason, and nothing is changed.
--dry-run shows the plan of today beside the one that would be in force.`,
		Example:           "  usher settings set sign_in_after_registration=on --dry-run\n  usher settings set sign_in_after_registration=on session.lifespan=12h",
		Args:              someNames,
		ValidArgsFunction: settingValues,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			now, err := c.settings(cmd.Context())
			if err != nil {
				return err
			}
			change := override.Change{Set: override.Values{}}
			for _, arg := range args {
				name, text, ok := strings.Cut(arg, "=")
				if !ok {
					return fmt.Errorf("%q: want NAME=VALUE", arg)
				}
				one, err := settingOf(now.Settings, name)
				if err != nil {
					return err
				}
				if _, twice := change.Set[name]; twice {
					return fmt.Errorf("%s is given twice", name)
				}
				if change.Set[name], err = valueOf(one, text); err != nil {
					return err
				}
			}
			return s.change(cmd, g.json, c, now, change)
		},
	}
	s.flags(cmd)
	s.dryFlag(cmd)
	return cmd
}

func settingsResetCommand(g *global) *cobra.Command {
	var s saving
	cmd := &cobra.Command{
		Use:               "reset NAME…",
		Short:             "Let settings be as the configuration file says",
		Example:           "  usher settings reset session.lifespan",
		Args:              someNames,
		ValidArgsFunction: settingNames("", 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			now, err := c.settings(cmd.Context())
			if err != nil {
				return err
			}
			for _, name := range args {
				if _, saved := now.Revision.Values[name]; saved {
					continue // also one that this version does not know
				}
				if _, err := settingOf(now.Settings, name); err != nil {
					return err
				}
			}
			return s.change(cmd, g.json, c, now, override.Change{Reset: args})
		},
	}
	s.flags(cmd)
	s.dryFlag(cmd)
	return cmd
}

func someNames(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		_, name, _ := strings.Cut(cmd.Use, " ")
		return fmt.Errorf("want one %s or more: %s", strings.TrimSuffix(name, "…"), cmd.UseLine())
	}
	return nil
}

// change saves a change, or with --dry-run shows what it would do.
func (s *saving) change(cmd *cobra.Command, asJSON bool, c *adminClient, now override.Snapshot, change override.Change) error {
	if s.dry {
		var p override.Preview
		if err := c.post(cmd.Context(), settingsPath+"/preview", change, &p); err != nil {
			return err
		}
		return printPreview(cmd, asJSON, now, p)
	}
	body := struct {
		Revision int64 `json:"revision"`
		override.Change
	}{s.seen(now), change}
	var after override.Snapshot
	if err := c.do(cmd.Context(), http.MethodPatch, settingsPath, body, &after); err != nil {
		return c.stale(cmd.Context(), err, s.seen(now))
	}
	return printSaved(cmd, asJSON, now, after)
}

// stale says who has saved what since a revision was seen, and how to go on.
func (c *adminClient) stale(ctx context.Context, err error, seen int64) error {
	var refused *refusal
	if !errors.As(err, &refused) || refused.status != http.StatusConflict {
		return err
	}
	now, failed := c.settings(ctx)
	before, unknown := c.revision(ctx, strconv.FormatInt(seen, 10))
	if failed != nil || unknown != nil || now.Revision.Number == seen {
		return err
	}
	r := now.Revision
	return fmt.Errorf("%s has saved revision %d since: %s\nnothing was changed; with --revision %[2]d the command goes by what was saved",
		r.Actor, r.Number, strings.Join(differences(before.Values, r.Values), ", "))
}

func settingsHistoryCommand(g *global) *cobra.Command {
	var limit int
	var before int64
	cmd := &cobra.Command{
		Use:     "history",
		Short:   "List what was saved, by whom and when, the newest first",
		Example: "  usher settings history --limit 5",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 99 {
				return fmt.Errorf("--limit %d: want 1 to 99", limit)
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			found, err := c.revisions(cmd.Context(), before, limit+1) // one more tells what the last of them has changed
			if err != nil {
				return err
			}
			return printHistory(cmd, g.json, found, limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many revisions, up to 99")
	cmd.Flags().Int64Var(&before, "before", 0, "only revisions below this one")
	return cmd
}

func settingsDiffCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "diff N M",
		Short:   "Compare what two revisions have saved; 0 is nothing saved",
		Example: "  usher settings diff 3 5",
		Args:    twoRevisions,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var both [2]override.Revision
			for n, text := range args {
				if both[n], err = c.revision(cmd.Context(), text); err != nil {
					return err
				}
			}
			return printDiff(cmd, g.json, both[0], both[1])
		},
	}
}

func twoRevisions(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want two revisions, not %d: %s", len(args), cmd.UseLine())
	}
	return nil
}

func settingsRevertCommand(g *global) *cobra.Command {
	var s saving
	cmd := &cobra.Command{
		Use:   "revert N",
		Short: "Save the values of an earlier revision again; 0 is nothing saved",
		Long: `Saves the values of an earlier revision again, as a new revision, which can be
reverted in turn. 0 stands for nothing saved: then the configuration file counts.`,
		Example: "  usher settings revert 3",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := revisionNumber(args[0])
			if err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			now, err := c.settings(cmd.Context())
			if err != nil {
				return err
			}
			var after override.Snapshot
			if err := c.post(cmd.Context(), settingsPath+"/revert", map[string]int64{"revision": s.seen(now), "to": to}, &after); err != nil {
				return c.stale(cmd.Context(), err, s.seen(now))
			}
			return printSaved(cmd, g.json, now, after)
		},
	}
	s.flags(cmd)
	return cmd
}
