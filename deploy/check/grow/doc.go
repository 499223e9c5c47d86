// Package grow runs deploy/grow.md: each block of it, in one shell on one machine,
// while people register.
package grow
