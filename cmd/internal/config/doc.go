// Package config reads the configuration: a YAML file and the environment over
// the defaults, checked as a whole, so that whatever starts has what it needs.
//
//	defaults ◁ file ◁ environment ◁ overrides ── known? types? ── Config ── makes sense? ──▶ *Config, warnings
//
// A key that nobody knows stops the start and suggests the right one. A key of
// the contract whose feature is not built yet is accepted until it asks for
// that feature. All problems are told at once, each with its file and line.
package config
