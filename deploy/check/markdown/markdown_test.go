package markdown_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/commands"
	"github.com/usher-auth/usher/deploy/check/markdown"
)

func checker(t *testing.T) *markdown.Checker {
	t.Helper()
	usher, err := commands.Of(checkout.Usher(t))
	if err != nil {
		t.Fatal(err)
	}
	return &markdown.Checker{Root: checkout.Root(t), Usher: usher, Targets: markdown.Targets(checkout.Read(t, "Makefile"))}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	c := checker(t)
	seen, blocks := 0, 0
	err := filepath.WalkDir(c.Root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(c.Root, path)
		if err != nil {
			return err
		}
		seen, blocks = seen+1, blocks+len(markdown.Blocks(source))
		if err := c.Check(filepath.ToSlash(name), source); err != nil {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 4 || blocks < 15 {
		t.Errorf("%d documents with %d blocks: want those of the repository", seen, blocks)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := checker(t)
	for _, broken := range []struct{ name, document, want string }{
		{"no shell", "```sh\nif true; then\n```\n", "block at line 2"},
		{"an unknown command", "```sh\nusher serv api\n```\n", `no command "serv"`},
		{"an unknown command below", "```sh\nUSHER_DATA_DIR=/x usher serve apis -c x.yaml\n```\n", `no command "apis"`},
		{"an unknown flag", "```sh\nusher bus config --output ./bus\n```\n", "no flag --output"},
		{"an unknown flag in one word", "```sh\nusher bus config --folder=./bus\n```\n", "no flag --folder"},
		{"in a substitution", "```bash\nx=$(usher events lst)\n```\n", `no command "lst"`},
		{"in a pipe, on its line", "Text.\n\n```sh\ntrue\nusher events list | usher evnts\n```\n", "x.md:5"},
		{"behind go run", "```sh\ngo run ./cmd/usher dmo\n```\n", `no command "dmo"`},
		{"in running text", "Say `usher dlq redelivr` then.", `no command "redelivr"`},
		{"no such target", "```sh\nmake tests\n```\n", `no target "tests"`},
		{"no such file", "```sh\nusher config check -c deploy/configuration.yaml\n```\n", "no file deploy/configuration.yaml"},
		{"no such file in an option", "```sh\nusher config check --config=deploy/configuration.yaml\n```\n", "no file deploy/configuration.yaml"},
		{"a link to nowhere", "See [there](deploy/nothing.md).", "no file deploy/nothing.md"},
		{"a picture of nothing", "![x](deploy/nothing.png)", "no file deploy/nothing.png"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			err := c.Check("x.md", []byte(broken.document))
			if err == nil || !strings.Contains(err.Error(), broken.want) {
				t.Errorf("Check(%q) = %v, want one with %q", broken.document, err, broken.want)
			}
		})
	}
	fine := "```sh\nusher --dev serve -c \"$FILE\" &\nusher events list --json -c a.yaml\nusher worker run hello -- ./worker.sh --lines\nmake bench PART=x\nusher config check -c deploy/config.yaml\n```\n`usher worker show|pause`\n"
	if err := c.Check("x.md", []byte(fine)); err != nil {
		t.Errorf("Check of a good document: %v", err)
	}
}
