package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration. Its text never
// holds a secret.
type Problem struct {
	// Key is the full name, such as "session.lifespan".
	Key string `json:"key"`
	// Source is the file or the variable; Line is 0 outside a file.
	Source string `json:"source,omitempty"`
	Line   int    `json:"line,omitempty"`
	Text   string `json:"text"`
}

// Error is one line: where, what, why.
func (p Problem) Error() string { return located(p.Source, p.Line, p.Key, p.Text) }

// Problems are all that is wrong with a configuration, in the order of the file.
type Problems []Problem

// Error is one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sorted gives the problems by source and line.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if c := strings.Compare(a.Source, b.Source); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return p
}

// Warning is something that does not stop the start and should be known.
type Warning struct {
	Key    string `json:"key"`
	Source string `json:"source,omitempty"`
	Line   int    `json:"line,omitempty"`
	Text   string `json:"text"`
}

// String is one line: where, what, why.
func (w Warning) String() string { return located(w.Source, w.Line, w.Key, w.Text) }

func located(source string, line int, key, text string) string {
	where := place{source, line}.String()
	if where != "" {
		where += ": "
	}
	if key != "" {
		where += key + ": "
	}
	return where + text
}

// refuse notes a problem with the key at a place.
func (l *loader) refuse(at place, name, format string, args ...any) {
	l.problems = append(l.problems, Problem{
		Key: name, Source: at.source, Line: at.line, Text: fmt.Errorf(format, args...).Error(),
	})
}

// warn notes a warning about the key.
func (l *loader) warn(name, text string) {
	at := l.at(name)
	l.warnings = append(l.warnings, Warning{Key: name, Source: at.source, Line: at.line, Text: text})
}
