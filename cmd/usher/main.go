// Command usher registers people and signs them in at once: all of it in one
// process, or its parts in many. "usher help" lists the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/doctor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // whoever asks twice does not want to wait: the second signal kills
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exitError ends the program with a status without another word.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func execute(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		root.SetOut(terminal{f})
	}
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	default:
		fmt.Fprintln(errOut, "usher:", doctor.Visible(err.Error()))
		return 1
	}
}

// global are the flags of all commands.
type global struct {
	file  string
	dev   bool
	admin string
	ca    string
	json  bool
}

func newRoot() *cobra.Command {
	g := &global{}
	root := &cobra.Command{
		Use:   "usher",
		Short: "Registration that signs people in at once",
		Long: `Usher registers people and signs them in at once: the answer to a registration
carries the session, made by a worker on the other side of a message bus, while
everything that need not be in the answer happens from an event that is never lost.

Start with:  usher demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.SetFlagErrorFunc(suggestFlag)
	flags := root.PersistentFlags()
	flags.StringVarP(&g.file, "config", "c", "", "configuration file (none: built-in defaults and --dev)")
	flags.BoolVar(&g.dev, "dev", false, "development: plain HTTP cookies, migrations at start, cheap hashes allowed")
	flags.StringVar(&g.admin, "admin", "", "URL of a running server's admin listener (default: serve.admin of the configuration, else http://127.0.0.1:4434)")
	flags.StringVar(&g.ca, "ca", "", "file of the certificates that a running server's admin listener is trusted by (default: this machine's)")
	flags.BoolVar(&g.json, "json", false, "print JSON")
	root.AddCommand(
		serveCommand(g), migrateCommand(g), demoCommand(g), eventsCommand(g), auditCommand(g), hooksCommand(g),
		configCommand(g), healthCommand(g), settingsCommand(g), oidcCommand(g), adminCommand(g), consoleCommand(g), mailCommand(g), grantsCommand(g), timelineCommand(g), workerCommand(g), webhookCommand(g), dlqCommand(g), busCommand(g), databaseCommand(g), identitiesCommand(g), passwordsCommand(g), doctorCommand(g), versionCommand(g),
	)
	root.InitDefaultCompletionCmd()
	refuseUnknown(root)
	return root
}

// release is the next release; builds before it name their commit besides.
const release = "0.1.0"

// built is the version that the linker was given, where a build has no history: of an image.
var built string

// version is a semantic version: the one that the build was given, the module's where it
// was fetched as one, else the release and the commit.
func version() string {
	if built != "" {
		return built
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	if v, ok := strings.CutPrefix(info.Main.Version, "v"); ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "-dev+" + s.Value[:12]
		}
	}
	return release + "-dev"
}

func versionCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  usher version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": version()})
			}
			fmt.Fprintln(cmd.OutOrStdout(), "usher", version())
			return nil
		},
	}
}
