package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// consent is to what cannot be taken back: by --yes, or asked for.
type consent struct{ yes bool }

func (c *consent) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.yes, "yes", false, "do not ask (needed where there is no terminal to ask on)")
}

// confirm asks, unless --yes was given. Without a terminal there is nobody to
// ask, and it refuses.
func (c *consent) confirm(cmd *cobra.Command, question string) error {
	if c.yes {
		return nil
	}
	if !isatty.IsTerminal(os.Stdin.Fd()) {
		return fmt.Errorf("nothing was done: %s There is no terminal to ask on; --yes says so", question)
	}
	fmt.Fprint(cmd.ErrOrStderr(), question, " [y/N] ")
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // nothing is no
	if !strings.EqualFold(strings.TrimSpace(line), "y") {
		return errors.New("nothing was done")
	}
	return nil
}
