package config

import (
	"errors"
	"reflect"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"go.yaml.in/yaml/v3"
)

const envPrefix = "USHER_"

// notKeys begin variables that are for the commands and the tests.
var notKeys = []string{"USHER_TEST_", "USHER_BENCH", "USHER_ADMIN_TOKEN"}

// readEnv reads the variables that name keys.
func (l *loader) readEnv(environ []string) layer {
	in := layer{places: map[string]place{}}
	provider := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(variable, text string) (string, any) {
			name := l.keyOfVariable(variable)
			if name == "" {
				return "", nil
			}
			value, err := parseVariable(l.keys.find(name), text)
			if err != nil {
				l.refuse(place{source: variable}, name, "%w", err)
				return "", nil
			}
			in.places[name] = place{source: variable}
			return name, value
		},
	})
	in.values, _ = provider.Read() // does nothing that could fail
	return in
}

// keyOfVariable gives the key that a variable names, or "" if it names none;
// one that should name a key and does not is a problem.
func (l *loader) keyOfVariable(variable string) string {
	for _, prefix := range notKeys {
		if strings.HasPrefix(variable, prefix) {
			return ""
		}
	}
	name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, envPrefix), "__", "."))
	k := l.keys.find(name)
	if k != nil && k.kids == nil {
		return name
	}
	if k != nil && !k.free {
		l.refuse(place{source: variable}, name, "want a variable for each key below it")
		return ""
	}
	text := "unknown key"
	if near := nearest(name, l.keys.names()); near != "" {
		text += "; did you mean " + variableOf(near) + "?"
	}
	l.refuse(place{source: variable}, name, "%s", text)
	return ""
}

func variableOf(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, ".", "__"))
}

// parseVariable reads a value as its key wants it: a text as it is, a list as
// [a, b] or as its only entry, whatever else as in the file.
func parseVariable(k *key, text string) (any, error) {
	switch {
	case k.item != nil && !strings.HasPrefix(text, "["):
		if text == "" {
			return nil, nil
		}
		return []any{text}, nil
	case k.typ != nil && k.typ.Kind() != reflect.Bool && k.typ.Kind() != reflect.Int && k.typ.Kind() != reflect.Float64:
		return text, nil
	}
	var v any
	if yaml.Unmarshal([]byte(text), &v) != nil {
		return nil, errors.New("want YAML") // the cause would show the value
	}
	return v, nil
}
