package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/breached"
)

func passwordsCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "passwords", Short: "Make and ask the file of passwords that are known from breaches"}
	cmd.AddCommand(passwordsBuildCommand(g), passwordsShowCommand(g), passwordsCheckCommand(g))
	return cmd
}

// building is what a file is to be made of.
type building struct {
	*global
	out, format     string
	width, minCount int
}

func passwordsBuildCommand(g *global) *cobra.Command {
	b := &building{global: g}
	cmd := &cobra.Command{
		Use:   "build FILE…|-",
		Short: "Make the file that breached_file names, of lists of passwords",
		Long: `Makes the file that selfservice.methods.password.config.breached_file names. A list
has a password a line, as it is typed, or its SHA-1 in hexadecimal digits and how
often it was seen, "HEX:COUNT", as haveibeenpwned.com hands them out; the first line
tells which. A list that is most likely not what it was taken for is refused, and so is
one without any password; the file that is there stays. Nothing is fetched.

The file takes 8 bytes for each password, and as much room again beside it while it is
made. Memory stays at half a gigabyte whatever the lists hold. --bytes 6 makes it
smaller: of a million passwords that nobody has had, about four are then refused, if the
lists hold a thousand million; with 8 it is none.

Servers use the new file as soon as it is there. It holds no password, but who has it
can try whether one is in it.`,
		Example: "  usher passwords build --out breached.bin --min-count 2 pwnedpasswords.txt\n  zcat words.gz | usher passwords build --out breached.bin -",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return b.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&b.out, "out", "breached.bin", "file to write; one that is there is replaced once the new one is whole")
	flags.StringVar(&b.format, "format", "", "passwords or sha1 (default: as the first line of each list looks)")
	flags.IntVar(&b.minCount, "min-count", 1, "leave out what was seen less often, where a list says how often; max_breaches: N of Kratos is N+1")
	flags.IntVar(&b.width, "bytes", breached.MaxWidth, "how many bytes of each digest are kept, 4 to 8")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{string(breached.Passwords), string(breached.SHA1)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (b *building) run(cmd *cobra.Command, from []string) (err error) {
	format := breached.Format(b.format)
	switch {
	case b.width < breached.MinWidth || b.width > breached.MaxWidth:
		return fmt.Errorf("--bytes must be %d to %d", breached.MinWidth, breached.MaxWidth)
	case b.minCount < 1:
		return errors.New("--min-count must be 1 or more")
	case format != "" && format != breached.Passwords && format != breached.SHA1:
		return errors.New("--format must be passwords or sha1")
	}
	builder, err := breached.NewBuilder(b.out)
	if err != nil {
		return err
	}
	builder.Width, builder.MinCount = b.width, b.minCount
	defer func() { err = errors.Join(err, builder.Close()) }()
	for _, name := range from {
		if err := b.add(cmd, builder, name, format); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	sum, err := builder.Finish(cmd.Context())
	if err != nil {
		return err
	}
	if b.json {
		return printJSON(cmd.OutOrStdout(), sum)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d passwords of %d lines (%d seen too seldom, %d not of the format)\n", b.out, sum.Passwords, sum.Lines, sum.Rare, sum.Broken)
	return err
}

func (b *building) add(cmd *cobra.Command, builder *breached.Builder, name string, format breached.Format) error {
	in, size, err := input(cmd, name)
	if err != nil {
		return err
	}
	defer in.Close()
	p := newProgress(cmd.ErrOrStderr())
	p.what = "reading " + name
	took, err := builder.Add(cmd.Context(), p.bytes(in, size), format)
	p.end()
	if err == nil && format == "" && took != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: read as %s\n", name, took)
	}
	return err
}

func passwordsShowCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "show FILE",
		Short:   "Read a whole file, and say what it holds",
		Example: "  usher passwords show breached.bin --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := breached.Peek(args[0])
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr())
			defer p.end()
			info := set.Info()
			if err := set.Verify(cmd.Context(), func(read int64) { p.of(read/int64(info.Bytes), info.Passwords) }); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), info)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d passwords, %d bytes of each digest, checksum right\nof other passwords a share of %.3g is taken for one of them\n", info.Passwords, info.Bytes, info.FalseAlarms)
			return err
		},
	}
}

func passwordsCheckCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say which passwords on standard input are in a file",
		Long: `Reads passwords from standard input, one a line, and says of each whether FILE holds it,
by the number of its line. The exit status is 2 if one is held.`,
		Example: "  usher passwords check breached.bin < passwords.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := breached.Open(args[0])
			if err != nil {
				return err
			}
			return g.checkPasswords(cmd, set)
		},
	}
}

func (g *global) checkPasswords(cmd *cobra.Command, set *breached.Set) error {
	type answer struct {
		Line     int  `json:"line"`
		Breached bool `json:"breached"`
	}
	held := false
	in := bufio.NewScanner(cmd.InOrStdin())
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		found, err := set.Holds(in.Text())
		if err != nil {
			return err
		}
		held = held || found
		if g.json {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(answer{n, found})
		} else {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "line %d: %s\n", n, map[bool]string{true: "known from breaches", false: "not known"}[found])
		}
		if err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if held {
		return exitError(2)
	}
	return nil
}
