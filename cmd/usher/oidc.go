package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/agnivade/levenshtein"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/oidc"
)

func oidcCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "oidc", Short: "Look at the identity providers of social sign-in"}
	cmd.AddCommand(oidcListCommand(g), oidcCheckCommand(g))
	return cmd
}

// identityProviders reads the configuration and its providers in force. It
// needs no secrets of the server.
func (g *global) identityProviders() (*config.Config, []oidc.Config, error) {
	o := g.options()
	o.NoSecrets = true
	cfg, _, err := config.Load(o)
	if err != nil {
		return nil, nil, err
	}
	all := cfg.OIDCProviders()
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%s: no identity providers in force: selfservice.methods.oidc.enabled must be true, and selfservice.methods.oidc.config.providers name some", o.Sources(cfg))
	}
	return cfg, all, nil
}

func oidcListCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the identity providers, and the redirect URI to register at each",
		Example: "  usher oidc list -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, all, err := g.identityProviders()
			if err != nil {
				return err
			}
			type row struct {
				ID          string `json:"id"`
				Kind        string `json:"kind"`
				Label       string `json:"label,omitempty"`
				RedirectURL string `json:"redirect_uri"`
			}
			rows := make([]row, len(all))
			for i, p := range all {
				rows[i] = row{p.ID, p.Provider, p.Label, cfg.OIDCRedirectURL(p.ID)}
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), rows)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tKIND\tLABEL\tREDIRECT URI")
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.ID, r.Kind, orDash(r.Label), r.RedirectURL)
			}
			return w.Flush()
		},
	}
}

func oidcCheckCommand(g *global) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check [PROVIDER]...",
		Short: "Ask identity providers about themselves, try the mapper, and say what is wrong",
		Long: `Asks each provider, or those that are named, for its discovery document and keys,
as the server would, and runs the mapper on claims: those of --claims, or examples
of nobody. What the mapper gives is held against the identity schema. No running
server is needed and nothing is changed; nobody is signed in, so that the client
id, its secret and the redirect URI are not tried.

A trait that is required and that the mapper does not give is nothing wrong: people
are asked for it. Exit status 1 if anything is.`,
		Example:           "  usher oidc check -c usher.yaml\n  usher oidc check google --claims claims.json --json -c usher.yaml",
		ValidArgsFunction: providerIDs(g),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, all, err := g.identityProviders()
			if err != nil {
				return err
			}
			ids, err := providersNamed(all, args)
			if err != nil {
				return err
			}
			claims, err := readClaims(cmd, file)
			if err != nil {
				return err
			}
			return g.checkProviders(cmd, cfg, ids, claims)
		},
	}
	cmd.Flags().StringVar(&file, "claims", "", "file with claims as the provider gives them, a JSON object; - reads standard input")
	return cmd
}

// providersNamed are the ids to check: those that are named, or all.
func providersNamed(all []oidc.Config, named []string) (ids []string, err error) {
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	for _, name := range named {
		if slices.Contains(ids, name) {
			continue
		}
		for _, id := range ids {
			if levenshtein.ComputeDistance(name, id) <= 2 {
				return nil, fmt.Errorf("no identity provider has the id %q; did you mean %s?", name, id)
			}
		}
		return nil, fmt.Errorf("no identity provider has the id %q; there is %s", name, strings.Join(ids, ", "))
	}
	if len(named) > 0 {
		return named, nil
	}
	return ids, nil
}

// maxClaimsFile is more than a provider's claims may be.
const maxClaimsFile = 1 << 20

func readClaims(cmd *cobra.Command, file string) (json.RawMessage, error) {
	if file == "" {
		return nil, nil
	}
	from := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--claims: %w", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxClaimsFile))
	if err != nil {
		return nil, fmt.Errorf("--claims: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil || claims == nil {
		return nil, fmt.Errorf("--claims %s: want a JSON object, such as {\"sub\": \"1\", \"email\": \"jane@example.com\", \"email_verified\": true}", file)
	}
	return text, nil
}

func (g *global) checkProviders(cmd *cobra.Command, cfg *config.Config, ids []string, claims json.RawMessage) error {
	checks, err := app.NewProviderChecks(cfg)
	if err != nil {
		return err
	}
	ended := g.waiting(cmd, "asking "+strings.Join(ids, ", "))
	reports, err := checks.Run(cmd.Context(), ids, claims)
	ended()
	if err != nil {
		return err
	}
	wrong := slices.ContainsFunc(reports, func(r app.ProviderReport) bool { return !r.OK() })
	if g.json {
		err = printJSON(cmd.OutOrStdout(), map[string]any{"ok": !wrong, "providers": reports})
	} else {
		err = printReports(cmd.OutOrStdout(), reports, len(claims) > 0)
	}
	if err == nil && wrong {
		err = exitError(1)
	}
	return err
}

// waiting says on a terminal what is waited for, until ended is called.
func (g *global) waiting(cmd *cobra.Command, what string) (ended func()) {
	if g.json || !isatty.IsTerminal(os.Stderr.Fd()) {
		return func() {}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s …", what)
	return func() { fmt.Fprint(cmd.ErrOrStderr(), "\r\033[K") }
}

func printReports(out io.Writer, reports []app.ProviderReport, given bool) error {
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s (%s)\n", r.Provider, r.Kind)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, line := range reportLines(r, given) {
			fmt.Fprintf(w, "  %s\t%s\n", line[0], line[1])
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, p := range r.Problems {
			fmt.Fprintf(out, "  wrong: %s\n", p.Problem)
			if p.Hint != "" {
				fmt.Fprintf(out, "         %s\n", p.Hint)
			}
		}
		if r.OK() {
			fmt.Fprintln(out, "  nothing is wrong that can be seen from here")
		}
	}
	return nil
}

// reportLines are what a report says for people, each with its name.
func reportLines(r app.ProviderReport, given bool) (lines [][2]string) {
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, [2]string{name, text})
		}
	}
	add("redirect URI", r.RedirectURL+"  (register it at the provider)")
	add("discovery", r.Discovery)
	add("issuer", r.Issuer)
	add("authorization", r.AuthorizationURL)
	add("token", r.TokenURL)
	add("userinfo", r.UserinfoURL)
	add("scopes", strings.Join(r.Scopes, ", "))
	if r.PKCE.Why != "" { // else discovery would say it
		add("PKCE", fmt.Sprintf("%s: %s", onOff(r.PKCE.On), r.PKCE.Why))
	}
	add("client auth", r.ClientAuth)
	if len(r.Keys) > 0 {
		add("keys", keysLine(r.Keys))
	}
	of := "examples of nobody; --claims FILE takes others"
	if given {
		of = "of --claims"
	}
	add("claims", of)
	if r.Mapped == nil {
		return lines
	}
	add("traits", orDash(string(r.Mapped.Traits)))
	add("metadata_public", string(r.Mapped.MetadataPublic))
	add("metadata_admin", string(r.Mapped.MetadataAdmin))
	for _, a := range r.Mapped.VerifiedAddresses {
		add("verified", a.Value)
	}
	for _, a := range r.Unvouched {
		add("not verified", a.Value+": "+a.Reason)
	}
	for _, node := range r.Asked {
		add("asked for", node)
	}
	return lines
}

func keysLine(keys []oidc.KeyReport) string {
	var algorithms []string
	for _, k := range keys {
		if !slices.Contains(algorithms, k.Algorithm) {
			algorithms = append(algorithms, k.Algorithm)
		}
	}
	return fmt.Sprintf("%d: %s", len(keys), strings.Join(algorithms, ", "))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// providerIDs completes with the identity providers of the configuration that
// are not there yet.
func providerIDs(g *global) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, start string) (ids []string, _ cobra.ShellCompDirective) {
		_, all, err := g.identityProviders()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, p := range all {
			if strings.HasPrefix(p.ID, start) && !slices.Contains(args, p.ID) {
				ids = append(ids, p.ID)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
