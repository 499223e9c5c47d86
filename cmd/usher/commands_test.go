package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// TestEachCommandIsThereOnce: a command that was added twice is listed twice, and
// each that can be run has an example.
func TestEachCommandIsThereOnce(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		seen := map[string]bool{}
		for _, below := range c.Commands() {
			if seen[below.Name()] {
				t.Errorf("%s is there twice", below.CommandPath())
			}
			seen[below.Name()] = true
			if below.Name() == "completion" || below.Name() == "help" {
				continue // cobra's own
			}
			if !below.HasSubCommands() && below.Example == "" {
				t.Errorf("%s has no example", below.CommandPath())
			}
			look(below)
		}
	}
	look(newRoot())
}
