// Package commands knows which commands and flags the program has, from its own
// help, so that what documents and configurations run can be checked.
package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// Command is one command of the program.
type Command struct {
	path  string
	kids  map[string]*Command
	flags map[string]bool // whether it takes a value, by --name and -n
}

// Of asks the program for its commands, all the way down.
func Of(program string) (*Command, error) { return ask(program, nil) }

// Credentials asks the program which files of the bus each part uses.
func Credentials(program string) (of map[string][]string, err error) {
	out, err := exec.Command(program, "bus", "credentials", "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &of)
	}
	if err != nil {
		return nil, fmt.Errorf("usher bus credentials: %w", err)
	}
	return of, nil
}

var (
	flagLine = regexp.MustCompile(`^\s+(?:(-\w), )?(--[\w-]+)(?: (\w+))?(?:\s{2,}|$)`)
	kidLine  = regexp.MustCompile(`^  ([\w-]+) +\S`)
)

func ask(program string, path []string) (*Command, error) {
	out, err := exec.Command(program, append(append([]string{}, path...), "--help")...).Output()
	if err != nil {
		return nil, fmt.Errorf("usher %s --help: %w", strings.Join(path, " "), err)
	}
	c := &Command{path: strings.Join(append([]string{"usher"}, path...), " "), kids: map[string]*Command{}, flags: map[string]bool{}}
	if !strings.Contains(string(out), c.path) {
		return nil, fmt.Errorf("%s --help speaks of another command", c.path)
	}
	section := ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " ") {
			section = line
			continue
		}
		if kid := kidLine.FindStringSubmatch(line); section == "Available Commands:" && kid != nil {
			if c.kids[kid[1]], err = ask(program, append(append([]string{}, path...), kid[1])); err != nil {
				return nil, err
			}
		}
		if f := flagLine.FindStringSubmatch(line); strings.HasSuffix(section, "Flags:") && f != nil {
			c.flags[f[2]] = f[3] != ""
			if f[1] != "" {
				c.flags[f[1]] = f[3] != ""
			}
		}
	}
	return c, nil
}

// Check says what is wrong with the arguments of a command line, or nil. One
// that is not known when the line is written is "".
func (c *Command) Check(args []string) error {
	var given []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "-") && arg != "-" {
			name, _, inOne := strings.Cut(arg, "=")
			given = append(given, name)
			// --help is everywhere, and a flag may stand before its command.
			if takes, known := c.flag(name); known && takes && !inOne {
				i++
			}
			continue
		}
		if arg == "" || len(c.kids) == 0 {
			continue
		}
		kid := c.kids[arg]
		if kid == nil {
			return fmt.Errorf("%s has no command %q", c.path, arg)
		}
		c = kid
	}
	var problems []error
	for _, name := range given {
		if _, known := c.flag(name); !known {
			problems = append(problems, fmt.Errorf("%s has no flag %s", c.path, name))
		}
	}
	return errors.Join(problems...)
}

func (c *Command) flag(name string) (takes, known bool) {
	takes, known = c.flags[name]
	return takes, known
}
