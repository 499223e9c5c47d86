package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// settleTime is how long a file must be left alone before it is read: editors
// write in several steps.
const settleTime = 200 * time.Millisecond

// againTime is when a configuration is read again that met a database which was away.
const againTime = 5 * time.Second

// followConfig reads the configuration again on SIGHUP and when a file changes that it
// depends on, until ctx ends. What comes before this process serves is done then.
func (p *process) followConfig(ctx context.Context) error {
	w := newWatch(p.log)
	defer w.close()
	w.follow(p.cfg.Files())
	select {
	case <-ctx.Done():
		return nil
	case <-p.serving:
	}
	settled, begins, again := time.NewTimer(0), time.NewTimer(0), time.NewTimer(0)
	<-settled.C
	<-begins.C
	<-again.C
	reload := func() {
		files, err := p.reload(ctx)
		w.follow(files)
		begins.Stop()
		if at, ok := p.certificates.next(); ok {
			begins.Reset(max(time.Until(at), settleTime))
		}
		again.Stop()
		if isAway(err) {
			again.Reset(againTime)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.hangup:
			reload()
		case e := <-w.events():
			if e.Op != fsnotify.Chmod && w.concerns(e.Name) {
				settled.Reset(settleTime)
			}
		case err := <-w.errors():
			p.log.Warn("a change of the configuration may have been missed; SIGHUP reads it again", "error", err)
			settled.Reset(settleTime)
		case <-settled.C:
			reload()
		case <-begins.C:
			reload()
		case <-again.C:
			reload()
		}
	}
}

// isAway tells whether an error says that the database is away: the configuration may
// be good.
func isAway(err error) bool {
	var away interface{ Unavailable() bool }
	return errors.As(err, &away) && away.Unavailable()
}

// watch tells of changes of files. It watches the folders that they are in, since most
// writers replace a file.
type watch struct {
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil where there can be none
	files   map[string]bool
	folders map[string]bool
}

func newWatch(log *slog.Logger) *watch {
	w := &watch{log: log, folders: map[string]bool{}}
	var err error
	if w.watcher, err = fsnotify.NewWatcher(); err != nil {
		w.unwatched(err)
	}
	return w
}

func (w *watch) unwatched(err error) {
	w.log.Warn("files of the configuration are not watched; SIGHUP reads them again", "error", err)
}

// follow watches these files instead of those before.
func (w *watch) follow(files []string) {
	if w.watcher == nil {
		return
	}
	w.files = map[string]bool{}
	wanted := map[string]bool{}
	for _, file := range files {
		for _, seen := range seenBy(file) {
			w.files[seen] = true
			wanted[filepath.Dir(seen)] = true
		}
	}
	for folder := range w.folders {
		if !wanted[folder] {
			_ = w.watcher.Remove(folder) // it may be gone
			delete(w.folders, folder)
		}
	}
	for folder := range wanted {
		if w.folders[folder] {
			continue
		}
		if err := w.watcher.Add(folder); err != nil {
			w.unwatched(err)
			continue
		}
		w.folders[folder] = true
	}
}

// seenBy gives the paths whose change may change what a file holds: its own, and those of
// the links to folders that lead to it. Each is in a folder without links, since two names
// of one folder would be one watch, which knows one of them.
func seenBy(file string) (paths []string) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil // the working directory is gone
	}
	for path := file; path != filepath.Dir(path); path = filepath.Dir(path) {
		is, err := os.Lstat(path)
		if path != file && (err != nil || is.Mode()&fs.ModeSymlink == 0) {
			continue
		}
		if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			paths = append(paths, filepath.Join(folder, filepath.Base(path)))
		}
	}
	return paths
}

// concerns tells whether a change in its folder may change what one of the files holds.
// Kubernetes replaces the folder ..data, which they are links into.
func (w *watch) concerns(changed string) bool {
	return w.files[filepath.Clean(changed)] || filepath.Base(changed) == "..data"
}

func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

func (w *watch) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}

// reload puts the configuration as it is now in force, with the saved settings over it,
// and the certificates that its listeners have now. What cannot be used is said, and the
// former stays; the error says why. It gives the files to follow from here on.
func (p *process) reload(ctx context.Context) ([]string, error) {
	defer p.reloading()()
	p.bus.refresh()
	former := p.overrides.file.Load()
	cfg, _, err := p.Load()
	if err != nil {
		p.metrics.reload(false, time.Now())
		p.log.Error("the configuration cannot be used; the former one stays in force", "error", err)
		p.certificates.renew(former)
		return former.Files(), err
	}
	p.keep(cfg)
	changed := effective(config.Diff(former, cfg))
	if err := p.force(ctx, cfg); err != nil {
		p.metrics.reload(false, time.Now())
		p.log.Error("the configuration cannot be used; the former one stays in force", "error", err)
		p.certificates.renew(former)
		return append(cfg.Files(), former.Files()...), err
	}
	renewed, ok := p.certificates.renew(cfg)
	p.metrics.reload(ok, time.Now())
	switch {
	case len(changed) > 0:
		p.log.Info("configuration read again", "changed", strings.Join(changed, ", "), "revision", p.live.now().shown.Generation)
	case ok && len(renewed) == 0:
		p.log.Info("configuration read again; nothing has changed")
	}
	return cfg.Files(), nil
}

// effective are the keys that differ and need no restart.
func effective(changed, needRestart []string) []string {
	return slices.DeleteFunc(changed, func(key string) bool { return slices.Contains(needRestart, key) })
}

// keep says what of a configuration takes effect only at the next start, and leaves what
// could not be true before as it was at this one.
func (p *process) keep(cfg *config.Config) {
	if _, restart := config.Diff(p.cfg, cfg); len(restart) > 0 {
		p.log.Warn("these keys take effect at the next start", "keys", strings.Join(restart, ", "))
	}
	cfg.Dev = p.cfg.Dev // what is allowed in development is not switched on in passing
	for _, listener := range config.Listeners {
		if began := p.cfg.TLSOf(listener); began.On() != cfg.TLSOf(listener).On() {
			*cfg.TLSOf(listener) = *began
		}
	}
}

// force has the database signed in to as a configuration says, seals the keys with its
// secrets, and puts it in force. One that cannot be put in force changes nothing: with
// the secrets that it is refused with, no other process could open the keys.
func (p *process) force(ctx context.Context, cfg *config.Config) (err error) {
	if err := p.overrides.usable(cfg); err != nil {
		return err
	}
	if cfg.DSN.SameServer(p.cfg.DSN) {
		former := p.signedIn
		if err := p.signIn(cfg.DSN); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, p.signIn(former))
			}
		}()
	}
	if secrets := cfg.CipherSecrets(); len(secrets) > 0 && !slices.Equal(secrets, p.sealed) {
		if err := p.store.Reseal(ctx, secrets); err != nil {
			return fmt.Errorf("secrets.cipher: %w", err)
		}
		p.sealed = secrets
	}
	return p.overrides.reread(ctx, cfg)
}

// signIn has new connections to the database made with the user and the password of dsn.
func (p *process) signIn(dsn config.Address) error {
	if err := p.store.SignIn(dsn.Reveal()); err != nil {
		return err
	}
	p.signedIn = dsn
	return nil
}
