package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/override"
)

// settings gives all settings as they are.
func (c *adminClient) settings(ctx context.Context) (now override.Snapshot, err error) {
	return now, c.get(ctx, settingsPath, nil, &now)
}

// revisions gives those below a number, the newest first.
func (c *adminClient) revisions(ctx context.Context, before int64, limit int) (found []override.Revision, err error) {
	q := url.Values{"page_size": {strconv.Itoa(limit)}}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	return found, c.get(ctx, settingsPath+"/history", q, &found)
}

// revision gives the one of a number.
func (c *adminClient) revision(ctx context.Context, text string) (r override.Revision, err error) {
	number, err := revisionNumber(text)
	if err != nil || number == 0 {
		return override.Revision{Values: override.Values{}}, err
	}
	found, err := c.revisions(ctx, number+1, 1)
	switch {
	case err != nil:
		return r, err
	case len(found) == 0 || found[0].Number != number:
		return r, fmt.Errorf("there is no revision %d: 'usher settings history' lists them", number)
	case found[0].Damaged:
		return r, fmt.Errorf("revision %d cannot be read", number)
	}
	return found[0], nil
}

func revisionNumber(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 {
		return 0, fmt.Errorf("%q: want the number of a revision, such as 'usher settings history' lists", text)
	}
	return number, nil
}

// settingOf finds a setting, or says which was probably meant.
func settingOf(all []override.State, name string) (override.State, error) {
	var names []string
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if near := nearestName(name, names); near != "" {
		return override.State{}, fmt.Errorf("%q is no setting: did you mean %s?", name, near)
	}
	return override.State{}, fmt.Errorf("%q is no setting: want one of %s", name, strings.Join(names, ", "))
}

// spokenSwitches are what people say of switches.
var spokenSwitches = map[string]bool{"on": true, "true": true, "yes": true, "off": false, "false": false, "no": false}

// valueOf reads what was typed as a value of the setting. Whether it is a good one
// the server says.
func valueOf(s override.State, text string) (any, error) {
	if s.Kind != override.Switch {
		return text, nil
	}
	on, ok := spokenSwitches[strings.ToLower(text)]
	if !ok {
		return nil, fmt.Errorf("%s=%s: want on or off", s.Name, text)
	}
	return on, nil
}

// spoken is a value as people say it.
func spoken(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case bool:
		if v {
			return "on"
		}
		return "off"
	case string:
		return shorter(v)
	default:
		text, _ := json.Marshal(v) // it comes from JSON
		return string(text)
	}
}

// shorter leaves out of a duration what is zero: 24h0m0s is 24h.
func shorter(text string) string {
	if d, err := time.ParseDuration(text); err == nil {
		return override.ShortDuration(d)
	}
	return text
}

// settingNames completes names, each with suffix, of which most may be given; 0
// is any number.
func settingNames(suffix string, most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, start string) (names []string, _ cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, name := range config.SettingNames() {
			if strings.HasPrefix(name, start) && !slices.Contains(args, name) {
				names = append(names, name+suffix)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// settingValues completes NAME=VALUE.
func settingValues(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	name, _, ok := strings.Cut(start, "=")
	if !ok {
		names, _ := settingNames("=", 0)(cmd, args, start)
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	var found []string
	for _, value := range config.SettingChoices(name) {
		if full := name + "=" + value; strings.HasPrefix(full, start) {
			found = append(found, full)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
