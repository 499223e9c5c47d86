package config

import (
	"errors"
	"reflect"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"go.yaml.in/yaml/v3"
)

const (
	envPrefix  = "USHER_"
	fileSuffix = "_file"
)

// notKeys begin variables that are for the commands and the tests.
var notKeys = []string{"USHER_TEST_", "USHER_BENCH", "USHER_ADMIN_TOKEN"}

// readEnv reads the variables that name keys.
func (l *loader) readEnv(environ []string) layer {
	in := layer{places: map[string]place{}}
	provider := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(variable, text string) (string, any) {
			name, inFile := l.keyOfVariable(variable)
			if name == "" {
				return "", nil
			}
			if other, twice := in.places[name]; twice {
				l.refuse(place{source: variable}, name, "%s gives it too: want one of both", other.source)
				return "", nil
			}
			in.places[name] = place{source: variable}
			value, err := l.valueOfVariable(name, text, inFile)
			if err != nil {
				l.refuse(place{source: variable}, name, "%w", err)
				return "", nil
			}
			return name, value
		},
	})
	in.values, _ = provider.Read() // does nothing that could fail
	return in
}

// keyOfVariable gives the key that a variable names, or "" if it names none;
// one that should name a key and does not is a problem. With _FILE behind a key it
// holds the path of a file with the value, unless there is a key of that name.
func (l *loader) keyOfVariable(variable string) (name string, inFile bool) {
	for _, prefix := range notKeys {
		if strings.HasPrefix(variable, prefix) {
			return "", false
		}
	}
	name = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, envPrefix), "__", "."))
	k := l.keys.find(name)
	if k != nil && k.kids == nil {
		return name, false
	}
	if key, ok := strings.CutSuffix(name, fileSuffix); ok && l.keys.find(key).single() {
		return key, true
	}
	if k != nil && !k.free {
		l.refuse(place{source: variable}, name, "want a variable for each key below it")
		return "", false
	}
	text := "unknown key"
	if near := nearest(name, l.keys.names()); near != "" {
		text += "; did you mean " + variableOf(near) + "?"
	}
	l.refuse(place{source: variable}, name, "%s", text)
	return "", false
}

// valueOfVariable gives the value of a key, from the variable's text or the file that it names.
func (l *loader) valueOfVariable(name, text string, inFile bool) (any, error) {
	k := l.keys.find(name)
	if !inFile {
		return parseVariable(k, text)
	}
	if text == "" {
		return nil, errors.New("want the path of a file that holds the value")
	}
	l.reads(text)
	if k.holdsSecret() {
		l.secretFiles = append(l.secretFiles, SecretFile{Path: text, Key: name, Bare: k.typ == secretType || k.item != nil && k.item.typ == secretType})
	}
	held, err := readRegular(text)
	if err != nil {
		return nil, err
	}
	value := strings.TrimSpace(string(held))
	if k.item == nil || strings.HasPrefix(value, "[") {
		return parseVariable(k, value)
	}
	var list []any
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	if list == nil {
		return nil, nil
	}
	return list, nil
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
