// Package backup runs what deploy/backup.md says: a system is backed up,
// destroyed and restored by the blocks of that document.
package backup
