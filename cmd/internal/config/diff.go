package config

import (
	"reflect"
	"slices"
	"strings"
)

// fixed are the keys, and what the keys begin with, that a running process
// cannot change.
var fixed = []string{
	"dev", "data_dir", "dsn", "bus.", "tracing.", "selfservice.max_flows",
	"serve.public.host", "serve.public.port", "serve.admin.host", "serve.admin.port",
}

// Diff gives the keys that differ, and those of them that take effect only at
// the next start. A list differs as a whole.
func Diff(before, after *Config) (changed, needRestart []string) {
	changed = differences("", reflect.ValueOf(*before), reflect.ValueOf(*after))
	if before.Written(BusMaxBytes) != after.Written(BusMaxBytes) && !slices.Contains(changed, BusMaxBytes) {
		changed = append(changed, BusMaxBytes) // its default leaves alone what is there
	}
	slices.Sort(changed)
	for _, name := range changed {
		if name == "dsn" && before.DSN.SameServer(after.DSN) {
			continue // new connections sign in with the present user and password
		}
		if name == BusMaxBytes {
			continue // the stream takes more or less while it is used
		}
		if slices.ContainsFunc(fixed, func(f string) bool {
			return name == f || strings.HasSuffix(f, ".") && strings.HasPrefix(name, f)
		}) {
			needRestart = append(needRestart, name)
		}
	}
	for _, listener := range Listeners { // its certificate changes at any time
		if before.TLSOf(listener).On() == after.TLSOf(listener).On() {
			continue
		}
		for _, name := range changed {
			if strings.HasPrefix(name, "serve."+listener+".tls.") {
				needRestart = append(needRestart, name)
			}
		}
	}
	return changed, needRestart
}

func differences(name string, a, b reflect.Value) []string {
	if a.Kind() != reflect.Struct || reflect.PointerTo(a.Type()).Implements(textType) {
		list := a.Kind() == reflect.Slice || a.Kind() == reflect.Map
		if reflect.DeepEqual(a.Interface(), b.Interface()) || list && a.Len() == 0 && b.Len() == 0 {
			return nil
		}
		return []string{name}
	}
	var names []string
	for i := range a.NumField() {
		field := a.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		below := name // what it leads to, where it is no key of its own
		if tag, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); tag != "" && tag != "-" {
			below = join(name, tag)
		}
		for _, found := range differences(below, a.Field(i), b.Field(i)) {
			if !slices.Contains(names, found) {
				names = append(names, found)
			}
		}
	}
	return names
}
