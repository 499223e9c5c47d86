package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// made are the flags that a configuration is made with, as its head has them:
// all that were given but the folder, which may be moved.
func made(given *pflag.FlagSet) (flags []string, err error) {
	given.Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		if strings.ContainsAny(value, "\r\n") {
			err = fmt.Errorf("--%s: want one line", f.Name)
		}
		if f.Name != "out" && f.Name != "json" {
			flags = append(flags, "--"+f.Name+"="+value)
		}
	})
	return flags, err
}

// configurations are the files of a folder that Usher wrote for servers.
func configurations(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if filepath.Ext(file) != ".conf" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(string(text), `# Made by "usher bus config"`) {
			files = append(files, file)
		}
	}
	return files, err
}

// readBusConfig gives the flags that a configuration was made with.
func readBusConfig(file string) (*busConfig, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	head, rest, _ := strings.Cut(string(text), "\n")
	if !strings.Contains(head, "--again") {
		return nil, fmt.Errorf("%s is an earlier Usher's and does not say how it was made: run 'usher bus config' on it once as at first", file)
	}
	args := []string{"--out=" + filepath.Dir(file)}
	for line := range strings.SplitSeq(rest, "\n") {
		flag, ok := strings.CutPrefix(line, "#   --")
		if !ok {
			break
		}
		args = append(args, "--"+flag)
	}
	b, cmd := &busConfig{}, &cobra.Command{}
	b.flags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// writeAgain writes each configuration of the folder anew, with another --max-store
// where b has one, and gives them.
func (b *busConfig) writeAgain() (all []*busConfig, err error) {
	files, err := configurations(b.out)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("--out %q: no configuration of a server is there", b.out)
	}
	for _, file := range files {
		one, err := readBusConfig(file)
		if err != nil {
			return nil, err
		}
		if b.given.Changed(maxStore) {
			if err := one.given.Set(maxStore, b.store.String()); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	for _, one := range all {
		if err := one.make(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// refuseStray refuses a server that is alone beside those of a cluster: it would
// know none of them, and theirs would stay as they were.
func (b *busConfig) refuseStray() error {
	files, err := configurations(b.out)
	if err != nil || b.server.Cluster.Listen != "" {
		return err
	}
	for _, file := range files {
		if filepath.Base(file) != b.server.File() {
			return fmt.Errorf("%s is of a cluster: --again writes all of its servers anew, and a server that is alone needs another folder", file)
		}
	}
	return nil
}

// addresses are those of the server, or of all of its cluster that were written.
func (b *busConfig) addresses() (all []string) {
	files, _ := configurations(b.out) // one was written
	for _, file := range files {
		one, err := readBusConfig(file)
		if err == nil && (file == b.config() || b.server.Cluster.Listen != "" && one.server.Cluster.Listen != "") {
			all = append(all, cmp.Or(one.server.Advertise, one.server.Listen))
		}
	}
	return all
}
