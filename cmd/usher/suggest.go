package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// refuseUnknown lets every command that has commands of its own refuse a name
// that is none of them, and say which was probably meant.
func refuseUnknown(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
	}
	if !cmd.HasSubCommands() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
		}
		return fmt.Errorf("%w\nrun '%s --help'", err, cmd.CommandPath())
	}
	if !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// oneName wants exactly one argument.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		_, name, _ := strings.Cut(cmd.Use, " ")
		return fmt.Errorf("want one %s, not %d: %s", name, len(args), cmd.UseLine())
	}
	return nil
}

// noArgs wants no arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("'%s' takes no arguments, but got %q\nrun '%[1]s --help'", cmd.CommandPath(), args)
	}
	return nil
}

// oneOf wants the value of a flag to be empty or one of those that are known.
func oneOf(flag, value string, known []string) error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	err := fmt.Errorf("--%s %q is not known: want %s", flag, value, strings.Join(known, ", "))
	if near := nearestName(value, known); near != "" {
		return fmt.Errorf("%w; did you mean %s?", err, near)
	}
	return err
}

// nearestName gives the first name that value could be a misspelling of, or "".
func nearestName(value string, known []string) string {
	for _, name := range known {
		if levenshtein.ComputeDistance(value, name) <= 2 {
			return name
		}
	}
	return ""
}

var (
	unknownFlag = regexp.MustCompile(`unknown flag: --(\S+)`)
	noNumber    = regexp.MustCompile(`invalid argument "(.*)" for "(?:-\w, )?--(\S+)" flag: strconv\.Parse(?:Int|Uint|Float)`)
)

// suggestFlag names the flag that was probably meant, or says what it takes.
func suggestFlag(cmd *cobra.Command, err error) error {
	if found := noNumber.FindStringSubmatch(err.Error()); found != nil {
		return fmt.Errorf("--%s %q: want a number", found[2], found[1])
	}
	found := unknownFlag.FindStringSubmatch(err.Error())
	if found == nil {
		return fmt.Errorf("%w\nrun '%s --help'", err, cmd.CommandPath())
	}
	best, distance := "", 4
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d := levenshtein.ComputeDistance(found[1], f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return fmt.Errorf("%w\nrun '%s --help'", err, cmd.CommandPath())
	}
	return fmt.Errorf("%w: did you mean --%s?", err, best)
}
