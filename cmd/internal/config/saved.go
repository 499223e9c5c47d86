package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/override"
	"github.com/usher-auth/usher/services/session"
)

// saveable is a setting that operators may save: where it stands in a
// configuration, and how it is put there.
type saveable struct {
	override.Setting
	value func(*Config) any
	apply func(*overlay, any)
	// partly gives the methods for which a switch is on where it is not for all.
	partly func(*Config) []string
}

// longest is how long what people have begun may last.
const longest = 30 * 24 * time.Hour

// saveables are all of them, in the order in which they are shown.
var saveables = []saveable{
	{
		Setting: override.Setting{
			Name: override.SignIn, Kind: override.Switch, Label: "Sign In After Registration",
			Help: "Whoever registers is signed in by the answer. Anybody can then tell an address that is taken from a new one by that answer.",
		},
		value: func(c *Config) any { return c.signsIn() },
		apply: func(o *overlay, v any) { o.signIn(v.(bool)) },
		partly: func(c *Config) []string {
			return c.having(hook.KindSession, map[string]string{"password": passwordHooks, "oidc": oidcHooks})
		},
	},
	{
		Setting: override.Setting{
			Name: override.SocialSignIn, Kind: override.Switch, Label: "Social sign-up signs in by itself",
			Help: "Whoever registers with an identity provider is signed in although no list of hooks has session.",
		},
		value: func(c *Config) any { return c.SelfService.Flows.Registration.After.OIDC.AutoSession },
		apply: func(o *overlay, v any) { o.SelfService.Flows.Registration.After.OIDC.AutoSession = v.(bool) },
	},
	{
		Setting: override.Setting{
			Name: override.Gate, Kind: override.Switch, Label: "Sign-in needs a verified address",
			Help: "Whoever comes back is signed in only with a verified address. The session of a registration is given all the same.",
		},
		value: func(c *Config) any { return c.gated() },
		apply: func(o *overlay, v any) { o.gate(v.(bool)) },
		partly: func(c *Config) []string {
			counting := map[string]string{}
			for _, method := range c.Methods() {
				counting[method] = c.gateOf(method)
			}
			return c.having(hook.KindRequireVerified, counting)
		},
	},
	{
		Setting: override.Setting{
			Name: "session.issue.on_failure", Kind: override.Choice, Choices: []string{OnFailureDegrade, OnFailureFail},
			Label: "When no session can be issued",
			Help:  "degrade: the registration succeeds without a session. fail: it is answered with 503, and the account exists.",
		},
		value: func(c *Config) any { return c.Session.Issue.OnFailure },
		apply: func(o *overlay, v any) { o.Session.Issue.OnFailure = v.(string) },
	},
	onOff(registration+".enabled", "Registration", "Off: nobody can register, and those who have an account sign in as before.",
		func(c *Config) *bool { return &c.SelfService.Flows.Registration.Enabled }),
	{
		Setting: override.Setting{
			Name: registration + ".style", Kind: override.Choice, Choices: styles,
			Label: "The registration form",
			Help:  "profile_first: it asks for the person, then for the password. unified: for both at once.",
		},
		value: func(c *Config) any { return c.SelfService.Flows.Registration.style() },
		apply: func(o *overlay, v any) {
			r := &o.SelfService.Flows.Registration
			r.Style, r.EnableLegacyOneStep = v.(string), false // or that would count
		},
	},
	onOff(verification+".enabled", "Verification of addresses", "People prove that an address is theirs by a code in a mail.",
		func(c *Config) *bool { return &c.SelfService.Flows.Verification.Enabled }),
	lasting("session.lifespan", "A session lasts", "From now on; sessions that there are keep their end.", session.MaxLifespan,
		func(c *Config) *time.Duration { return &c.Session.Lifespan }),
	lasting(registration+".lifespan", "A registration may take", "From the moment the form is shown.", longest,
		func(c *Config) *time.Duration { return &c.SelfService.Flows.Registration.Lifespan }),
	lasting(login+".lifespan", "A login may take", "From the moment the form is shown.", longest,
		func(c *Config) *time.Duration { return &c.SelfService.Flows.Login.Lifespan }),
	lasting(verification+".lifespan", "A verification may take", "From the moment it begins; so long its code is good at most.", longest,
		func(c *Config) *time.Duration { return &c.SelfService.Flows.Verification.Lifespan }),
	lasting(settings+".lifespan", "A change of settings may take", "Of a person's own settings, from the moment the form is shown.", longest,
		func(c *Config) *time.Duration { return &c.SelfService.Flows.Settings.Lifespan }),
	lasting(settings+".privileged_session_max_age", "A sign-in is fresh for", "So long after it a person may change how they sign in.", longest,
		func(c *Config) *time.Duration { return &c.SelfService.Flows.Settings.PrivilegedSessionMaxAge }),
}

func onOff(name, label, help string, field func(*Config) *bool) saveable {
	return saveable{
		Setting: override.Setting{Name: name, Kind: override.Switch, Label: label, Help: help},
		value:   func(c *Config) any { return *field(c) },
		apply:   func(o *overlay, v any) { *field(&o.Config) = v.(bool) },
	}
}

func lasting(name, label, help string, most time.Duration, field func(*Config) *time.Duration) saveable {
	return saveable{
		Setting: override.Setting{Name: name, Kind: override.Duration, Label: label, Help: help, Min: time.Second, Max: most},
		value:   func(c *Config) any { return field(c).String() },
		apply: func(o *overlay, v any) {
			d, _ := time.ParseDuration(v.(string)) // it was accepted
			*field(&o.Config) = d
		},
	}
}

// SettingNames are the settings that operators may save, in the order in which
// they are shown.
func SettingNames() (names []string) {
	for _, s := range saveables {
		names = append(names, s.Name)
	}
	return names
}

// Saveable tells whether there is a setting of this name that operators may save.
func Saveable(name string) bool { return slices.Contains(SettingNames(), name) }

// SettingChoices are the values that a setting may have, where those can be listed.
func SettingChoices(name string) []string {
	at := slices.IndexFunc(saveables, func(s saveable) bool { return s.Name == name })
	switch {
	case at < 0:
		return nil
	case saveables[at].Kind == override.Switch:
		return []string{"on", "off"}
	}
	return saveables[at].Choices
}

// Settings gives all settings with what saved values make of this configuration.
// The values must be good ones, see [Config.With].
func (c *Config) Settings(v override.Values) []override.State {
	states := make([]override.State, len(saveables))
	for n, s := range saveables {
		file := s.value(c)
		states[n] = override.State{Setting: s.Setting, Range: s.Wanted(), Value: file, File: file, Source: override.FromFile}
		saved, ok := v[s.Name]
		switch {
		case c.locks(s.Name):
			states[n].Source = override.Locked
		case ok:
			states[n].Value, states[n].Source = saved, override.Saved
		}
		if s.partly != nil && states[n].Source != override.Saved && file == false {
			states[n].Partly = s.partly(c)
		}
	}
	return states
}

// SignIn is what "Sign In After Registration" stands at by the lists of c.
func (c *Config) SignIn() override.Standing {
	states := c.Settings(nil)
	at := slices.IndexFunc(states, func(s override.State) bool { return s.Name == override.SignIn })
	return override.Standing{Stands: states[at].Stands(), Methods: states[at].Partly}
}

func (c *Config) locks(name string) bool { return slices.Contains(c.Console.Locked, name) }

// fromSaved is the source of what stands in no file.
const fromSaved = "saved settings"

// With gives the configuration with saved values over it, but for those of locked
// names, and what is to be known of it. It reads no file again and leaves c as it
// is. The error is [Problems].
func (c *Config) With(v override.Values) (*Config, []Warning, error) {
	o := newOverlay(c, v)
	for name := range v {
		if !Saveable(name) {
			o.refuse(place{source: fromSaved}, name, "this is no setting")
		}
	}
	// The first of the list goes by what the others have made of the configuration.
	for _, s := range slices.Backward(saveables) {
		value, ok := v[s.Name]
		if !ok || c.locks(s.Name) {
			continue
		}
		accepted, err := s.Accept(value)
		if err != nil {
			o.refuse(place{source: fromSaved}, s.Name, "%w", err)
			continue
		}
		s.apply(o, accepted)
	}
	if len(o.problems) == 0 {
		o.check(&o.Config)
	}
	if len(o.problems) > 0 {
		return nil, nil, o.problems.sorted()
	}
	o.warnAll(&o.Config)
	return &o.Config, o.warnings, nil
}

// overlay is a configuration that saved values are laid over, and the reading of
// the file that it comes from, so that what is wrong is said at its place.
type overlay struct {
	Config
	*loader
}

func newOverlay(c *Config, v override.Values) *overlay {
	read := *c.reading()
	o := &overlay{Config: *c, loader: &read}
	o.reading = func() *loader { return &read }
	o.problems, o.warnings = nil, nil
	o.layers, o.lines = slices.Clone(read.layers), maps.Clone(c.lines)
	top := layer{places: map[string]place{}}
	for name := range v {
		top.places[name] = place{source: fromSaved}
	}
	o.layers = append(o.layers, top)
	for _, list := range o.lists() {
		*list.hooks = slices.Clone(*list.hooks)
		for i := range *list.hooks {
			(*list.hooks)[i].Config.label = "" // the check gives it again, and says so
		}
	}
	return o
}

// checkLocked sees to it that no name is locked in vain.
func (l *loader) checkLocked(c *Config) {
	for i, name := range c.Console.Locked {
		if slices.Contains(SettingNames(), name) {
			continue
		}
		text := fmt.Sprintf("%q is no setting that operators could save: want one of %s", name, strings.Join(SettingNames(), ", "))
		if near := nearest(name, SettingNames()); near != "" {
			text = fmt.Sprintf("%q is no setting that operators could save; did you mean %s?", name, near)
		}
		l.refuseKey(entry("console.locked", i), "%s", text)
	}
}

// Refused gives an error of [Config.With] as what an operator is told.
func Refused(err error) *override.Refused {
	var problems Problems
	if !errors.As(err, &problems) {
		return &override.Refused{Reasons: []string{err.Error()}}
	}
	r := &override.Refused{}
	for _, p := range problems {
		reason := p.Key + ": " + p.Text
		if p.Line > 0 {
			reason = fmt.Sprintf("%s (line %d of the configuration file)", reason, p.Line)
		}
		r.Reasons = append(r.Reasons, reason)
	}
	return r
}
