package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/cmd/internal/doctor"
)

// doctorFlags are those of "usher doctor".
type doctorFlags struct {
	only                  []string
	strict, network, list bool
}

func doctorCommand(g *global) *cobra.Command {
	var o doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that this system stands on, and say what to do",
		Long: `Looks at the configuration, the database, the bus, clocks, the mail server, secrets,
certificates, disks and the process behind the admin listener, and says of each
thing whether it is green, yellow (it works, look at it) or red, what was seen and
what mends it. It changes nothing and sends no mail; it takes half a minute at most.
The server may run or not.

Run it where a part runs, as the user of that part and with its configuration:
credentials, secrets and disks are those of this machine. --admin URL names the
process that is asked.

Exit status: 0 without red, 1 with (--strict: or with yellow, or where all that was
asked for was skipped), 2 if nothing could be looked at. What --json prints has the form of schemas/doctor.schema.json.`,
		Example: "  usher doctor -c usher.yaml\n  usher doctor -c usher.yaml --only database,bus.rights --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := g.examine(cmd, o)
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "usher:", err)
				return exitError(2)
			}
			if report.Status == doctor.Red || o.strict && report.Status != doctor.Green {
				return exitError(1)
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&o.only, "only", nil, "look only at these checks or groups, such as database or bus.rights")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "exit status 1 unless all that was looked at is green")
	cmd.Flags().BoolVar(&o.network, "network", false, "ask identity providers too")
	cmd.Flags().BoolVar(&o.list, "list", false, "list the checks")
	return cmd
}

// examine looks and prints what was found. The error says why nothing was looked at.
func (g *global) examine(cmd *cobra.Command, o doctorFlags) (doctor.Report, error) {
	if o.list {
		return doctor.Report{}, g.listChecks(cmd)
	}
	if err := doctor.CheckOnly(o.only); err != nil {
		return doctor.Report{}, err
	}
	d, err := g.doctor(o)
	if err != nil {
		return doctor.Report{}, err
	}
	bar := newProgress(cmd.ErrOrStderr())
	d.Progress = func(done, all int) { bar.of(int64(done), int64(all)) }
	report := d.Run(cmd.Context())
	bar.end()
	if g.json {
		return report, printJSON(cmd.OutOrStdout(), report)
	}
	style := doctor.Style{}
	if _, ok := cmd.OutOrStdout().(terminal); ok {
		style = doctor.Style{Width: 110, Colour: os.Getenv("NO_COLOR") == ""}
	}
	report.Write(unguarded(cmd.OutOrStdout()), style)
	return report, nil
}

// doctor reads the configuration, good or not.
func (g *global) doctor(o doctorFlags) (*doctor.Doctor, error) {
	options := g.options()
	options.Examine = true
	cfg, warnings, err := config.Load(options)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, err
	}
	d := &doctor.Doctor{
		Config: cfg, Warnings: warnings, Problems: err, File: g.file, Flags: g.flagsAgain(),
		Version: version(), Network: o.network, Only: o.only,
	}
	d.Sources = g.file
	if cfg != nil {
		d.Sources = options.Sources(cfg)
	}
	d.Admin = doctor.Admin{Given: g.admin != "", Token: os.Getenv("USHER_ADMIN_TOKEN"), Client: &http.Client{}}
	if c, err := g.ownClient(); err == nil {
		d.Admin.URL, d.Admin.Client.Transport, d.Admin.Client.Timeout = c.base, c.http.Transport, healthTime
	} else if g.admin != "" {
		return nil, err
	}
	return d, nil
}

// flagsAgain are the flags that make another command read the same configuration.
func (g *global) flagsAgain() string {
	var flags strings.Builder
	if g.file != "" {
		flags.WriteString(" -c " + g.file)
	}
	if g.dev {
		flags.WriteString(" --dev")
	}
	return flags.String()
}

func (g *global) listChecks(cmd *cobra.Command) error {
	type row struct {
		Check string `json:"check"`
		About string `json:"about"`
	}
	var rows []row
	for _, c := range doctor.Checks() {
		rows = append(rows, row{c.Name, c.About})
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), rows)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tABOUT")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\n", r.Check, r.About)
	}
	return w.Flush()
}
