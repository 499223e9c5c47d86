// Package layout holds the tests that keep the house in order: who imports
// whom, where packages from outside are at home, what the top level holds.
package layout
