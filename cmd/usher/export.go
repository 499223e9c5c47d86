package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/audit"
)

// position is where events are gone on from.
type position struct{ after, file string }

func (p *position) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.after, "after", "", "begin behind this cursor; latest is the end of the log")
	cmd.Flags().StringVar(&p.file, "cursor", "", "a file that keeps the cursor: begin behind the one in it, and put the last one there")
	cmd.MarkFlagsMutuallyExclusive("after", "cursor")
}

// read gives the cursor to begin behind.
func (p *position) read(usual string) (string, error) {
	if p.after != "" {
		return p.after, nil
	}
	if p.file == "" {
		return usual, nil
	}
	text, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return usual, nil
	}
	return strings.TrimSpace(string(text)), err
}

// save keeps a cursor; a process that dies meanwhile leaves the former one.
func (p *position) save(cursor string) error {
	if p.file == "" || cursor == "" {
		return nil
	}
	next := p.file + ".next"
	if err := os.WriteFile(next, []byte(cursor+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.file)
}

func eventsExportCommand(g *global) *cobra.Command {
	var f filter
	var from position
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the event log with what proves it",
		Long: `Prints the event log up to its end now, as JSON lines: the public keys, each
record with its hashes and the event byte for byte, the checkpoints, and a last
line without which it was cut. 'usher audit verify FILE' verifies it.

Exports that continue each other may be put behind each other in one file. With
--type or --subject it holds these records only, and cannot be verified.`,
		Example: "  usher events export --cursor export.cursor >> events.jsonl\n  usher events export --type login.failed | jq '.record.event // empty'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			after, err := from.read("")
			if err != nil {
				return err
			}
			body, err := c.open(cmd.Context(), "/admin/audit/export", f.query(after))
			if err != nil {
				return err
			}
			defer body.Close()
			next, err := copyExport(cmd.OutOrStdout(), body)
			if err != nil {
				return err
			}
			return from.save(next)
		},
	}
	f.flags(cmd)
	from.flags(cmd)
	return cmd
}

// copyExport copies an export and gives the cursor in its last line.
func copyExport(w io.Writer, r io.Reader) (next string, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, audit.MaxLine)
	out := bufio.NewWriter(w)
	var last []byte
	for lines.Scan() {
		last = lines.Bytes()
		_, _ = out.Write(last) // Flush tells
		_ = out.WriteByte('\n')
	}
	if err := errors.Join(lines.Err(), out.Flush()); err != nil {
		return "", err
	}
	var end struct {
		End  *int64 `json:"end"`
		Next string `json:"next"`
	}
	if err := json.Unmarshal(last, &end); err != nil || end.End == nil {
		return "", fmt.Errorf("%w: the server has ended, or begin again behind the last record", audit.ErrCut)
	}
	return end.Next, nil
}

// open gives the answer to a GET as it comes, however long that takes.
func (c *adminClient) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if token := os.Getenv("USHER_ADMIN_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: c.http.Transport} // without its time limit
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what came of it is a hint
	return nil, fmt.Errorf("%s%s: %s%s", c.base, path, resp.Status, hint(resp.StatusCode, body))
}
